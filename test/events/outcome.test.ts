import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Server, startServer, testModel } from '../server.ts'
import {
  assertAcknowledged,
  BATCHED,
  EVENT,
  type EventJson,
  MODES,
  post,
  refusal,
  replyIn,
  SEND,
} from './events.ts'

const index = (...indices: number[]) => ({
  inputs: [{ name: 'index', datatype: 'INT64', shape: [indices.length], data: indices }],
})

describe('an event on which the model fails', () => {
  let server: Server
  before(async () => {
    server = await startServer({ MODEL_DIR: testModel('failing') })
  })
  after(() => server.stop())

  for (const mode of ['binary', 'structured'] as const) {
    test(`answers an event in ${mode} mode with 422, so that a Broker does not retry, and a plain request with 500`, async () => {
      refusal(422, await SEND[mode](server.url, { ...EVENT, data: index(99) }))
      refusal(
        500,
        await post(server.url, { 'content-type': 'application/json' }, JSON.stringify(index(99))),
      )
      replyIn(mode, await SEND[mode](server.url, { ...EVENT, data: index(2) }))
    })
  }

  test('counts a failed event as an error with the protocol cloudevent', async () => {
    const count = async () =>
      Number(
        /inference_requests_total\{.*protocol="cloudevent",status="error"\} (\d+)/.exec(
          await server.service.metrics.text(),
        )?.[1] ?? 0,
      )
    const before = await count()
    await SEND.binary(server.url, { ...EVENT, data: index(99) })
    assert.equal(await count(), before + 1)
  })
})

describe('while no run is possible, an event gets a status after which a Broker retries', () => {
  test('answers events with 504 if the model was not loaded within the deadline', async () => {
    const server = await startServer({ REQUEST_TIMEOUT_MS: '1000' }, { load: false })
    try {
      const answers = await Promise.all(MODES.map(mode => SEND[mode](server.url, EVENT)))
      for (const answer of answers) assert.match(refusal(504, answer), /deadline/)
    } finally {
      await server.stop()
    }
  })

  test('answers events with 503 and Retry-After if the model could not be loaded, and malformed events with 400', async () => {
    const server = await startServer({ MODEL_DIR: testModel('broken') }, { load: false })
    try {
      await assert.rejects(server.service.model.load())
      for (const mode of MODES) {
        const answer = await SEND[mode](server.url, EVENT)
        assert.match(refusal(503, answer), /could not be loaded/)
        assert.match(String(answer.headers['retry-after']), /^\d+$/)
        refusal(400, await SEND[mode](server.url, { ...EVENT, specversion: '0.3' }))
      }
    } finally {
      await server.stop()
    }
  })

  test('answers events with 503 and Retry-After if too many events wait, and answers the waiting events later', async () => {
    const server = await startServer({ MAX_QUEUE_ROWS: '3' }, { load: false })
    try {
      const waiting = MODES.map(mode => SEND[mode](server.url, EVENT))
      while (server.service.model.queuedRows < waiting.length) await nextTurn()
      for (const mode of MODES) {
        const answer = await SEND[mode](server.url, EVENT)
        refusal(503, answer)
        assert.match(String(answer.headers['retry-after']), /^\d+$/)
      }
      await server.service.model.load()
      for (const [i, mode] of MODES.entries())
        replyIn(mode, await (waiting[i] as (typeof waiting)[0]))
    } finally {
      await server.stop()
    }
  })
})

describe('an event that would cause an endless loop if the server replied', () => {
  const SOURCE = '/onnx-function/iris-classifier'
  const OURS: readonly [what: string, event: EventJson][] = [
    ['a reply of this function', { ...EVENT, source: SOURCE }],
    [
      'a reply of this function with any type and data',
      { ...EVENT, source: SOURCE, type: 'a.response', data: { outputs: [] } },
    ],
    [
      'an event from KServe’s log of requests',
      { ...EVENT, type: 'org.kubeflow.serving.inference.request' },
    ],
    [
      'an event from KServe’s log of responses',
      { ...EVENT, type: 'org.kubeflow.serving.inference.response', data: 'anything' },
    ],
  ]
  let server: Server
  before(async () => {
    server = await startServer({}, { load: false })
  })
  after(() => server.stop())

  for (const [what, event] of OURS) {
    for (const mode of MODES) {
      test(`acknowledges ${what} in ${mode} mode, even before the model is loaded`, async () => {
        assertAcknowledged(await SEND[mode](server.url, event))
      })
    }
  }

  test('recognizes the function’s own replies from the configured source', async () => {
    const named = await startServer({ CE_SOURCE: 'urn:iris' })
    try {
      assertAcknowledged(await SEND.binary(named.url, { ...EVENT, source: 'urn:iris' }))
      const reply = replyIn('binary', await SEND.binary(named.url, { ...EVENT, source: SOURCE }))
      assertAcknowledged(await SEND.structured(named.url, reply))
    } finally {
      await named.stop()
    }
  })

  test('acknowledges an empty batch, and a batch in which every event would cause a loop', async () => {
    assertAcknowledged(await post(server.url, { 'content-type': BATCHED }, '[]'))
    assertAcknowledged(
      await post(
        server.url,
        { 'content-type': BATCHED },
        JSON.stringify(OURS.map(([, event]) => event)),
      ),
    )
  })
})
