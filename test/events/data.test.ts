import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Server, startServer, testModel } from '../server.ts'
import {
  type Answer,
  BATCHED,
  EVENT,
  type EventJson,
  IRIS,
  post,
  refusal,
  replyIn,
  SEND,
  STRUCTURED,
  sdkEvents,
  without,
} from './events.ts'

const HEADERS = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/garden',
  'ce-type': 'x.request',
}
const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('an event’s data', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  const TYPES = [
    'application/json',
    'application/json; charset=utf-8',
    'Application/JSON;charset=UTF-8',
    'application/vnd.example.v2+json',
    'text/json',
  ]
  for (const datacontenttype of TYPES) {
    test(`reads data of type ${datacontenttype} as JSON`, async () => {
      replyIn('binary', await SEND.binary(server.url, { ...EVENT, datacontenttype }))
      replyIn('structured', await SEND.structured(server.url, { ...EVENT, datacontenttype }))
      const { data, ...attributes } = EVENT
      replyIn(
        'batched',
        await SEND.batched(server.url, {
          ...attributes,
          datacontenttype,
          data_base64: base64(JSON.stringify(data)),
        }),
      )
    })
  }

  test('reads data without a type as JSON', async () => {
    replyIn('binary', await post(server.url, HEADERS, Buffer.from(JSON.stringify(IRIS))))
    replyIn(
      'structured',
      await SEND.structured(server.url, {
        ...without('data'),
        data_base64: base64(JSON.stringify(IRIS)),
      }),
    )
  })

  for (const datacontenttype of [
    'text/plain',
    'application/xml',
    'application/jsonl',
    'application/json; charset=utf-16',
  ]) {
    test(`rejects data of type ${datacontenttype}`, async () => {
      for (const mode of ['binary', 'structured'] as const) {
        const reason = refusal(400, await SEND[mode](server.url, { ...EVENT, datacontenttype }))
        assert.equal(
          reason,
          `the content type of the event's data is "${datacontenttype}"; it must be application/json in UTF-8, or binary tensor data as application/octet-stream`,
        )
      }
    })
  }

  const BAD: readonly [what: string, data: EventJson, says: RegExp][] = [
    ['missing', {}, /no data/],
    ['null', { data: null }, /no data/],
    ['text', { data: JSON.stringify(IRIS) }, /an inference request must be a JSON object, not "/],
    ['a number', { data: 42 }, /an inference request must be a JSON object, not 42/],
    ['false', { data: false }, /an inference request must be a JSON object, not false/],
    ['an array', { data: [IRIS] }, /an inference request must be a JSON object, not an array/],
    ['not an inference request', { data: { instances: [[1]] } }, /inputs is missing/],
    [
      'for an unknown input',
      { data: { inputs: [{ name: 'no', shape: [1], datatype: 'FP32', data: [1] }] } },
      /input "no" is unknown/,
    ],
    [
      'given twice',
      { data: IRIS, data_base64: base64(JSON.stringify(IRIS)) },
      /both data and data_base64/,
    ],
    [
      'given twice, once as null',
      { data: null, data_base64: base64(JSON.stringify(IRIS)) },
      /both data and data_base64/,
    ],
    ['Base64 of zero bytes', { data_base64: '' }, /empty/],
    ['Base64 that is not JSON', { data_base64: base64('{') }, /not valid JSON/],
    [
      'Base64 that is not UTF-8',
      { data_base64: Buffer.from('"\xff"', 'latin1').toString('base64') },
      /not valid UTF-8/,
    ],
    ['a number in place of Base64', { data_base64: 42 }, /data_base64 is not Base64/],
    ['not Base64', { data_base64: '!!!!' }, /data_base64 is not Base64/],
    ['Base64 without its padding', { data_base64: 'eyI' }, /data_base64 is not Base64/],
    ['Base64 that is cut off', { data_base64: 'eyI6M' }, /data_base64 is not Base64/],
    ['Base64 with a line break', { data_base64: 'eyI6\nMX0=' }, /data_base64 is not Base64/],
    ['Base64 for URLs', { data_base64: '-_-_' }, /data_base64 is not Base64/],
  ]
  for (const [what, data, says] of BAD) {
    test(`rejects data that is ${what}`, async () => {
      assert.match(
        refusal(400, await SEND.structured(server.url, { ...without('data'), ...data })),
        says,
      )
    })
  }

  test('rejects data in binary mode that is missing, not JSON or not an inference request', async () => {
    assert.match(refusal(400, await post(server.url, HEADERS, '')), /no data/)
    assert.match(
      refusal(400, await post(server.url, { ...HEADERS, 'content-type': 'application/json' }, '{')),
      /not valid JSON/,
    )
    assert.match(
      refusal(
        400,
        await post(server.url, { ...HEADERS, 'content-type': 'application/json' }, 'null'),
      ),
      /not null/,
    )
    assert.match(
      refusal(
        400,
        await post(server.url, { ...HEADERS, 'content-type': 'application/json' }, '{"inputs":1}'),
      ),
      /inputs is 1/,
    )
  })

  test('accepts events in JSON up to 1 MiB, and larger data only in binary mode', async () => {
    const padded = (length: number) => base64(JSON.stringify(IRIS).padEnd(length))
    replyIn(
      'structured',
      await SEND.structured(server.url, { ...without('data'), data_base64: padded(780_000) }),
    )
    const more = { ...without('data'), data_base64: padded(800_000) }
    for (const send of [
      SEND.structured,
      (url: string, event: never) => SEND.batched(url, [event] as never),
    ])
      assert.match(
        refusal(413, await send(server.url, more as never)),
        /exceed the 1048576 bytes allowed.*binary mode/,
      )
    replyIn(
      'binary',
      await post(
        server.url,
        { ...HEADERS, 'content-type': 'application/json' },
        JSON.stringify(IRIS).padEnd(15_000_000),
      ),
    )
  })
})

describe('INT64 data beyond 2^53', () => {
  let server: Server
  before(async () => {
    server = await startServer({ MODEL_DIR: testModel('identity-int64') })
  })
  after(() => server.stop())

  const NUMBERS = '[9007199254740993,-9007199254740993,9223372036854775807,-9223372036854775808]'
  const REQUEST = `{"inputs":[{"name":"x","datatype":"INT64","shape":[4],"data":${NUMBERS}}]}`
  const ATTRIBUTES = JSON.stringify(without('data')).slice(0, -1)
  const WITH_DATA = `${ATTRIBUTES},"data":${REQUEST}}`
  const WITH_BASE64 = `${ATTRIBUTES},"data_base64":"${base64(REQUEST)}"}`

  const WAYS: readonly [way: string, headers: Record<string, string>, body: string][] = [
    ['in binary mode', { ...HEADERS, 'content-type': 'application/json' }, REQUEST],
    ['in structured mode', { 'content-type': STRUCTURED }, WITH_DATA],
    ['through data_base64', { 'content-type': STRUCTURED }, WITH_BASE64],
    ['in batched mode', { 'content-type': BATCHED }, `[${WITH_DATA}]`],
    ['through data_base64 in a batch', { 'content-type': BATCHED }, `[${WITH_BASE64}]`],
  ]
  for (const [way, headers, body] of WAYS) {
    test(`keeps all digits of INT64 values ${way}`, async () => {
      const answer = await post(server.url, headers, body)
      assert.equal(answer.status, 200, answer.text)
      assert.ok(answer.text.includes(`"data":${NUMBERS}`), answer.text)
    })
  }

  test('keeps all digits of INT64 values in each event in a batch', async () => {
    const events = ['1', NUMBERS.slice(1, -1), '9007199254740995'].map(numbers => {
      const shape = `[${numbers.split(',').length}]`
      return `${ATTRIBUTES},"data":{"inputs":[{"name":"x","datatype":"INT64","shape":${shape},"data":[${numbers}]}]}}`
    })
    const { text } = await post(server.url, { 'content-type': BATCHED }, `[${events}]`)
    assert.deepEqual(text.match(/"data":\[[^\]]*\]/g), [
      '"data":[1]',
      `"data":${NUMBERS}`,
      '"data":[9007199254740995]',
    ])
  })
})

describe('binary tensor data', () => {
  let server: Server
  before(async () => {
    server = await startServer({ MODEL_DIR: testModel('identity-int64') })
  })
  after(() => server.stop())

  const TENSOR = Buffer.from(BigInt64Array.of(2n ** 53n + 1n, -(2n ** 63n)).buffer)
  const OUTPUTS = [{ name: 'y', parameters: { binary_data: true } }]

  function binaryBody(outputs?: unknown): { headers: Record<string, string>; body: Buffer } {
    const json = JSON.stringify({
      inputs: [
        {
          name: 'x',
          datatype: 'INT64',
          shape: [2],
          parameters: { binary_data_size: TENSOR.byteLength },
        },
      ],
      outputs,
    })
    return {
      headers: {
        ...HEADERS,
        'content-type': 'application/octet-stream',
        'inference-header-content-length': String(json.length),
      },
      body: Buffer.concat([Buffer.from(json), TENSOR]),
    }
  }

  const assertBinaryReply = (answer: Answer) => {
    assert.deepEqual(
      [answer.status, answer.headers['content-type'], answer.headers['ce-type']],
      [200, 'application/octet-stream', 'x.response'],
    )
    assert.equal(sdkEvents(answer).length, 1)
    const length = Number(answer.headers['inference-header-content-length'])
    assert.deepEqual(JSON.parse(answer.bytes.subarray(0, length).toString()).outputs, [
      { name: 'y', datatype: 'INT64', shape: [2], parameters: { binary_data_size: 16 } },
    ])
    assert.deepEqual(answer.bytes.subarray(length), TENSOR)
  }

  test('accepts binary tensor data in an event in binary mode', async () => {
    const { headers, body } = binaryBody()
    const answer = await post(server.url, headers, body)
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.match(answer.text, /"data":\[9007199254740993,-9223372036854775808\]/)
    replyIn('binary', answer)
  })

  test('returns binary tensor data in the reply to an event with binary tensor data', async () => {
    const { headers, body } = binaryBody(OUTPUTS)
    assertBinaryReply(await post(server.url, headers, body))
  })

  test('accepts a raw binary request, whose header length is 0, in an event', async () => {
    const headers = {
      ...HEADERS,
      'content-type': 'application/octet-stream',
      'inference-header-content-length': '0',
    }
    const answer = await post(server.url, headers, TENSOR.subarray(0, 8))
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.headers['ce-type'], 'x.response')
    sdkEvents(answer)
  })

  const JSON_IN = {
    inputs: [{ name: 'x', datatype: 'INT64', shape: [2], data: [1, 2] }],
    outputs: OUTPUTS,
  }

  test('returns binary tensor data in the reply to an event with JSON in binary mode', async () => {
    const answer = await SEND.binary(server.url, { ...EVENT, data: JSON_IN })
    assert.equal(answer.headers['content-type'], 'application/octet-stream')
    sdkEvents(answer)
  })

  test('rejects a request for binary tensor data in the reply to a structured event', async () => {
    assert.match(
      refusal(400, await SEND.structured(server.url, { ...EVENT, data: JSON_IN })),
      /binary_data outputs need an event in binary mode/,
    )
  })

  for (const length of ['x', '-1', '1.5', '', '99999999999999999999', '100000']) {
    test(`rejects binary tensor data with the header length ${JSON.stringify(length)}`, async () => {
      const { headers, body } = binaryBody()
      refusal(
        400,
        await post(server.url, { ...headers, 'inference-header-content-length': length }, body),
      )
    })
  }

  test('rejects binary tensor data without a header length, because it is not JSON', async () => {
    const { headers, body } = binaryBody()
    const { 'inference-header-content-length': _, ...rest } = headers
    refusal(400, await post(server.url, rest, body))
  })
})
