import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { projectFolder } from '../server.ts'
import type { HttpAnswer } from './client.ts'
import { sendOne } from './fuzz.ts'
import { judge } from './judge.ts'
import { type Asked, type FuzzRequest, post, type Target, toHttp } from './requests.ts'
import { commandOf } from './show.ts'

const TARGET: Target = {
  name: 'm',
  version: '1',
  inputs: [{ name: 'x', datatype: 'INT32', shape: [-1] }],
  outputs: [{ name: 'y', datatype: 'INT32', shape: [-1] }],
  anyRank: false,
  identity: true,
  v1: true,
}

const INFER = post(
  '/v2/models/m/infer',
  [['Content-Type', 'application/json']],
  Buffer.from('{"id":"1","inputs":[{"name":"x","shape":[2],"datatype":"INT32","data":[7,8]}]}'),
)
const EVENT = {
  ...INFER,
  path: '/',
  headers: [
    ...INFER.headers,
    ...Object.entries({ specversion: '1.0', id: 'e', source: '/s', type: 't' }).map(
      ([n, v]) => [`ce-${n}`, v] as const,
    ),
  ],
}

const request = (asked: Asked): FuzzRequest => ({
  kind: 'json',
  bytes: toHttp(asked),
  cuts: [],
  ending: 'keep',
  asked,
})

const RESPONSE = {
  model_name: 'm',
  model_version: '1',
  id: '1',
  outputs: [{ name: 'y', shape: [2], datatype: 'INT32', data: [7, 8] }],
}

const answer = (
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): HttpAnswer => ({
  status,
  headers: new Map(Object.entries({ 'content-type': 'application/json', ...headers })),
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
})

const PREDICT = { ...INFER, path: '/v1/models/m:predict', body: Buffer.from('{"instances":[7,8]}') }

const REPLY = { 'ce-specversion': '1.0', 'ce-id': 'r', 'ce-source': '/m', 'ce-type': 't.response' }
const output = (changed: object) => ({
  ...RESPONSE,
  outputs: [{ ...RESPONSE.outputs[0], ...changed }],
})

describe('the judge accepts', () => {
  test('the correct response', () =>
    assert.equal(
      judge(request({ ...INFER, right: true }), [answer(200, RESPONSE)], TARGET),
      undefined,
    ))
  test('the correct reply to an event', () =>
    assert.equal(judge(request(EVENT), [answer(200, RESPONSE, REPLY)], TARGET), undefined))
  test('the correct predictions', () =>
    assert.equal(
      judge(request(PREDICT), [answer(200, { predictions: [7, 8] })], TARGET),
      undefined,
    ))
  test('a refusal', () =>
    assert.equal(judge(request(INFER), [answer(400, { error: 'why' })], TARGET), undefined))
})

describe('the judge rejects', () => {
  const wrong: Record<string, [HttpAnswer, Asked?]> = {
    'a 500': [answer(500, { error: 'why' })],
    'a 503': [answer(503, { error: 'why' })],
    'a refusal of a valid request': [answer(400, { error: 'why' }), { ...INFER, right: true }],
    'a refusal that is not JSON': [answer(400, 'why')],
    'a refusal without "error"': [answer(400, { detail: 'why' })],
    'a refusal with another content type': [
      answer(400, { error: 'why' }, { 'content-type': 'text/plain' }),
    ],
    'a stack trace': [answer(400, { error: 'Error: why\n    at f (node:internal/x:1:2)' })],
    'a path of the server': [answer(400, { error: `${projectFolder}function/main.ts` })],
    'a 405 without Allow': [answer(405, { error: 'why' })],
    'another id': [answer(200, { ...RESPONSE, id: '2' })],
    'no id': [answer(200, { ...RESPONSE, id: undefined })],
    'another model': [answer(200, { ...RESPONSE, model_name: 'n' })],
    'another version': [answer(200, { ...RESPONSE, model_version: '2' })],
    'another output': [answer(200, output({ name: 'z' }))],
    'another datatype': [answer(200, output({ datatype: 'INT64' }))],
    'another shape': [answer(200, output({ shape: [3] }))],
    'data of another type': [answer(200, output({ data: ['7', '8'] }))],
    'a value that an identity model must not return': [answer(200, output({ data: [7, 9] }))],
    'no data': [answer(200, output({ data: undefined }))],
    'a response without predictions': [answer(200, RESPONSE), PREDICT],
    'a missing prediction': [answer(200, { predictions: [7] }), PREDICT],
    'a prediction that an identity model must not return': [
      answer(200, { predictions: [7, 9] }),
      PREDICT,
    ],
    'a reply that is not an event': [answer(200, RESPONSE), EVENT],
    'a reply without a source': [answer(200, RESPONSE, { ...REPLY, 'ce-source': '' }), EVENT],
    'an empty reply to an event with status 200': [answer(200, ''), EVENT],
  }
  for (const [mistake, [given, asked = INFER]] of Object.entries(wrong))
    test(mistake, () => assert.notEqual(judge(request(asked), [given], TARGET), undefined))
})

describe('a request refused because of other requests’ bodies', () => {
  const crowded = answer(
    503,
    { error: 'other requests’ bodies use all the memory allowed; try again later' },
    { 'retry-after': '1' },
  )
  /** The request gets these responses in turn, and the last one repeatedly. */
  const sent = (...answers: HttpAnswer[]) => {
    const client = {
      restarts: false,
      sentAgain: 0,
      send: async () => [(answers.length > 1 ? answers.shift() : answers[0]) as HttpAnswer],
      close() {},
    }
    return sendOne(request({ ...INFER, right: true }), client, TARGET)
  }

  test('is retried', async () =>
    assert.equal(await sent(crowded, crowded, answer(200, RESPONSE)), undefined))
  test('fails if it is refused every time', async () =>
    assert.match((await sent(crowded)) ?? '', /^503: a valid request was refused/))
  test('fails without Retry-After', async () => {
    assert.match(
      (await sent({ ...crowded, headers: new Map() }, answer(200, RESPONSE))) ?? '',
      /^503: a valid request was refused/,
    )
  })
})

describe('a failure is reported as a command with', async () => {
  const hasCurl = await promisify(execFile)('curl', ['--version']).then(
    () => true,
    () => false,
  )

  test('curl, if curl can send the same bytes', {
    skip: hasCurl ? false : 'curl is not installed',
  }, async () => {
    const asked = post(
      '/v2/models/m/infer?x=[1]',
      [
        ['Content-Type', 'application/json'],
        ['X-Empty', ''],
        ['X-Quote', "it's"],
      ],
      Buffer.from('{"a":"it\'s"}\n'),
    )
    const received = new Promise<string>(resolve => {
      const server = createServer(socket =>
        socket.once('data', bytes => {
          resolve(bytes.toString())
          socket.end('HTTP/1.1 204 No Content\r\n\r\n')
          server.close()
        }),
      ).listen(0, '127.0.0.1', () => {
        const { port } = server.address() as { port: number }
        const command = (commandOf(request(asked)) as string).replace(
          'localhost:8080',
          `127.0.0.1:${port}`,
        )
        execFile('sh', ['-c', command], { timeout: 10_000 })
      })
    })
    const lines = (http: string) =>
      http
        .split('\r\n')
        .map(line => line.trimEnd())
        .sort()
    assert.deepEqual(lines(await received), lines(toHttp(asked).toString()))
  })

  test('nc, if curl would change the bytes', () => {
    const bytes = toHttp({ ...INFER, body: Buffer.from([0, 255]) })
    const command = commandOf({
      kind: 'json',
      bytes,
      cuts: [],
      ending: 'keep',
      asked: { ...INFER, body: Buffer.from([0, 255]) },
    })
    assert.equal(command, `echo ${bytes.toString('hex')} | xxd -r -p | nc -q 5 localhost 8080`)
  })
})
