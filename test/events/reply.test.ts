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

  test('gives replies to a redelivered event the same id, and replies to other events different ids', () =>
    withServer({}, async server => {
      const { id } = await replyTo(server)
      for (const mode of MODES) assert.equal((await replyTo(server, EVENT, mode)).id, id)
      for (const [what, event] of OTHERS)
        assert.notEqual((await replyTo(server, event)).id, id, what)
    }))

  test('gives replies different ids if sources and ids are equal only when concatenated', () =>
    withServer({}, async server => {
      const one = await replyTo(server, { ...EVENT, source: '/a', id: 'b/c' })
      const other = await replyTo(server, { ...EVENT, source: '/a/b', id: '/c' })
      assert.notEqual(one.id, other.id)
    }))

  test('ignores other attributes of the event in the id of the reply', () =>
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

  test('gives replies the same id in another process, but not for another version or model', async () => {
    const { id } = await withServer({}, server => replyTo(server))
    const process = await startProcess()
    const fromProcess = await replyTo(process).finally(() => process.process.kill())
    await process.exited
    assert.equal(fromProcess.id, id)
    assert.notEqual((await withServer({ MODEL_VERSION: 'v9' }, server => replyTo(server))).id, id)
    assert.notEqual((await withServer({ MODEL_NAME: 'other' }, server => replyTo(server))).id, id)
  })

  test('gives replies an id if the model has no version', () =>
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
    test(`replies have the source ${source} if the environment is ${JSON.stringify(env)}`, () =>
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
  test('replaces .request with .response in the type of the reply, or appends .response', () =>
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
      'no other attributes',
      { subject: 'bed 7', time: '2030-01-01T00:00:00Z', dataschema: 'urn:x', myextension: 'x' },
      {},
    ],
    ['the correlation id as the reply id', { correlationid: 'c-1' }, { replyid: 'c-1' }],
    ['the trace of the event’s origin', TRACE, TRACE],
    [
      'only the traceparent',
      { traceparent: TRACE.traceparent },
      { traceparent: TRACE.traceparent },
    ],
  ]
  for (const [what, request, carried] of CARRIED) {
    for (const mode of MODES) {
      test(`sends the usual attributes of a reply and ${what} in ${mode} mode`, () =>
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

  test('does not pass the trace of the HTTP request on to the reply', () =>
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

  test('keeps the type of a correlation id in JSON', () =>
    withServer({}, async server =>
      assert.equal((await replyTo(server, { ...EVENT, correlationid: 7 })).replyid, 7),
    ))
})

describe('the inference request’s id', () => {
  test('returns the id of the inference request in the data, independently of the event’s id', () =>
    withServer({}, async server => {
      const { subject, data } = await replyTo(server, {
        ...EVENT,
        data: { id: 'inner', ...(EVENT.data as object) },
      })
      assert.deepEqual([subject, (data as { id: string }).id], ['flower-1', 'inner'])
    }))
})
