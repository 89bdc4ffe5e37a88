// The second hook of `npm version`: npm has updated package.json and the lock file; this updates
// all other files with the version.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { released } from './changelog.ts'
import { git, gitMaybe } from './git.ts'

/** `…/onnx-function:VERSION`, or kustomize's newTag on the line below the name. */
export const IMAGE = /(\bonnx-function(?:-canary)?(?::|\s+newTag: ))(\d+\.\d+\.\d+)\b/g

function change(path: string, how: (text: string) => string): void {
  const text = readFileSync(path, 'utf8')
  const changed = how(text)
  if (changed !== text) writeFileSync(path, changed)
}

function follow(version: string): void {
  const today = new Date().toISOString().slice(0, 10)
  change('CHANGELOG.md', text => released(text, version, today))
  // Tests use invented versions, and the changelog contains old ones.
  const where = ['--', ':!CHANGELOG.md', ':!test/']
  const paths = gitMaybe('grep', '--files-with-matches', '-I', 'onnx-function', ...where) ?? ''
  for (const path of paths.split('\n').filter(Boolean))
    change(path, text => text.replaceAll(IMAGE, `$1${version}`))
  // Users can rely on these names from this release on (docs/releasing.md).
  const names = execFileSync(process.execPath, ['scripts/release/interface.ts'])
  writeFileSync('docs/interface.json', names)
  git('add', '--update')
}

if (import.meta.main) follow(process.env.npm_new_version as string)
