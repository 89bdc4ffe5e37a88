import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Server, startProcess, startServer, testModel } from '../server.ts'
import { EVENT, type EventJson, MODES, type Mode, replyIn, SEND } from './events.ts'

async function withServer<T>(
  env: Record<string, string>,
  use: (server: Server) => Promise<T>,
): Promise<T> {
  const server = await startServer(env)
  try {
    return await use(server)
  } finally {
    await server.stop()
  }
}

const replyTo = async (
  { url }: { url: string },
  event: EventJson = EVENT,
  mode: Mode = 'structured',
) => replyIn(mode, await SEND[mode](url, event))

describe('the reply’s id', () => {
  const OTHERS: readonly [what: string, event: EventJson][] = [
    ['id', { ...EVENT, id: 'flower-2' }],
    ['source', { ...EVENT, source: '/meadow' }],
    ['type', { ...EVENT, type: 'com.example.rose.request' }],
  ]

  test('is the same for a redelivery in any mode, and another for another id, source or type', () =>
    withServer({}, async server => {
      const { id } = await replyTo(server)
      for (const mode of MODES) assert.equal((await replyTo(server, EVENT, mode)).id, id)
      for (const [what, event] of OTHERS)
        assert.notEqual((await replyTo(server, event)).id, id, what)
    }))

  test('does not run source and id together', () =>
    withServer({}, async server => {
      const one = await replyTo(server, { ...EVENT, source: '/a', id: 'b/c' })
      const other = await replyTo(server, { ...EVENT, source: '/a/b', id: '/c' })
      assert.notEqual(one.id, other.id)
    }))

  test('depends on nothing but what identifies the event and the model: neither on data nor extensions', () =>
    withServer({}, async server => {
      const { id } = await replyTo(server)
      assert.equal(
        (
          await replyTo(server, {
            ...EVENT,
            subject: 's',
            time: '2030-01-01T00:00:00Z',
            knativearrivaltime: 'x',
          })
        ).id,
        id,
      )
    }))

  test('is the same from another process, and another from another version or model', async () => {
    const { id } = await withServer({}, server => replyTo(server))
    const process = await startProcess()
    const fromProcess = await replyTo(process).finally(() => process.process.kill())
    await process.exited
    assert.equal(fromProcess.id, id)
    assert.notEqual((await withServer({ MODEL_VERSION: 'v9' }, server => replyTo(server))).id, id)
    assert.notEqual((await withServer({ MODEL_NAME: 'other' }, server => replyTo(server))).id, id)
  })

  test('is there for a model without a version', () =>
    withServer({ MODEL_DIR: testModel('identity-fp32') }, async server => {
      const data = { inputs: [{ name: 'x', shape: [1], datatype: 'FP32', data: [1] }] }
      assert.match(String((await replyTo(server, { ...EVENT, data })).id), /^[0-9a-f]{32}$/)
    }))
})

describe('the reply’s source', () => {
  const SOURCES: readonly [env: Record<string, string>, source: string][] = [
    [{}, '/onnx-function/iris-classifier'],
    [{ K_SERVICE: 'iris' }, '/onnx-function/iris/iris-classifier'],
    [{ INFERENCE_SERVICE_NAME: 'flowers' }, '/onnx-function/flowers/iris-classifier'],
    [
      { K_SERVICE: 'iris', INFERENCE_SERVICE_NAME: 'flowers' },
      '/onnx-function/iris/iris-classifier',
    ],
    [{ MODEL_NAME: 'Größe 1?' }, '/onnx-function/Gr%C3%B6%C3%9Fe%201%3F'],
    [{ CE_SOURCE: 'https://example.com/iris', K_SERVICE: 'iris' }, 'https://example.com/iris'],
    [{ CE_SOURCE: 'urn:example:iris' }, 'urn:example:iris'],
  ]
  for (const [env, source] of SOURCES) {
    test(`is ${source} with ${JSON.stringify(env)}`, () =>
      withServer(env, async server => {
        for (const mode of MODES) assert.equal((await replyTo(server, EVENT, mode)).source, source)
      }))
  }
})

describe('the reply’s attributes', () => {
  const TYPES: readonly [request: string, reply: string][] = [
    ['com.example.iris.request', 'com.example.iris.response'],
    ['com.example.iris', 'com.example.iris.response'],
    ['boson.fn', 'boson.fn.response'],
    ['dev.knative.sources.ping', 'dev.knative.sources.ping.response'],
    ['a.request.request', 'a.request.response'],
    ['a.request.v2', 'a.request.v2.response'],
    ['request', 'request.response'],
    ['.request', '.response'],
    ['a.Request', 'a.Request.response'],
    ['a.response', 'a.response.response'],
  ]
  test('have the type of the request with .request replaced by .response, else with .response appended', () =>
    withServer({}, async server => {
      for (const [request, reply] of TYPES)
        assert.equal((await replyTo(server, { ...EVENT, type: request })).type, reply)
    }))

  const TRACE = {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
  }
  const CARRIED: readonly [what: string, request: EventJson, reply: EventJson][] = [
    [
      'nothing but what is contracted',
      { subject: 'bed 7', time: '2030-01-01T00:00:00Z', dataschema: 'urn:x', myextension: 'x' },
      {},
    ],
    ['the correlation id as the reply id', { correlationid: 'c-1' }, { replyid: 'c-1' }],
    ['the trace of the event’s origin', TRACE, TRACE],
    [
      'the parent of the trace alone',
      { traceparent: TRACE.traceparent },
      { traceparent: TRACE.traceparent },
    ],
  ]
  for (const [what, request, carried] of CARRIED) {
    for (const mode of MODES) {
      test(`carry on ${what} in ${mode} mode, beside what identifies the reply; there is no time`, () =>
        withServer({}, async server => {
          const { id, data, ...attributes } = await replyTo(server, { ...EVENT, ...request }, mode)
          assert.match(String(id), /^[0-9a-f]{32}$/)
          assert.deepEqual(attributes, {
            specversion: '1.0',
            source: '/onnx-function/iris-classifier',
            type: 'com.example.iris.response',
            datacontenttype: 'application/json',
            subject: 'flower-1',
            causationid: 'flower-1',
            ...carried,
          })
        }))
    }
  }

  test('do not take the trace of the HTTP hop for that of the event', () =>
    withServer({}, async server => {
      const headers = {
        traceparent: TRACE.traceparent,
        'ce-id': '1',
        'ce-source': '/s',
        'ce-type': 't',
        'ce-specversion': '1.0',
      }
      const answer = await fetch(server.url, {
        method: 'POST',
        headers,
        body: Buffer.from(JSON.stringify(EVENT.data)),
      })
      assert.deepEqual([answer.status, answer.headers.get('ce-traceparent')], [200, null])
    }))

  test('keep the type of a correlation id in JSON', () =>
    withServer({}, async server =>
      assert.equal((await replyTo(server, { ...EVENT, correlationid: 7 })).replyid, 7),
    ))
})

describe('the inference request’s id', () => {
  test('is echoed in the data, apart from the event’s', () =>
    withServer({}, async server => {
      const { subject, data } = await replyTo(server, {
        ...EVENT,
        data: { id: 'inner', ...(EVENT.data as object) },
      })
      assert.deepEqual([subject, (data as { id: string }).id], ['flower-1', 'inner'])
    }))
})
