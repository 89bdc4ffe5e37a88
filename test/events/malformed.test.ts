import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { readMetrics } from '../http/client.ts'
import { type Server, startServer } from '../server.ts'
import {
  BATCHED,
  EVENT,
  type EventJson,
  MODES,
  post,
  refusal,
  replyIn,
  SEND,
  STRUCTURED,
  without,
} from './events.ts'

const REQUIRED = ['specversion', 'id', 'source', 'type']

describe('a malformed event gets 400, so that a Broker sends it to the dead letter sink', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  for (const name of REQUIRED) {
    for (const mode of MODES) {
      test(`rejects an event whose ${name} is missing or empty in ${mode} mode`, async () => {
        assert.match(
          refusal(400, await SEND[mode](server.url, without(name))),
          new RegExp(`${name} is missing`),
        )
        assert.match(
          refusal(400, await SEND[mode](server.url, { ...EVENT, [name]: '' })),
          new RegExp(`${name} is ""`),
        )
      })
    }
    for (const value of [1, true, null, ['1.0'], { a: 1 }]) {
      test(`rejects the ${name} ${JSON.stringify(value)}`, async () => {
        assert.match(
          refusal(400, await SEND.structured(server.url, { ...EVENT, [name]: value })),
          new RegExp(`${name} is `),
        )
        refusal(400, await SEND.batched(server.url, { ...EVENT, [name]: value }))
      })
    }
  }

  for (const specversion of ['0.3', '2.0', '1', '1.0.2', 'one']) {
    for (const mode of MODES) {
      test(`rejects the specversion ${specversion} in ${mode} mode`, async () => {
        assert.match(
          refusal(400, await SEND[mode](server.url, { ...EVENT, specversion })),
          /it must be "1.0"/,
        )
      })
    }
  }

  const OPTIONAL: readonly [name: string, value: string][] = [
    ['time', 'yesterday'],
    ['time', ''],
    ['time', '2030-01-01'],
    ['time', '2030-01-01T00:00:00'],
    ['time', '2030-13-01T00:00:00Z'],
    ['time', '2030-01-01T25:00:00Z'],
    ['time', 'Tue, 01 Jan 2030 00:00:00 GMT'],
    ['dataschema', ''],
    ['dataschema', '/relative'],
    ['dataschema', 'not a URI'],
    ['subject', ''],
    ['source', 'not a URI reference'],
    ['datacontenttype', 'json'],
    ['datacontenttype', 'a b/c'],
  ]
  for (const [name, value] of OPTIONAL) {
    test(`rejects the ${name} ${JSON.stringify(value)} in every mode`, async () => {
      for (const mode of MODES)
        assert.match(
          refusal(400, await SEND[mode](server.url, { ...EVENT, [name]: value })),
          new RegExp(`${name} is `),
        )
    })
  }

  for (const name of ['time', 'dataschema', 'subject', 'datacontenttype']) {
    test(`rejects a ${name} that is not a string`, async () => {
      for (const value of [5, true, [], {}])
        refusal(400, await SEND.structured(server.url, { ...EVENT, [name]: value }))
    })
  }

  for (const name of [
    'Upper',
    'snake_case',
    'kebab-case',
    'dotted.name',
    'größe',
    '',
    'Data',
    '__proto__',
  ]) {
    test(`rejects an attribute called ${JSON.stringify(name)}`, async () => {
      const event = JSON.stringify(EVENT).replace('{', `{${JSON.stringify(name)}:"x",`)
      assert.match(
        refusal(400, await post(server.url, { 'content-type': STRUCTURED }, event)),
        /is not an attribute name/,
      )
      refusal(400, await post(server.url, { 'content-type': BATCHED }, `[${event}]`))
    })
  }

  for (const header of [
    'ce-snake_case',
    'ce-kebab-case',
    'ce-dotted.name',
    'ce-',
    'ce-data',
    'ce-__proto__',
  ]) {
    test(`rejects the header ${header}`, async () => {
      const headers = {
        'ce-id': '1',
        'ce-source': '/s',
        'ce-type': 't',
        'ce-specversion': '1.0',
        [header]: 'x',
      }
      assert.match(
        refusal(400, await post(server.url, headers, JSON.stringify(EVENT.data))),
        /is not an attribute name/,
      )
    })
  }

  for (const value of [1.5, 1e300, 2 ** 31, -(2 ** 31) - 1, [], {}, 'a\tb']) {
    test(`rejects an extension with the value ${JSON.stringify(value)}`, async () => {
      assert.match(
        refusal(400, await SEND.structured(server.url, { ...EVENT, myextension: value })),
        /myextension is /,
      )
    })
  }

  const BODIES: readonly [what: string, contentType: string, body: string | Uint8Array][] = [
    ['no body', STRUCTURED, ''],
    ['null', STRUCTURED, 'null'],
    ['a number', STRUCTURED, '42'],
    ['an array', STRUCTURED, JSON.stringify([EVENT])],
    ['an incomplete event', STRUCTURED, JSON.stringify(EVENT).slice(0, -2)],
    ['an event followed by more text', STRUCTURED, `${JSON.stringify(EVENT)}{}`],
    ['an event with two ids', STRUCTURED, JSON.stringify(EVENT).replace('{', '{"id":"other",')],
    [
      'bytes that are not UTF-8',
      STRUCTURED,
      Buffer.from(JSON.stringify({ ...EVENT, id: 'é' }), 'latin1'),
    ],
    ['an empty body', BATCHED, ''],
    ['an event in place of a batch', BATCHED, JSON.stringify(EVENT)],
    ['a batch of null', BATCHED, '[null]'],
    ['a batch of batches', BATCHED, JSON.stringify([[EVENT]])],
    ['an incomplete batch', BATCHED, JSON.stringify([EVENT]).slice(0, -1)],
  ]
  for (const [what, contentType, body] of BODIES) {
    test(`rejects ${what} as ${contentType}`, async () => {
      refusal(400, await post(server.url, { 'content-type': contentType }, body))
    })
  }

  test('the text of the error is short, even if the event contains long values', async () => {
    const answers = [
      await SEND.structured(server.url, { ...EVENT, source: `${'x'.repeat(100_000)} y` }),
      await SEND.structured(server.url, { ...EVENT, ['É'.repeat(100_000)]: 'x' }),
      await SEND.structured(server.url, {
        ...EVENT,
        datacontenttype: `text/${'x'.repeat(100_000)}`,
      }),
      await SEND.structured(server.url, {
        ...EVENT,
        data: { inputs: [{ name: 'x'.repeat(100_000) }] },
      }),
    ]
    for (const answer of answers) assert.ok(refusal(400, answer).length < 500)
  })
})

describe('a valid event', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  const FINE: readonly [what: string, event: EventJson][] = [
    [
      'attributes that are null, which count as absent',
      { ...EVENT, subject: null, time: null, dataschema: null, datacontenttype: null, mine: null },
    ],
    [
      'extensions of each type',
      {
        ...EVENT,
        text: 'x',
        empty: '',
        yes: true,
        no: false,
        most: 2 ** 31 - 1,
        least: -(2 ** 31),
        zero: 0,
      },
    ],
    [
      'extension names of any length, or with the names of JavaScript’s own properties',
      { ...EVENT, constructor: 'x', tostring: 'x', ['x'.repeat(300)]: 'x' },
    ],
    [
      'a time with fractions and an offset',
      { ...EVENT, time: '2030-01-01T00:00:00.123456789+05:30' },
    ],
    ['a time in lower case', { ...EVENT, time: '2030-01-01t00:00:00z' }],
    ['a leap second', { ...EVENT, time: '2016-12-31T23:59:60Z' }],
    [
      'a schema and a subject',
      { ...EVENT, dataschema: 'https://example.com/schema', subject: 'a subject' },
    ],
    [
      'a source that is not a path',
      { ...EVENT, source: 'urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66' },
    ],
    ['a source of one word', { ...EVENT, source: '1-555-123-4567' }],
  ]
  for (const [what, event] of FINE) {
    test(`accepts an event with ${what}`, async () => {
      replyIn('structured', await SEND.structured(server.url, event))
      replyIn('batched', await SEND.batched(server.url, event))
      const attributes = Object.fromEntries(
        Object.entries(event).filter(([, value]) => value !== null),
      )
      replyIn('binary', await SEND.binary(server.url, attributes))
    })
  }

  test('accepts an event that begins with a byte order mark', async () => {
    replyIn(
      'structured',
      await post(server.url, { 'content-type': STRUCTURED }, `\ufeff${JSON.stringify(EVENT)}`),
    )
  })
})

test('counts one error for a request whose events cannot be read, and also one rejection if the request is too large', async t => {
  const server = await startServer()
  t.after(server.stop)
  const structured = (body: string, type = STRUCTURED) =>
    post(server.url, { 'content-type': type }, body)
  const large = JSON.stringify({ ...EVENT, data: 'x'.repeat(2 ** 20) })
  const cases = [
    () => SEND.binary(server.url, without('id')),
    () => post(server.url, { ...EVENT_HEADERS, 'inference-header-content-length': 'x' }, '{}'),
    () => SEND.structured(server.url, without('id')),
    () => structured('{'),
    () => structured('{}', `${STRUCTURED}; charset=latin1`),
    () => structured(JSON.stringify([EVENT, {}]), BATCHED),
    () => structured('{', BATCHED),
    () => structured(large),
    () => structured(`[${large}]`, BATCHED),
  ]
  for (const [i, send] of cases.entries()) {
    assert.ok((await send()).status >= 400)
    const metrics = readMetrics(await server.service.metrics.text())
    const counted = (of: string) =>
      metrics.get(
        `${of}{model="iris-classifier",version="v1.0.0",protocol="cloudevent",status="error"}`,
      )
    assert.equal(counted('inference_requests_total'), i + 1)
    assert.equal(counted('inference_request_duration_seconds_count'), i + 1)
    assert.equal(metrics.get('inference_requests_in_flight'), 0)
    const large = Math.max(i - 6, 0)
    assert.equal(metrics.get('inference_rejected_total{reason="too_large"}'), large)
  }
})

const EVENT_HEADERS = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/', 'ce-type': 't' }
