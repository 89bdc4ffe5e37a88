import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CloudEvent, HTTP } from 'cloudevents'
import { type Server, startServer } from '../server.ts'
import {
  type Answer,
  EVENT,
  eventHeaders,
  IRIS,
  MODES,
  type Mode,
  post,
  refusal,
  replyIn,
  SEND,
  STRUCTURED,
  sdkEvents,
} from './events.ts'

const REPLY_TYPE: Record<Mode, string> = {
  binary: 'application/json',
  structured: 'application/cloudevents+json; charset=utf-8',
  batched: 'application/cloudevents-batch+json; charset=utf-8',
}

const JSON_EVENT = JSON.stringify(EVENT)
const JSON_BATCH = JSON.stringify([EVENT])

const SPELLINGS: readonly [mode: Mode, contentType: string][] = [
  ['structured', 'application/cloudevents+json'],
  ['structured', 'Application/CloudEvents+JSON'],
  ['structured', 'application/cloudevents+json;charset=UTF-8'],
  ['structured', 'application/cloudevents+json ; charset="utf-8"'],
  ['structured', 'application/cloudevents+json; charset=utf8; profile=x'],
  ['batched', 'application/cloudevents-batch+json'],
  ['batched', 'APPLICATION/CLOUDEVENTS-BATCH+JSON'],
  ['batched', 'application/cloudevents-batch+json;charset=utf-8'],
]

const UNSUPPORTED = [
  'application/cloudevents',
  'application/cloudevents+avro',
  'application/cloudevents+xml; charset=utf-8',
  'application/cloudevents+protobuf',
  'application/cloudevents+json2',
  'application/cloudevents-batch',
  'application/cloudevents-batch+protobuf',
  'application/cloudevents+json; charset=utf-16',
  'application/cloudevents+json; charset=iso-8859-1',
  'application/cloudevents-batch+json; charset=latin1',
]

describe('the three content modes', () => {
  let server: Server
  let infer: string
  before(async () => {
    server = await startServer()
    infer = `${server.url}/v2/models/iris-classifier/infer`
  })
  after(() => server.stop())

  for (const mode of MODES) {
    test(`answers an event in ${mode} mode with an event in ${mode} mode`, async () => {
      const answer = await SEND[mode](server.url, EVENT)
      assert.equal(answer.headers['content-type'], REPLY_TYPE[mode])
      assert.equal(eventHeaders(answer).length > 0, mode === 'binary')
      const { data } = replyIn(mode, answer) as {
        data: { model_name: string; model_version: string; outputs: { data: unknown[] }[] }
      }
      assert.deepEqual(
        [data.model_name, data.model_version, data.outputs[1]?.data],
        ['iris-classifier', 'v1.0.0', ['setosa']],
      )
    })
  }

  test('answers an event from the SDK with an event that the SDK can read, in binary and structured mode', async () => {
    const event = new CloudEvent({
      type: 'com.example.iris.request',
      source: '/garden',
      data: IRIS,
      correlationid: 'c-1',
    })
    for (const message of [HTTP.binary(event), HTTP.structured(event)]) {
      const answer = await post(
        server.url,
        message.headers as Record<string, string>,
        message.body as string,
      )
      const [reply] = sdkEvents(answer)
      assert.deepEqual(
        [reply?.type, reply?.subject, reply?.replyid],
        ['com.example.iris.response', event.id, 'c-1'],
      )
      assert.match(JSON.stringify(reply?.data), /"setosa"/)
    }
  })

  test('accepts binary data from the SDK, which sends it as data_base64', async () => {
    const event = new CloudEvent({
      type: 'x.request',
      source: '/garden',
      datacontenttype: 'application/json',
      data: Uint8Array.from(Buffer.from(JSON.stringify(IRIS))),
    })
    const { headers, body } = HTTP.structured(event)
    assert.equal(
      sdkEvents(await post(server.url, headers as Record<string, string>, body as string))[0]
        ?.subject,
      event.id,
    )
  })

  for (const [mode, contentType] of SPELLINGS) {
    test(`reads ${contentType} as ${mode} mode`, async () => {
      replyIn(
        mode,
        await post(
          server.url,
          { 'content-type': contentType },
          mode === 'batched' ? JSON_BATCH : JSON_EVENT,
        ),
      )
    })
  }

  for (const contentType of UNSUPPORTED) {
    test(`rejects the unsupported event format ${contentType}`, async () => {
      const reason = refusal(
        415,
        await post(server.url, { 'content-type': contentType }, JSON_EVENT),
      )
      assert.match(reason, /send events as application\/cloudevents(-batch)?\+json in UTF-8/)
    })
  }

  test('reports an unsupported format before it parses the body', async () => {
    refusal(415, await post(server.url, { 'content-type': 'application/cloudevents+avro' }, '{'))
  })

  test('prefers the content type to ce- headers', async () => {
    const answer = await post(
      server.url,
      { 'content-type': STRUCTURED, 'ce-id': 'other', 'ce-specversion': '0.3' },
      JSON_EVENT,
    )
    assert.equal(replyIn('structured', answer).subject, 'flower-1')
  })

  test('reads the names of ce- headers in any case', async () => {
    const headers = {
      'CE-ID': '1',
      'Ce-Source': '/garden',
      'ce-Type': 'x.request',
      'cE-SpecVersion': '1.0',
    }
    assert.equal(
      replyIn('binary', await post(server.url, headers, JSON.stringify(IRIS))).type,
      'x.response',
    )
  })

  const NO_EVENTS: readonly [what: string, path: string, headers: Record<string, string>][] = [
    ['a request to / without event headers', '/', {}],
    ['a request to / with only an extension header', '/', { 'ce-traceparent': '00-1-2-01' }],
    ['a request to the infer path with only an extension header', 'infer', { 'ce-priority': '1' }],
  ]
  for (const [what, path, headers] of NO_EVENTS) {
    test(`treats ${what} as a plain inference request`, async () => {
      const url = path === 'infer' ? infer : server.url
      const answer = await post(
        url,
        { 'content-type': 'application/json', ...headers },
        JSON.stringify({ id: 'r', ...IRIS }),
      )
      assert.deepEqual(
        [answer.status, answer.headers['content-type'], eventHeaders(answer)],
        [200, 'application/json', []],
      )
      assert.equal(JSON.parse(answer.text).id, 'r')
    })
  }

  for (const mode of MODES) {
    test(`answers an event in ${mode} mode at the infer paths as at /`, async () => {
      const expected = await SEND[mode](server.url, EVENT)
      for (const path of [infer, infer.replace('/infer', '/versions/v1.0.0/infer')]) {
        const answer = await SEND[mode](path, EVENT)
        assert.deepEqual(replyIn(mode, answer), replyIn(mode, expected))
      }
    })
  }

  test('reports a malformed event at an infer path as an error of the event', async () => {
    const headers = { 'content-type': 'application/json', 'ce-id': '', 'ce-specversion': '7' }
    assert.match(refusal(400, await post(infer, headers, JSON.stringify(IRIS))), /^the event: /)
  })

  test('does not treat GET / with ce- headers as an event', async () => {
    const answer = await fetch(server.url, {
      headers: { 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't', 'ce-specversion': '1.0' },
    })
    assert.equal(((await answer.json()) as { name: string }).name, 'onnx-function')
  })

  test('reads a compressed event', async () => {
    const { gzipSync } = await import('node:zlib')
    const headers = { 'content-type': STRUCTURED, 'content-encoding': 'gzip' }
    replyIn('structured', await post(server.url, headers, gzipSync(JSON_EVENT)))
  })

  test('answers a redelivered event with exactly the same bytes', async () => {
    for (const mode of MODES) {
      const timeless = ({ headers: { date, ...headers }, text }: Answer) => ({ headers, text })
      assert.deepEqual(
        timeless(await SEND[mode](server.url, EVENT)),
        timeless(await SEND[mode](server.url, EVENT)),
      )
    }
  })
})
