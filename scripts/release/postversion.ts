// The last hook of `npm version`: puts the notes into the tag, and pushes branch and tag together.
// If a release stopped after its commit, `npm run postversion` completes it.
import { readFileSync } from 'node:fs'
import { section } from './changelog.ts'
import { git, gitMaybe, refuse } from './git.ts'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
const tag = `v${version}`

// `npm version --no-git-tag-version` shows what a release would change: npm passes its false to
// hooks as an empty value.
if (process.env.npm_config_git_tag_version === '') process.exit()
if (git('status', '--porcelain') !== '' || git('log', '-1', '--format=%s') !== `Release ${version}`)
  refuse(`this is no commit “Release ${version}”: nothing is tagged or pushed`)
tagWithNotes()
push()

/** Annotated, and signed if git's tag.gpgSign is set. */
function tagWithNotes(): void {
  const notes = section(readFileSync('CHANGELOG.md', 'utf8'), version) ?? ''
  const message = `${tag}\n\n${notes}`
  const [commit, body] = (
    gitMaybe('tag', '--list', '--format=%(*objectname)%00%(contents)', tag) ?? ''
  ).split('\0')
  const head = git('rev-parse', 'HEAD')
  if (commit === head && body?.trim() === message) return
  if (commit && commit !== head) refuse(`${tag} is ${commit}, not the release's commit ${head}`)
  // Headings of the notes begin with #, as git's comments do.
  git('tag', '--force', '--annotate', '--cleanup=whitespace', '--message', message, tag)
}

/** Pushes both or neither. */
function push(): void {
  const command = ['push', '--quiet', '--atomic', 'origin', 'main', tag]
  if (gitMaybe('remote', 'get-url', 'origin') === undefined)
    process.stdout.write(
      `There is no remote origin to push to. Once there is: git ${command.join(' ')}\n`,
    )
  else git(...command)
}
