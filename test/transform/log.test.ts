import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Log } from '../../function/telemetry/log.ts'
import { authorsLog, logThrown } from '../../function/transform/context.ts'

/** Like the server's log, throws if JSON cannot represent a field. */
function logTo(lines: string[]): Log {
  const write = (...happened: [string] | [object, string]) => {
    const [fields, message] = happened.length === 1 ? [{}, happened[0]] : happened
    lines.push(JSON.stringify({ ...fields, msg: message }))
  }
  return { info: write, warn: write, error: write } as unknown as Log
}

const circle: Record<string, unknown> = {}
circle.circle = circle

test('the author’s log adds the ids of the trace to each line', () => {
  const lines: string[] = []
  authorsLog(logTo(lines), () => ({ trace_id: 'a' })).info('asked', { words: 3 })
  assert.deepEqual(lines, ['{"words":3,"trace_id":"a","msg":"asked"}'])
})

test('fields that cannot be logged do not fail the call', () => {
  const lines: string[] = []
  const log = authorsLog(logTo(lines), () => ({}))
  log.warn('a circle', circle)
  log.error('a bigint', { big: 1n })
  log.info(Symbol('no text') as never)
  assert.match(
    lines[0] as string,
    /^\{"msg":"a circle \(its fields cannot be logged: Converting circular/,
  )
  assert.match(
    lines[1] as string,
    /^\{"msg":"a bigint \(its fields cannot be logged: Do not know how/,
  )
  assert.equal(lines[2], '{"msg":"Symbol(no text)"}')
})

test('any value that the author throws can be logged, but only errors are logged with their members', () => {
  const lines: string[] = []
  const odd = Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error('y')
    },
  })
  const hostile = Object.assign(new Error('with a circle'), { toJSON: () => circle })
  for (const thrown of [odd, hostile, circle, undefined, { password: 'secret' }])
    logThrown(logTo(lines), 'error', { thrown, fields: {}, text: 'failed' })
  assert.equal(lines.length, 5)
  assert.ok(!lines.join().includes('secret'))
})
