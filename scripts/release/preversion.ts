// The first hook of `npm version`: refuses an invalid release before anything has changed.
import { readFileSync } from 'node:fs'
import { BREAKING, section, under } from './changelog.ts'
import { git, gitMaybe, refuse } from './git.ts'

const { npm_old_version: before = '', npm_new_version: version = '' } = process.env

/** A breaking change needs a new major version; before 1.0.0, a new minor version. */
export function leastAfter(current: string, { isBreaking = false }): string {
  const [major = 0, minor = 0, patch = 0] = current.split('.').map(Number)
  if (!isBreaking) return `${major}.${minor}.${patch + 1}`
  return major === 0 ? `0.${minor + 1}.0` : `${major + 1}.0.0`
}

function checkVersion(notes: string): void {
  if (!/^\d+\.\d+\.\d+$/.test(version))
    refuse(`"${version}" is not a release version; expected MAJOR.MINOR.PATCH, such as 0.2.0`)
  if (notes === '') refuse('nothing to release: the section Unreleased of CHANGELOG.md is empty')
  // The first release may keep package.json's version (--allow-same-version).
  if (version === before && gitMaybe('describe', '--tags', '--match', 'v*') === undefined) return
  const isBreaking = under(notes, BREAKING) !== ''
  const least = leastAfter(before, { isBreaking })
  if (version.localeCompare(least, 'en', { numeric: true }) < 0)
    refuse(
      `after ${before}, the next version must be ${least} or later, not ${version}${isBreaking ? ': Unreleased has changes under Removed or Breaking' : ''}`,
    )
}

function checkTag(tag: string): void {
  const isThere = gitMaybe('rev-parse', '--verify', '--quiet', `refs/tags/${tag}`) !== undefined
  if (isThere || gitMaybe('ls-remote', '--exit-code', 'origin', `refs/tags/${tag}`) !== undefined)
    refuse(`the tag ${tag} already exists`)
}

function checkBranch(): void {
  const branch = gitMaybe('symbolic-ref', '--short', 'HEAD')
  if (branch !== 'main')
    refuse(`a release must be made on the branch main, not on ${branch ?? 'a detached HEAD'}`)
  const uncommitted = git('status', '--porcelain')
  if (uncommitted !== '') refuse(`commit these changes first:\n${uncommitted}`)
  if (gitMaybe('remote', 'get-url', 'origin') === undefined) return
  git('fetch', '--quiet', 'origin', 'main')
  if (gitMaybe('merge-base', '--is-ancestor', 'FETCH_HEAD', 'HEAD') === undefined)
    refuse('origin has commits that the local main lacks: run git pull --ff-only')
}

if (import.meta.main) {
  checkBranch()
  checkTag(`v${version}`)
  checkVersion(section(readFileSync('CHANGELOG.md', 'utf8'), 'Unreleased') ?? '')
}
