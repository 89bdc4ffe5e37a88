// Makes a release of what CHANGELOG.md says is unreleased:
//
//   npm run release -- 0.2.0 [--dry-run]
//
// A commit that sets the version, an annotated tag, and both pushed to origin, where the pipeline goes on (docs/releasing.md).
// The commit is made and tested in a work tree of its own: until its tests have passed, this branch is as it was. Stopped at any point,
// the same command goes on from there.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { BREAKING, released, section, under } from './changelog.ts'
import { git, gitMaybe } from './git.ts'
import { isBefore, leastAfter, parse, withImage } from './version.ts'

const BRANCH = 'main'
const REMOTE = 'origin'
const WORK_TREE = 'onnx-function-release-'

const say = (line: string) => process.stdout.write(`${line}\n`)

try {
  const { values, positionals } = parseArgs({
    options: { 'dry-run': { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const [version] = positionals
  if (version === undefined || parse(version) === undefined || positionals.length > 1) {
    throw new Error('which version? npm run release -- 0.2.0 [--dry-run]')
  }
  release(version, values['dry-run'])
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}

function release(version: string, isDry: boolean): void {
  const tag = `v${version}`
  const remote = gitMaybe('remote', 'get-url', REMOTE)
  const onRemote =
    remote === undefined
      ? new Map<string, string>()
      : refsOf(REMOTE, `refs/heads/${BRANCH}`, `refs/tags/${tag}`)
  checkBranch(onRemote.get(`refs/heads/${BRANCH}`))

  // A release that was stopped on its way has its commit already.
  let commit =
    gitMaybe(
      'log',
      BRANCH,
      '-1',
      '--format=%H',
      `--grep=^${subject(version).replaceAll('.', '\\.')}$`,
    ) ?? ''
  const changelog = readFileSync('CHANGELOG.md', 'utf8')
  const notes = section(changelog, commit === '' ? 'Unreleased' : version)
  if (commit === '') {
    checkVersion(version, notes ?? '', tag, onRemote)
    const changes = changedFiles(version, changelog)
    if (isDry) {
      say(
        `${subject(version)} would change:\n${[...changes.keys()].map(path => `  ${path}`).join('\n')}\n\n${notes}\n`,
      )
      say(
        `Nothing was written. Without --dry-run: the tests, a commit, the tag ${tag}${remote === undefined ? '' : `, a push to ${remote}`}.`,
      )
      return
    }
    commit = testedCommit(version, changes)
    git('merge', '--ff-only', '--quiet', commit)
    say(`${commit.slice(0, 12)} ${subject(version)}`)
  } else if (isDry) {
    say(
      `${commit.slice(0, 12)} ${subject(version)} is there; without --dry-run: what is missing of its tag and its push.`,
    )
    return
  }

  makeTag(tag, commit, notes ?? '')
  push(tag, remote, onRemote)
}

function subject(version: string): string {
  return `Release ${version}`
}

/** What a remote has, without fetching it. */
function refsOf(remote: string, ...names: string[]): Map<string, string> {
  const lines = git('ls-remote', remote, ...names)
    .split('\n')
    .filter(Boolean)
  return new Map(lines.map(line => line.split('\t').toReversed() as [string, string]))
}

function checkBranch(remoteHead: string | undefined): void {
  const dirty = git('status', '--porcelain')
  const branch = gitMaybe('symbolic-ref', '--short', 'HEAD')
  if (branch !== BRANCH)
    throw new Error(`releases are made on ${BRANCH}; this is ${branch ?? 'no branch'}`)
  if (dirty !== '') throw new Error(`not committed, and so not in the release:\n${dirty}`)
  if (
    remoteHead !== undefined &&
    gitMaybe('merge-base', '--is-ancestor', remoteHead, 'HEAD') === undefined
  ) {
    throw new Error(`${REMOTE} has commits that this ${BRANCH} lacks: git pull --ff-only`)
  }
}

function checkVersion(
  version: string,
  notes: string,
  tag: string,
  onRemote: ReadonlyMap<string, string>,
): void {
  if (notes === '')
    throw new Error('CHANGELOG.md has nothing under Unreleased: there is nothing to release')
  if (
    gitMaybe('rev-parse', '--verify', '--quiet', `refs/tags/${tag}`) !== undefined ||
    onRemote.has(`refs/tags/${tag}`)
  ) {
    throw new Error(
      `${tag} exists, and ${BRANCH} has no commit “${subject(version)}”: a version is released once`,
    )
  }
  const { version: current } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    version: string
  }
  // The first of all may be the version that stands there.
  if (version === current && git('tag', '--list', 'v*') === '') return
  const least = leastAfter(current, under(notes, BREAKING) !== '')
  if (isBefore(version, least)) {
    throw new Error(
      `after ${current} the next version is ${least} or later${least.endsWith('.0') ? `: Unreleased has ${BREAKING.join(' or ')}` : ''}`,
    )
  }
}

/** What the release's commit changes: the one place where the version stands, and all that follow it. */
function changedFiles(version: string, changelog: string): Map<string, string> {
  const changes = new Map<string, string>()
  const manifest = readFileSync('package.json', 'utf8')
  changes.set('package.json', manifest.replace(/^( {2}"version": ")[^"]*/m, `$1${version}`))
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
  lock.version = version
  lock.packages[''].version = version
  changes.set('package-lock.json', `${JSON.stringify(lock, undefined, 2)}\n`)
  changes.set('CHANGELOG.md', released(changelog, version, new Date().toISOString().slice(0, 10)))
  // Tests have versions of their own making, and the changelog tells of old ones.
  const where = [':!CHANGELOG.md', ':!test/']
  const named =
    gitMaybe('grep', '--files-with-matches', '-I', 'onnx-function', '--', ...where) ?? ''
  for (const path of named.split('\n').filter(path => path !== '' && !changes.has(path))) {
    changes.set(path, withImage(readFileSync(path, 'utf8'), version))
  }
  // What users may rely on from now on (docs/upgrading.md).
  const { stdout, status, stderr } = spawnSync('npm', ['run', '--silent', 'interface'], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`npm run interface failed: ${stderr}`)
  changes.set('docs/interface.json', stdout)
  return new Map(
    [...changes].filter(([path, text]) => gitMaybe('show', `HEAD:${path}`) !== text.trim()),
  )
}

/** @returns a commit that is on no branch, once its own tests have passed */
function testedCommit(version: string, changes: ReadonlyMap<string, string>): string {
  removeWorkTrees()
  const folder = mkdtempSync(join(tmpdir(), WORK_TREE))
  // Ctrl-C reaches npm as well: it ends, and so what stands below is tidied up.
  process.once('SIGINT', () => process.exit(130))
  try {
    git('worktree', 'add', '--quiet', '--detach', folder, 'HEAD')
    for (const [path, text] of changes) writeFileSync(join(folder, path), text)
    git('-C', folder, 'commit', '--quiet', '--all', '--allow-empty', '--message', subject(version))
    for (const args of [['ci'], ['test'], ['run', 'check']]) {
      say(`npm ${args.join(' ')}`)
      const { status } = spawnSync('npm', args, { cwd: folder, stdio: 'inherit' })
      if (status !== 0)
        throw new Error(
          `npm ${args.join(' ')} failed on the commit of ${version}; nothing was changed here`,
        )
    }
    return git('-C', folder, 'rev-parse', 'HEAD')
  } finally {
    removeWorkTrees()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** This one's, and what one that was killed left behind. */
function removeWorkTrees(): void {
  for (const [, folder] of git('worktree', 'list', '--porcelain').matchAll(/^worktree (.*)$/gm)) {
    if (basename(folder as string).startsWith(WORK_TREE))
      gitMaybe('worktree', 'remove', '--force', folder as string)
  }
  git('worktree', 'prune')
}

/** Annotated, and signed where git knows a key. */
function makeTag(tag: string, commit: string, notes: string): void {
  const tagged = gitMaybe('rev-parse', '--verify', '--quiet', `refs/tags/${tag}^{commit}`)
  if (tagged === commit) return
  if (tagged !== undefined)
    throw new Error(`${tag} is ${tagged}, not the release’s commit ${commit}`)
  const isSigned = gitMaybe('config', 'user.signingkey') !== undefined
  // Headings of the notes begin with #, as git's comments do.
  git(
    'tag',
    isSigned ? '--sign' : '--annotate',
    '--cleanup=whitespace',
    '--message',
    `${tag}\n\n${notes}`,
    tag,
    commit,
  )
  say(`tag ${tag}${isSigned ? ', signed' : ''}`)
}

/** The branch and the tag, or neither. */
function push(
  tag: string,
  remote: string | undefined,
  onRemote: ReadonlyMap<string, string>,
): void {
  if (remote === undefined)
    say(
      `There is no remote ${REMOTE} to push to. Once there is: git push --atomic ${REMOTE} ${BRANCH} ${tag}`,
    )
  else if (onRemote.get(`refs/tags/${tag}`) === git('rev-parse', `refs/tags/${tag}`))
    say(`${tag} is released; ${remote} has it.`)
  else {
    git('push', '--quiet', '--atomic', REMOTE, BRANCH, tag)
    say(
      `Pushed ${BRANCH} and ${tag} to ${remote}; the pipeline builds, signs and publishes the rest.`,
    )
  }
}
