import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { runs } from '../seed.ts'
import { type Server, startServer } from '../server.ts'
import { EVENT, type EventJson, IRIS, MODES, post, replyIn, SEND, STRUCTURED } from './events.ts'

const RUNS = runs(150)

/** An attribute may contain no control characters, noncharacters or lone surrogates. */
const text = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 40 })
  .filter(characters => !/[\p{Cc}\p{Cn}\p{Cs}]/u.test(characters))

const extensionName = fc
  .stringMatching(/^[a-z0-9]{1,20}$/)
  .filter(
    name =>
      ![
        'data',
        'specversion',
        'id',
        'source',
        'type',
        'subject',
        'time',
        'dataschema',
        'datacontenttype',
      ].includes(name),
  )

const extensionValue = fc.oneof(
  text,
  fc.boolean(),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
)

const event: fc.Arbitrary<EventJson> = fc
  .record(
    {
      id: text,
      source: fc.oneof(
        fc.webUrl({ withFragments: true, withQueryParameters: true }),
        fc.webPath().map(path => `/x${path}`),
      ),
      type: text,
      subject: text,
      time: fc
        .date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') })
        .map(date => date.toISOString()),
      dataschema: fc.webUrl(),
      extensions: fc.dictionary(extensionName, extensionValue, { maxKeys: 8 }),
    },
    { requiredKeys: ['id', 'source', 'type', 'extensions'] },
  )
  .map(({ extensions, ...attributes }) => ({
    ...extensions,
    ...attributes,
    specversion: '1.0',
    data: IRIS,
  }))

const carried = (event: EventJson, name: string, inHeaders: boolean) =>
  event[name] === undefined ? undefined : inHeaders ? String(event[name]) : event[name]

describe('any valid event', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  for (const mode of MODES) {
    test(`answers any event in ${mode} mode with a valid reply that refers to the event`, () =>
      fc.assert(
        fc.asyncProperty(event, async event => {
          const reply = replyIn(mode, await SEND[mode](server.url, event))
          const type = String(event.type)
          assert.deepEqual(
            [reply.subject, reply.causationid, reply.type],
            [
              event.id,
              event.id,
              type.endsWith('.request') ? type.replace(/request$/, 'response') : `${type}.response`,
            ],
          )
          assert.equal(reply.replyid, carried(event, 'correlationid', mode === 'binary'))
          assert.equal(reply.traceparent, carried(event, 'traceparent', mode === 'binary'))
        }),
        RUNS,
      ))
  }

  test('gives the reply to any event the same id in every mode', () =>
    fc.assert(
      fc.asyncProperty(event, async event => {
        const ids = await Promise.all(
          MODES.map(async mode => replyIn(mode, await SEND[mode](server.url, event)).id),
        )
        assert.equal(new Set(ids).size, 1)
      }),
      runs(50),
    ))
})

describe('any JSON value', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  const attribute = fc.constantFrom(
    'specversion',
    'id',
    'source',
    'type',
    'subject',
    'time',
    'datacontenttype',
    'data',
    'data_base64',
    'ext',
  )

  test('accepts or rejects any JSON value of an attribute without a server error', () =>
    fc.assert(
      fc.asyncProperty(attribute, fc.jsonValue(), async (name, value) => {
        const answer = await post(
          server.url,
          { 'content-type': STRUCTURED },
          JSON.stringify({ ...EVENT, [name]: value }),
        )
        if (answer.status === 200) replyIn('structured', answer)
        else assert.equal(answer.status, 400, answer.text)
      }),
      runs(400),
    ))

  test('rejects any JSON value that is not an event', () =>
    fc.assert(
      fc.asyncProperty(fc.jsonValue(), async value => {
        const answer = await post(server.url, { 'content-type': STRUCTURED }, JSON.stringify(value))
        assert.equal(answer.status, 400, answer.text)
      }),
      RUNS,
    ))
})
