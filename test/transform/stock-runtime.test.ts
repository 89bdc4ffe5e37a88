import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import * as stock from '../../function/index.ts'
import { EVENT } from '../events/events.ts'
import { author } from './table.ts'

/*
 * The author's code under Knative's stock runtime: the tests call the function as that runtime
 * does.
 */

before(async () => {
  Object.assign(process.env, {
    TRANSFORM: author('any.ts'),
    EXECUTION: 'inline',
    LOG_LEVEL: 'silent',
  })
  await stock.init()
})
after(() => stock.shutdown())

const call = async (headers: Record<string, string>, body: unknown) => {
  const { statusCode, body: text } = await stock.handle({ method: 'POST', headers, body })
  return [statusCode, text === '' ? '' : JSON.parse(text.toString())]
}

const JSON_TYPE = { 'content-type': 'application/json' }
const event = Object.fromEntries(
  Object.entries({ ...EVENT, data: undefined })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [`ce-${name}`, String(value)]),
)

test('accepts JSON that the runtime has parsed', async () => {
  assert.deepEqual(await call(JSON_TYPE, { give: 'class' }), [200, 'setosa'])
  assert.deepEqual(await call(JSON_TYPE, { give: 'nothing' }), [204, ''])
  const [status, { error }] = await call(JSON_TYPE, { throws: 'refused' })
  assert.deepEqual([status, error], [409, 'this flower was classified before'])
})

test('accepts text and bytes', async () => {
  assert.deepEqual(await call({ 'content-type': 'text/plain' }, 'a'), [200, { text: 'a' }])
  const bytes = await call({ 'content-type': 'image/png' }, Buffer.from([0, 255]))
  assert.deepEqual(bytes, [200, { bytes: [0, 255] }])
})

test('answers an event in binary mode and an event in structured mode', async () => {
  assert.deepEqual(await call({ ...JSON_TYPE, ...event }, {}), [200, 'setosa'])
  assert.deepEqual(await call({ ...JSON_TYPE, ...event }, { give: 'nothing' }), [204, ''])
  const structured = { 'content-type': 'application/cloudevents+json' }
  const [status, reply] = await call(structured, JSON.stringify({ ...EVENT, data: {} }))
  assert.deepEqual([status, reply.data], [200, 'setosa'])
})
