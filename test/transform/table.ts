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
 * The behaviours of a transform, and the answer to each: over HTTP, by events in three modes, and by V1.
 */

/** A transform of test/transform/authors. */
export const author = (name: string) => fileURLToPath(new URL(`./authors/${name}`, import.meta.url))

const FAILED = 'the transform failed on this request; the log says why'

interface Row {
  readonly says: string
  /** The data of the call. */
  readonly data: unknown
  /** The JSON that callers get. */
  readonly gives?: unknown
  /** The status over HTTP, the event's, and the text of the error. */
  readonly fails?: readonly [http: number, event: number, error: string]
  /** The answer by V1, if it differs. */
  readonly v1?: readonly [http: number, error: string]
}

const failed = [500, 422, FAILED] as const

// biome-ignore format: a table reads best with a row a line
export const ROWS: readonly Row[] = [
  { says: 'the label of the only row', data: {}, gives: 'setosa' },
  { says: 'several rows are its own', data: { rows: [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]], give: 'classes' }, gives: ['setosa', 'virginica'] },
  { says: 'no row at all', data: { rows: [], give: 'classes' }, gives: [] },
  { says: 'outputs have names, datatypes and shapes', data: { rows: [[1, 2, 3, 4], [5, 6, 7, 8]], give: 'shapes' }, gives: [['probabilities', 'FP32', [2, 3], 6], ['predicted_class', 'BYTES', [2], 2]] },
  { says: 'preprocess waits', data: { waits: 5 }, gives: 'setosa' },
  { says: 'postprocess waits', data: { give: 'late' }, gives: 'late' },
  { says: 'a value', data: { give: 'value', value: { a: [1, null, 'x', true], b: -0.5 } }, gives: { a: [1, null, 'x', true], b: -0.5 } },
  { says: 'null is a value', data: { give: 'value', value: null }, gives: null },
  { says: 'an empty text is a value', data: { give: 'value', value: '' }, gives: '' },
  { says: 'false is a value', data: { give: 'value', value: false }, gives: false },
  { says: 'a date, and what JSON leaves out', data: { give: 'date' }, gives: { at: '1970-01-01T00:00:00.000Z', empty: [null] } },
  { says: 'a key of that name is a key', data: JSON.parse('{"give":"value","value":{"__proto__":1,"toString":2}}'), gives: JSON.parse('{"__proto__":1,"toString":2}') },
  { says: 'the model', data: { give: 'model' }, gives: { name: 'iris-classifier', version: 'v1.0.0', labels: ['setosa', 'versicolor', 'virginica'], inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 4] }], outputs: [{ name: 'probabilities', datatype: 'FP32', shape: [-1, 3] }, { name: 'predicted_class', datatype: 'BYTES', shape: [-1] }] } },
  { says: 'a thenable that settles twice', data: { give: 'thenable' }, gives: 'first' },
  { says: 'messages to the main thread reach nobody', data: { give: 'posts' }, gives: 'posted' },
  ...['members', 'once'].map(throws => ({ says: `BadRequest with odd members: ${throws}`, data: { throws }, fails: [400, 400, 'the flower has no petals'] as const, v1: [400, 'instances[1]: the flower has no petals'] as const })),
  { says: 'BadRequest', data: { throws: 'bad' }, fails: [400, 400, 'the flower has no petals'], v1: [400, 'instances[1]: the flower has no petals'] },
  { says: 'BadRequest of postprocess', data: { give: 'throws' }, fails: [400, 400, 'nothing to say of this flower'], v1: [400, 'instances[1]: nothing to say of this flower'] },
  { says: 'Refused', data: { throws: 'refused' }, fails: [409, 409, 'this flower was classified before'], v1: [409, 'instances[1]: this flower was classified before'] },
  { says: 'Unavailable', data: { throws: 'unavailable' }, fails: [503, 503, 'the feature store is down'] },
  ...['error', 'nothing', 'text', 'code', 'odd', 'getter', 'proxy'].map(throws => ({ says: `another error: ${throws}`, data: { throws }, fails: failed })),
  ...['shape', 'ragged', 'element', 'name', 'more', 'nothing', 'number', 'length', 'negative'].map(wrong => ({ says: `inputs that do not fit: ${wrong}`, data: { wrong }, fails: failed })),
  ...['nan', 'infinite', 'circular', 'function', 'header', 'latethrows', 'getters', 'thengetter', 'detached'].map(give => ({ says: `an invalid answer: ${give}`, data: { give }, fails: failed })),
]

/** Everything in that mode of execution. */
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
    test('in a batch of events with V1 requests, a bad instance fails its event alone', async () => {
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

/** The status of one element of a batch that fails alone. */
const endsOne = (status: number) => status < 500

function testRows(
  url: () => string,
  predict: (instances: readonly unknown[]) => Promise<Answer>,
): void {
  for (const { says, data, gives, fails, v1 } of ROWS) {
    test(`over HTTP: ${says}`, async () => {
      const answer = await ask(url(), data)
      if (fails === undefined)
        assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, gives])
      else assert.deepEqual([answer.status, errorOf(answer)], [fails[0], fails[2]])
    })
    for (const mode of MODES)
      test(`by an event, ${mode}: ${says}`, async () => {
        const answer = await SEND[mode](url(), { ...EVENT, data })
        if (fails === undefined) assert.deepEqual(replyIn(mode, answer).data, gives)
        else if (mode === 'batched' && endsOne(fails[1])) {
          const reply = replyIn(mode, answer)
          assert.deepEqual(reply.data, { error: fails[2] })
          assert.equal(reply.type, 'com.example.iris.error')
        } else assert.deepEqual([answer.status, errorOf(answer)], [fails[1], fails[2]])
      })
    test(`by V1: ${says}`, async () => {
      const answer = await predict([{}, data])
      const error = v1 ?? (fails && [fails[0], fails[2]])
      if (error === undefined)
        assert.deepEqual(JSON.parse(answer.text), { predictions: ['setosa', gives] })
      else assert.deepEqual([answer.status, errorOf(answer)], error)
    })
  }
}

function testContent(url: () => string): void {
  test('a body of bytes has its content type', async () => {
    const { status, headers, bytes } = await ask(url(), { give: 'bytes' })
    assert.deepEqual([status, headers['content-type'], [...bytes]], [200, 'image/png', [1, 2, 255]])
  })
  test('undefined is 204 without content', async () => {
    assertAcknowledged(await ask(url(), { give: 'nothing' }))
  })
  test('a bigint is an exact integer', async () => {
    const { text } = await ask(url(), { give: 'bigint' })
    assert.equal(text, '{"big":12345678901234567890,"all":[-9007199254740993]}')
  })
  test('Unavailable says when to try again', async () => {
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
    { type: 'application/json; charset=utf-16', body: '{}', fails: /JSON is in UTF-8/ },
  ]
  for (const { type, body, gives, fails } of COMES)
    test(`a body of ${type} (${body.toString()}) is read by its type`, async () => {
      const answer = await post(url(), { 'content-type': type }, body)
      if (fails === undefined) assert.deepEqual(JSON.parse(answer.text), gives)
      else {
        assert.equal(answer.status, 400)
        assert.match(errorOf(answer), fails)
      }
    })
  test('the context has headers, the content type and the state of the call', async () => {
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
    test(`undefined is no reply event (${mode})`, async () => {
      assertAcknowledged(await send(mode, { give: 'nothing' }))
    })
    test(`the author gives the reply its type and attributes (${mode})`, async () => {
      const reply = replyIn(mode, await send(mode, { give: 'reply' }))
      assert.deepEqual(
        [reply.type, reply.tenant, reply.data, reply.source],
        ['flower.classified', 'sépale 7', 'ok', '/onnx-function/iris-classifier'],
      )
    })
    test(`an attribute of the reply is read once (${mode})`, async () => {
      assert.equal(replyIn(mode, await send(mode, { give: 'replygetter' })).tenant, 'sépale 7')
    })
    for (const give of ['replysource', 'replytime', 'noreply'])
      test(`the author must not give the reply what it cannot have: ${give} (${mode})`, async () => {
        const answer = await send(mode, { give })
        if (mode === 'batched') assert.deepEqual(replyIn(mode, answer).data, { error: FAILED })
        else assert.deepEqual([answer.status, errorOf(answer)], [422, FAILED])
      })
    test(`the context has the event's attributes (${mode})`, async () => {
      const reply = replyIn(mode, await send(mode, { give: 'context' }, { tenant: 'acme' }))
      const { event } = reply.data as { event: unknown }
      assert.deepEqual(event, { id: EVENT.id, type: EVENT.type, tenant: 'acme' })
    })
    test(`a reply carries bytes, text and JSON (${mode})`, async () => {
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
  test('data in Base64 is bytes, unless the event says that it is text or JSON', async () => {
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
  test('text within an event in JSON is text', async () => {
    const answer = await send('structured', 'sépale', { datacontenttype: 'text/plain' })
    assert.deepEqual(replyIn('structured', answer).data, { text: 'sépale' })
  })
  test('a large event in JSON gives the same data', async () => {
    const data = { give: 'asked', more: 'x'.repeat(200_000) }
    assert.deepEqual(replyIn('structured', await send('structured', data)).data, data)
    const text = 'x'.repeat(200_000)
    const answer = await send('structured', text, { datacontenttype: 'text/plain' })
    assert.deepEqual(replyIn('structured', answer).data, { text })
  })
  test('in a batch only the element fails, and one without a reply is left out', async () => {
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
