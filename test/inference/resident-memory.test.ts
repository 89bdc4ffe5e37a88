import assert from 'node:assert/strict'
import { test } from 'node:test'
import { residentMemory } from '../../function/inference/resident-memory.ts'
import { nativeBytes } from '../../function/inference/run-sizes.ts'

test('memory is measured without /proc, because a process may have no free file descriptor', t => {
  const current = residentMemory()
  t.mock.method(process, 'memoryUsage', () => {
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
  })
  const measured = residentMemory()
  assert.ok(measured.rss >= current.rss)
  assert.ok(measured.heapTotal > 0 && measured.external > 0)
  assert.ok(nativeBytes() > 0)
})
