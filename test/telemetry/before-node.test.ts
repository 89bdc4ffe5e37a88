import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const MODULE = fileURLToPath(new URL('../../function/telemetry/before-node.ts', import.meta.url))
const PRINT = `import('${MODULE}').then(({ secondsBeforeNode }) => process.stdout.write(String(secondsBeforeNode())))`

test('returns the time between the start of the process and of Node', {
  skip: process.platform !== 'linux' && 'only Linux provides this time',
}, () => {
  // exec replaces the shell in the same process, so that the process starts with the shell.
  const { stdout } = spawnSync(
    'sh',
    ['-c', 'sleep 0.3; exec "$0" --eval "$1"', process.execPath, PRINT],
    { encoding: 'utf8' },
  )
  assert.ok(Number(stdout) >= 0.3 - 0.02, `${stdout} s`)
})
