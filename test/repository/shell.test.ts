import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

/** Files of the project, not what is installed or built. */
const files = readdirSync(projectFolder, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(({ parentPath, name }) => relative(projectFolder, join(parentPath, name)))
  .filter(path => !/(^|\/)(node_modules|build|\.git|\.venv|\.build)\//.test(path))

test('`npm run check:shell`, and so CI, looks at every shell script', () => {
  assert.match(manifest.scripts['check:shell'], /\.ci\/run .*'\*\.sh'/)
  assert.match(readFileSync(join(projectFolder, '.ci/run'), 'utf8'), /^npm run check:shell$/m)
  const others = files.filter(
    path =>
      !path.endsWith('.sh') &&
      /^#!.*\b(ba|da|)sh\b/.test(readFileSync(join(projectFolder, path), 'utf8')),
  )
  assert.deepEqual(others, ['.ci/run'])
})
