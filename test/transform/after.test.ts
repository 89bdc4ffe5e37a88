import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { EVENT, IRIS, post, without } from '../events/events.ts'
import { type Server, startServer } from '../server.ts'
import { author } from './table.ts'

const ROWS = Buffer.from(Float32Array.of(5.1, 3.5, 1.4, 0.2, 6.7, 3.1, 5.6, 2.4).buffer)
const TENSOR = { name: 'input', shape: [2, 4], datatype: 'FP32' }
const HEAD = JSON.stringify({
  inputs: [{ ...TENSOR, parameters: { binary_data_size: ROWS.length } }],
})

const CE = Object.fromEntries(
  Object.entries(without('data', EVENT)).map(([name, value]) => [`ce-${name}`, String(value)]),
)

describe('a transform without preprocess', () => {
  let server: Server
  before(async () => {
    server = await startServer({ TRANSFORM: author('after.ts'), EXECUTION: 'inline' })
  })
  after(() => server.stop())

  for (const [what, headers] of [
    ['a request', {}],
    ['an event', CE],
  ] as const) {
    const send = async (more: Record<string, string>, body: string | Uint8Array) =>
      JSON.parse((await post(server.url, { ...headers, ...more }, body)).text)

    test(`reads the JSON of ${what}`, async () => {
      const type = { 'content-type': 'application/json' }
      assert.deepEqual(await send(type, JSON.stringify(IRIS)), ['setosa'])
    })

    test(`reads the binary tensor data of ${what}`, async () => {
      const type = {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': String(HEAD.length),
      }
      const body = Buffer.concat([Buffer.from(HEAD), ROWS])
      assert.deepEqual(await send(type, body), ['setosa', 'virginica'])
    })
  }
})
