// The last hook of `npm version`: writes the notes into the tag, and pushes the branch and the tag
// together. `npm run postversion` completes a release that stopped after its commit.
import { readFileSync } from 'node:fs'
import { section } from './changelog.ts'
import { git, gitMaybe, refuse } from './git.ts'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
const tag = `v${version}`

// `npm version --no-git-tag-version` changes the files, but creates no commit and no tag. npm passes `false` to hooks as an
// empty variable.
if (process.env.npm_config_git_tag_version === '') process.exit()
if (git('status', '--porcelain') !== '' || git('log', '-1', '--format=%s') !== `Release ${version}`)
  refuse(`HEAD is not a clean commit “Release ${version}”: nothing was tagged or pushed`)
tagWithNotes()
push()

/** git signs the tag if tag.gpgSign is set. */
function tagWithNotes(): void {
  const notes = section(readFileSync('CHANGELOG.md', 'utf8'), version) ?? ''
  const message = `${tag}\n\n${notes}`
  const [commit, body] = (
    gitMaybe('tag', '--list', '--format=%(*objectname)%00%(contents)', tag) ?? ''
  ).split('\0')
  const head = git('rev-parse', 'HEAD')
  if (commit === head && body?.trim() === message) return
  if (commit && commit !== head)
    refuse(`the tag ${tag} points to ${commit}, not to the release's commit ${head}`)
  // Headings of the notes begin with #, as git's comments do.
  git('tag', '--force', '--annotate', '--cleanup=whitespace', '--message', message, tag)
}

/** Pushes the branch and the tag in one transaction. */
function push(): void {
  const command = ['push', '--quiet', '--atomic', 'origin', 'main', tag]
  if (gitMaybe('remote', 'get-url', 'origin') === undefined)
    process.stdout.write(
      `Nothing was pushed, because there is no remote "origin". When it exists, run: git ${command.join(' ')}\n`,
    )
  else git(...command)
}
