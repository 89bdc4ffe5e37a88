// The first hook of `npm version`: refuses a release that must not be made. Nothing has changed
// yet.
import { readFileSync } from 'node:fs'
import { BREAKING, section, under } from './changelog.ts'
import { git, gitMaybe, refuse } from './git.ts'

const { npm_old_version: before = '', npm_new_version: version = '' } = process.env

/** The lowest next version: a breaking change is a new major, before 1.0.0 a new minor. */
export function leastAfter(current: string, { isBreaking = false }): string {
  const [major = 0, minor = 0, patch = 0] = current.split('.').map(Number)
  if (!isBreaking) return `${major}.${minor}.${patch + 1}`
  return major === 0 ? `0.${minor + 1}.0` : `${major + 1}.0.0`
}

function checkVersion(notes: string): void {
  if (!/^\d+\.\d+\.\d+$/.test(version))
    refuse(`"${version}" is no version; the pipeline releases those such as 0.2.0`)
  if (notes === '') refuse('CHANGELOG.md has nothing under Unreleased; nothing to release')
  // The very first release may keep package.json's version (--allow-same-version).
  if (version === before && gitMaybe('describe', '--tags', '--match', 'v*') === undefined) return
  const isBreaking = under(notes, BREAKING) !== ''
  const least = leastAfter(before, { isBreaking })
  if (version.localeCompare(least, 'en', { numeric: true }) < 0)
    refuse(
      `after ${before} the next version is ${least} or later${isBreaking ? ': Unreleased has Removed or Breaking' : ''}`,
    )
}

function checkTag(tag: string): void {
  const isThere = gitMaybe('rev-parse', '--verify', '--quiet', `refs/tags/${tag}`) !== undefined
  if (isThere || gitMaybe('ls-remote', '--exit-code', 'origin', `refs/tags/${tag}`) !== undefined)
    refuse(`the tag ${tag} exists already`)
}

function checkBranch(): void {
  const branch = gitMaybe('symbolic-ref', '--short', 'HEAD')
  if (branch !== 'main') refuse(`releases are made on main; this is ${branch ?? 'no branch'}`)
  const uncommitted = git('status', '--porcelain')
  if (uncommitted !== '') refuse(`not committed, and so not in the release:\n${uncommitted}`)
  if (gitMaybe('remote', 'get-url', 'origin') === undefined) return
  git('fetch', '--quiet', 'origin', 'main')
  if (gitMaybe('merge-base', '--is-ancestor', 'FETCH_HEAD', 'HEAD') === undefined)
    refuse('origin has commits that this main lacks: git pull --ff-only')
}

if (import.meta.main) {
  checkBranch()
  checkTag(`v${version}`)
  checkVersion(section(readFileSync('CHANGELOG.md', 'utf8'), 'Unreleased') ?? '')
}
