import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { startServer } from '../server.ts'

/** The nice value of each thread of this process (proc(5), /proc/pid/stat). */
const niceValues = () =>
  readdirSync('/proc/self/task').map(id => {
    const fields = readFileSync(`/proc/self/task/${id}/stat`, 'utf8').split(') ').at(-1)?.split(' ')
    return Number(fields?.[16])
  })

test('threads that run models have a lower priority than the main thread', {
  skip: process.platform !== 'linux' && 'only Linux has priorities of threads',
}, async t => {
  const before = niceValues()
  const server = await startServer({ EXECUTION: 'worker', WORKERS: '1' })
  t.after(server.stop)
  const lowered = niceValues().filter(nice => nice === (before[0] as number) + 5)
  assert.ok(lowered.length >= 1, `nice values: ${niceValues()}`)
  const main = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8').split(') ').at(-1)
  assert.equal(Number(main?.split(' ')[16]), before[0])
})
