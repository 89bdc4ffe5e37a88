import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from '../server.ts'

const files = readdirSync(projectFolder, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(({ parentPath, name }) => relative(projectFolder, join(parentPath, name)))
  .filter(path => !/(^|\/)(node_modules|build|\.git|\.venv|\.build)\//.test(path))

test('CI runs shellcheck on every shell script', () => {
  const read = (path: string) => readFileSync(join(projectFolder, path), 'utf8')
  assert.match(read('.ci/run'), /git ls-files .*'\*\.sh' \| xargs -0 shellcheck .*\.ci\/run$/m)
  assert.match(read('.ci/budget'), /^change +shell +1 {2}shell$/m)
  const others = files.filter(
    path =>
      !path.endsWith('.sh') &&
      /^#!.*\b(ba|da|)sh\b/.test(readFileSync(join(projectFolder, path), 'utf8')),
  )
  assert.deepEqual(others, ['.ci/run'])
})
