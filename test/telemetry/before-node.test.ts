import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const MODULE = fileURLToPath(new URL('../../function/telemetry/before-node.ts', import.meta.url))
const PRINT = `import('${MODULE}').then(({ secondsBeforeNode }) => process.stdout.write(String(secondsBeforeNode())))`

test('the time before a process became Node belongs to its start', {
  skip: process.platform !== 'linux' && 'only Linux tells',
}, () => {
  // exec keeps the process, so that its beginning is the shell's.
  const { stdout } = spawnSync(
    'sh',
    ['-c', 'sleep 0.3; exec "$0" --eval "$1"', process.execPath, PRINT],
    { encoding: 'utf8' },
  )
  assert.ok(Number(stdout) >= 0.3 - 0.02, `${stdout} s`)
})
