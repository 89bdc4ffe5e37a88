import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type Answer,
  assertAcknowledged,
  EVENT,
  type EventJson,
  MODES,
  type Mode,
  post,
  replyIn,
  SEND,
} from '../events/events.ts'
import { predictor, type Server, startServer } from '../server.ts'

/*
 * The behaviours of a transform, with the response to each over HTTP, to events in three modes, and
 * over V1.
 */

export const author = (name: string) => fileURLToPath(new URL(`./authors/${name}`, import.meta.url))

const FAILED = 'the transform failed on this request; see the server log'

interface Row {
  readonly says: string
  readonly data: unknown
  readonly gives?: unknown
  /** The status of an HTTP response, the status of an event, and the text of the error. */
  readonly fails?: readonly [http: number, event: number, error: string]
  /** The status and the error over V1, if they differ. */
  readonly v1?: readonly [http: number, error: string]
}

const failed = [500, 422, FAILED] as const

// biome-ignore format: a table reads best with one row per line
export const ROWS: readonly Row[] = [
  { says: 'returns the label of the only row', data: {}, gives: 'setosa' },
  { says: 'returns the labels of all its rows', data: { rows: [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]], give: 'classes' }, gives: ['setosa', 'virginica'] },
  { says: 'may run the model without rows', data: { rows: [], give: 'classes' }, gives: [] },
  { says: 'receives the names, datatypes and shapes of outputs', data: { rows: [[1, 2, 3, 4], [5, 6, 7, 8]], give: 'shapes' }, gives: [['probabilities', 'FP32', [2, 3], 6], ['predicted_class', 'BYTES', [2], 2]] },
  { says: 'may have an async preprocess', data: { waits: 5 }, gives: 'setosa' },
  { says: 'may have an async postprocess', data: { give: 'late' }, gives: 'late' },
  { says: 'may return any JSON value', data: { give: 'value', value: { a: [1, null, 'x', true], b: -0.5 } }, gives: { a: [1, null, 'x', true], b: -0.5 } },
  { says: 'may return null', data: { give: 'value', value: null }, gives: null },
  { says: 'may return an empty text', data: { give: 'value', value: '' }, gives: '' },
  { says: 'may return false', data: { give: 'value', value: false }, gives: false },
  { says: 'may return a date and undefined members', data: { give: 'date' }, gives: { at: '1970-01-01T00:00:00.000Z', empty: [null] } },
  { says: 'may return the key __proto__', data: JSON.parse('{"give":"value","value":{"__proto__":1,"toString":2}}'), gives: JSON.parse('{"__proto__":1,"toString":2}') },
  { says: 'receives the description of the model', data: { give: 'model' }, gives: { name: 'iris-classifier', version: 'v1.0.0', labels: ['setosa', 'versicolor', 'virginica'], inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 4] }], outputs: [{ name: 'probabilities', datatype: 'FP32', shape: [-1, 3] }, { name: 'predicted_class', datatype: 'BYTES', shape: [-1] }] } },
  { says: 'may return a thenable that settles twice', data: { give: 'thenable' }, gives: 'first' },
  { says: 'cannot send messages to the main thread', data: { give: 'posts' }, gives: 'posted' },
  ...['members', 'once'].map(throws => ({ says: `may throw a BadRequest with odd members: ${throws}`, data: { throws }, fails: [400, 400, 'the flower has no petals'] as const, v1: [400, 'instances[1]: the flower has no petals'] as const })),
  { says: 'may throw BadRequest in preprocess', data: { throws: 'bad' }, fails: [400, 400, 'the flower has no petals'], v1: [400, 'instances[1]: the flower has no petals'] },
  { says: 'may throw BadRequest in postprocess', data: { give: 'throws' }, fails: [400, 400, 'no result for this flower'], v1: [400, 'instances[1]: no result for this flower'] },
  { says: 'may throw Refused', data: { throws: 'refused' }, fails: [409, 409, 'this flower was classified before'], v1: [409, 'instances[1]: this flower was classified before'] },
  { says: 'may throw Unavailable', data: { throws: 'unavailable' }, fails: [503, 503, 'the feature store is down'] },
  ...['error', 'nothing', 'text', 'code', 'odd', 'getter', 'proxy'].map(throws => ({ says: `fails if it throws any other value: ${throws}`, data: { throws }, fails: failed })),
  ...['shape', 'ragged', 'element', 'name', 'more', 'nothing', 'number', 'length', 'negative'].map(wrong => ({ says: `fails if its inputs do not fit the model: ${wrong}`, data: { wrong }, fails: failed })),
  ...['nan', 'infinite', 'half', 'circular', 'function', 'header', 'latethrows', 'getters', 'thengetter', 'detached'].map(give => ({ says: `fails if its result is invalid: ${give}`, data: { give }, fails: failed })),
]

export function testTransform(execution: 'inline' | 'worker'): void {
  describe(`with EXECUTION=${execution}`, () => {
    let server: Server
    before(async () => {
      const env = { TRANSFORM: author('any.ts'), EXECUTION: execution }
      server = await startServer(env, { listening: predictor })
    })
    after(() => server.stop())
    const url = () => `${server.url}/`
    const predict = (instances: readonly unknown[]) =>
      post(
        `${server.url}/v1/models/iris-classifier:predict`,
        { 'content-type': 'application/json' },
        JSON.stringify({ instances }),
      )
    testRows(url, predict)
    testContent(url)
    testEvents(url)
    test('a V1 request with an invalid instance makes only its own event in a batch fail', async () => {
      const instances = [[{ waits: 20 }], [{}, { throws: 'bad' }], [{ waits: 20 }]]
      const body = instances.map((each, i) => ({ ...EVENT, id: `${i}`, data: { instances: each } }))
      const type = { 'content-type': 'application/cloudevents-batch+json' }
      const path = '/v1/models/iris-classifier:predict'
      const answer = await post(`${server.url}${path}`, type, JSON.stringify(body))
      assert.deepEqual(
        (JSON.parse(answer.text) as EventJson[]).map(({ data }) => data),
        [
          { predictions: ['setosa'] },
          { error: 'instances[1]: the flower has no petals' },
          { predictions: ['setosa'] },
        ],
      )
    })
  })
}

const ask = (url: string, data: unknown, headers: Record<string, string> = {}) =>
  post(url, { 'content-type': 'application/json', ...headers }, JSON.stringify(data))

const errorOf = ({ text }: Answer) => (JSON.parse(text) as { error: string }).error

/** Whether an error with this status affects only one element of a batch. */
const endsOne = (status: number) => status < 500

function testRows(
  url: () => string,
  predict: (instances: readonly unknown[]) => Promise<Answer>,
): void {
  for (const { says, data, gives, fails, v1 } of ROWS) {
    test(`a transform over HTTP ${says}`, async () => {
      const answer = await ask(url(), data)
      if (fails === undefined)
        assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, gives])
      else assert.deepEqual([answer.status, errorOf(answer)], [fails[0], fails[2]])
    })
    for (const mode of MODES)
      test(`a transform for events in ${mode} mode ${says}`, async () => {
        const answer = await SEND[mode](url(), { ...EVENT, data })
        if (fails === undefined) assert.deepEqual(replyIn(mode, answer).data, gives)
        else if (mode === 'batched' && endsOne(fails[1])) {
          const reply = replyIn(mode, answer)
          assert.deepEqual(reply.data, { error: fails[2] })
          assert.equal(reply.type, 'com.example.iris.error')
        } else assert.deepEqual([answer.status, errorOf(answer)], [fails[1], fails[2]])
      })
    test(`a transform over V1 ${says}`, async () => {
      const answer = await predict([{}, data])
      const error = v1 ?? (fails && [fails[0], fails[2]])
      if (error === undefined)
        assert.deepEqual(JSON.parse(answer.text), { predictions: ['setosa', gives] })
      else assert.deepEqual([answer.status, errorOf(answer)], error)
    })
  }
}

function testContent(url: () => string): void {
  test('a body of bytes is sent with its content type', async () => {
    const { status, headers, bytes } = await ask(url(), { give: 'bytes' })
    assert.deepEqual([status, headers['content-type'], [...bytes]], [200, 'image/png', [1, 2, 255]])
  })
  test('a transform that returns undefined causes a response with 204 and no content', async () => {
    assertAcknowledged(await ask(url(), { give: 'nothing' }))
  })
  test('a bigint is written as an exact integer', async () => {
    const { text } = await ask(url(), { give: 'bigint' })
    assert.equal(text, '{"big":12345678901234567890,"all":[-9007199254740993]}')
  })
  test('Unavailable sets Retry-After', async () => {
    const { headers } = await ask(url(), { throws: 'unavailable' })
    assert.equal(headers['retry-after'], '7')
  })
  const COMES = [
    { type: 'text/plain', body: 'sépale', gives: { text: 'sépale' } },
    {
      type: 'text/csv; charset=iso-8859-1',
      body: Buffer.from([0xe9, 0x41]),
      gives: { text: 'éA' },
    },
    { type: 'image/png', body: Buffer.from([0, 255]), gives: { bytes: [0, 255] } },
    { type: 'application/vnd.api+json', body: '{"give":"asked"}', gives: { give: 'asked' } },
    { type: 'application/json', body: '{"give":', fails: /the data is not valid JSON/ },
    { type: 'application/json', body: '{"a":1,"a":2}', fails: /the same key twice/ },
    { type: 'text/plain', body: Buffer.from([0xff]), fails: /the text is not valid UTF-8/ },
    { type: 'text/plain; charset=klingon', body: 'x', fails: /charset "klingon" of the text/ },
    { type: 'application/json; charset=utf-16', body: '{}', fails: /JSON must be in UTF-8/ },
  ]
  for (const { type, body, gives, fails } of COMES)
    test(`reads a body of type ${type} according to its type (${body.toString()})`, async () => {
      const answer = await post(url(), { 'content-type': type }, body)
      if (fails === undefined) assert.deepEqual(JSON.parse(answer.text), gives)
      else {
        assert.equal(answer.status, 400)
        assert.match(errorOf(answer), fails)
      }
    })
  test('the context contains the headers, the content type and the state of the call', async () => {
    const { text } = await ask(url(), { give: 'context' }, { 'X-Agent': 'a' })
    assert.deepEqual(JSON.parse(text), {
      agent: 'a',
      contentType: 'application/json',
      seen: 'preprocess',
      aborted: false,
      reply: false,
    })
  })
}

function testEvents(url: () => string): void {
  const send = (mode: Mode, data: unknown, more: EventJson = {}) =>
    SEND[mode](url(), { ...EVENT, data, ...more })
  for (const mode of MODES) {
    test(`sends no reply event for undefined (${mode})`, async () => {
      assertAcknowledged(await send(mode, { give: 'nothing' }))
    })
    test(`the author can set the type and attributes of the reply (${mode})`, async () => {
      const reply = replyIn(mode, await send(mode, { give: 'reply' }))
      assert.deepEqual(
        [reply.type, reply.tenant, reply.data, reply.source],
        ['flower.classified', 'sépale 7', 'ok', '/onnx-function/iris-classifier'],
      )
    })
    test(`reads each attribute of the reply only once (${mode})`, async () => {
      assert.equal(replyIn(mode, await send(mode, { give: 'replygetter' })).tenant, 'sépale 7')
    })
    for (const give of ['replysource', 'replytime', 'noreply'])
      test(`fails if the author sets an invalid attribute of the reply: ${give} (${mode})`, async () => {
        const answer = await send(mode, { give })
        if (mode === 'batched') assert.deepEqual(replyIn(mode, answer).data, { error: FAILED })
        else assert.deepEqual([answer.status, errorOf(answer)], [422, FAILED])
      })
    test(`the context contains the event's attributes (${mode})`, async () => {
      const reply = replyIn(mode, await send(mode, { give: 'context' }, { tenant: 'acme' }))
      const { event } = reply.data as { event: unknown }
      assert.deepEqual(event, { id: EVENT.id, type: EVENT.type, tenant: 'acme' })
    })
    test(`a reply can carry bytes, text and JSON (${mode})`, async () => {
      const bytes = replyIn(mode, await send(mode, { give: 'bytes' }))
      assert.equal(bytes.datacontenttype, 'image/png')
      if (mode === 'binary') assert.deepEqual([...(bytes.data as Buffer)], [1, 2, 255])
      else assert.equal(bytes.data_base64, 'AQL/')
      const text = replyIn(mode, await send(mode, { give: 'text' }))
      assert.equal(String(text.data), 'sépale')
      const json = replyIn(mode, await send(mode, { give: 'json' }))
      if (mode === 'binary') assert.deepEqual(json.data, { a: 1 })
      else assert.equal(json.data_base64, Buffer.from('{"a":1}').toString('base64'))
    })
  }
  test('passes data in Base64 as bytes unless datacontenttype is text or JSON', async () => {
    const { data: _, ...event } = EVENT
    const ask = async (text: string, datacontenttype?: string) => {
      const data_base64 = Buffer.from(text).toString('base64')
      const type = datacontenttype === undefined ? {} : { datacontenttype }
      return replyIn('structured', await SEND.structured(url(), { ...event, data_base64, ...type }))
        .data
    }
    assert.deepEqual(await ask('{}'), { bytes: [123, 125] })
    assert.deepEqual(await ask('{}', 'image/png'), { bytes: [123, 125] })
    assert.deepEqual(await ask('{}', 'text/plain'), { text: '{}' })
    assert.deepEqual(await ask('{"give":"asked"}', 'application/json'), { give: 'asked' })
  })
  test('passes a string in an event in JSON as text', async () => {
    const answer = await send('structured', 'sépale', { datacontenttype: 'text/plain' })
    assert.deepEqual(replyIn('structured', answer).data, { text: 'sépale' })
  })
  test('passes the data in a large JSON event unchanged', async () => {
    const data = { give: 'asked', more: 'x'.repeat(200_000) }
    assert.deepEqual(replyIn('structured', await send('structured', data)).data, data)
    const text = 'x'.repeat(200_000)
    const answer = await send('structured', text, { datacontenttype: 'text/plain' })
    assert.deepEqual(replyIn('structured', answer).data, { text })
  })
  test('only the failed elements in a batch get an error, and elements without a reply are omitted', async () => {
    const events = [{}, { throws: 'bad' }, { give: 'nothing' }, { throws: 'error' }, { waits: 2 }]
    const body = JSON.stringify(events.map((data, i) => ({ ...EVENT, id: `${i}`, data })))
    const answer = await post(url(), { 'content-type': 'application/cloudevents-batch+json' }, body)
    const replies = JSON.parse(answer.text) as EventJson[]
    assert.deepEqual(
      replies.map(({ causationid, data }) => [causationid, data]),
      [
        ['0', 'setosa'],
        ['1', { error: 'the flower has no petals' }],
        ['3', { error: FAILED }],
        ['4', 'setosa'],
      ],
    )
  })
}
