import assert from 'node:assert/strict'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { IRIS } from '../../http/client.ts'

/*
 * Three flowers, and an id for each request, so that the tests detect a response to another
 * request. Node's own client sends the requests on kept connections, like most clients.
 */

export interface Message {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly reused: boolean
}

export const keepAlive = (maxSockets: number) => new Agent({ keepAlive: true, maxSockets })

/**
 * @param agent an agent of {@link keepAlive}, or false for a new connection
 * @param began called after the response's head; the body is read after the promise resolves
 * @throws {Error} if no complete response arrives
 */
export function post(
  port: number,
  path: string,
  { headers, body }: Message,
  agent: Agent | false,
  {
    timeoutMs = 60_000,
    began,
  }: { timeoutMs?: number; began?(headers: IncomingHttpHeaders): void | Promise<void> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      method: 'POST',
      path,
      headers: { ...headers, 'content-length': body.length },
      agent,
    }
    const sent = request({ ...options, signal: AbortSignal.timeout(timeoutMs) })
    sent.on('error', reject)
    sent.on('response', async response => {
      response.on('error', reject)
      await began?.(response.headers)
      const pieces: Buffer[] = []
      response.on('data', piece => pieces.push(piece))
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, body: Buffer.concat(pieces), reused: sent.reusedSocket })
      })
    })
    sent.end(body)
  })
}

interface Flower {
  readonly label: string
  readonly values: readonly number[]
  readonly probability: number
}

const FLOWERS: readonly Flower[] = [
  { label: 'setosa', values: [5.1, 3.5, 1.4, 0.2], probability: 0.978681 },
  { label: 'versicolor', values: [6, 2.7, 4.2, 1.3], probability: 0.895352 },
  { label: 'virginica', values: [6.3, 3.3, 6, 2.5], probability: 0.989315 },
]

/** A joined run adds the values of a row in another order. */
const TOLERANCE = 1e-5

export const flowerOf = (n: number) => FLOWERS[n % FLOWERS.length] as Flower

const tensorOf = ({ values }: Flower) => ({
  name: 'input',
  shape: [1, 4],
  datatype: 'FP32',
  data: values,
})

const JSON_TYPE = { 'content-type': 'application/json' }

export const eventOf = (n: number) => ({
  specversion: '1.0',
  id: `${n}`,
  source: '/garden',
  type: 'com.example.iris.classify.request',
})

export const inHeaders = (attributes: object): Record<string, string> =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value]))

export const binaryEvent = (
  n: number,
  data: string | Buffer = JSON.stringify({ inputs: [tensorOf(flowerOf(n))] }),
): Message => ({
  headers: { ...JSON_TYPE, ...inHeaders(eventOf(n)) },
  body: Buffer.from(data),
})

export const structuredEvent = (n: number): Message => ({
  headers: { 'content-type': 'application/cloudevents+json' },
  body: Buffer.from(JSON.stringify({ ...eventOf(n), data: { inputs: [tensorOf(flowerOf(n))] } })),
})

/** Copies of a flower as binary tensor data; the JSON reply is much longer. */
export function largeEvent(n: number, rows: number): Message {
  const tensor = Buffer.from(
    Float32Array.from(Array.from({ length: rows }, () => flowerOf(n).values).flat()).buffer,
  )
  return inBinary(rows, tensor, inHeaders(eventOf(n)))
}

function inBinary(
  rows: number,
  tensor: Buffer,
  headers: Record<string, string>,
  more: object = {},
): Message {
  const input = {
    name: 'input',
    shape: [rows, 4],
    datatype: 'FP32',
    parameters: { binary_data_size: tensor.length },
  }
  const json = JSON.stringify({ ...more, inputs: [input] })
  return {
    headers: {
      ...headers,
      'content-type': 'application/octet-stream',
      'inference-header-content-length': `${json.length}`,
    },
    body: Buffer.concat([Buffer.from(json), tensor]),
  }
}

/** `check` throws if a response does not belong to the request. */
export interface Question extends Message {
  readonly path: string
  check(answer: Answer): void
}

const IN_JSON = (n: number): Question => ({
  path: IRIS,
  headers: JSON_TYPE,
  body: Buffer.from(JSON.stringify({ id: `${n}`, inputs: [tensorOf(flowerOf(n))] })),
  check({ body }) {
    const response = JSON.parse(body.toString())
    assert.equal(response.id, `${n}`)
    checkOutputs(response, n)
  },
})

const IN_BINARY = (n: number): Question => ({
  path: IRIS,
  ...inBinary(
    1,
    Buffer.from(Float32Array.from(flowerOf(n).values).buffer),
    {},
    { id: `${n}`, parameters: { binary_data_output: true } },
  ),
  check({ headers, body }) {
    const length = Number(headers['inference-header-content-length'])
    const { id, outputs } = JSON.parse(body.toString('utf8', 0, length))
    const [probabilities, classes] = outputs
    assert.deepEqual(
      [id, probabilities.name, classes.name, body.length],
      [`${n}`, 'probabilities', 'predicted_class', length + sizeOf(outputs)],
    )
    const numbers = [0, 4, 8].map(at => body.readFloatLE(length + at))
    checkFlower(numbers, body.toString('utf8', length + 12 + 4), n)
  },
})

const sizeOf = (outputs: { parameters: { binary_data_size: number } }[]) =>
  outputs.reduce((sum, { parameters }) => sum + parameters.binary_data_size, 0)

const AS_EVENT = (n: number, event: Message): Question => ({
  path: '/',
  ...event,
  check: answer => void checkReply(answer, n),
})

export const QUESTIONS: readonly ((n: number) => Question)[] = [
  IN_JSON,
  IN_BINARY,
  n => AS_EVENT(n, binaryEvent(n)),
  n => AS_EVENT(n, structuredEvent(n)),
]

export interface Reply {
  readonly id: string
  /** The id of the event to which this is the reply. */
  readonly subject: string
  readonly type: string
}

/**
 * @param rows the number of flowers in the event
 * @throws {Error} if the message is not a correct reply to event `n`
 */
export function checkReply(message: Pick<Answer, 'headers' | 'body'>, n: number, rows = 1): Reply {
  const { data, ...reply } = readReply(message)
  assert.deepEqual([reply.subject, reply.type], [`${n}`, 'com.example.iris.classify.response'])
  assert.match(reply.id, /^[0-9a-f]{32}$/)
  checkOutputs(data, n, rows)
  return reply
}

function readReply({
  headers,
  body,
}: Pick<Answer, 'headers' | 'body'>): Reply & { data: InferenceResponse } {
  const json = JSON.parse(body.toString())
  if (headers['content-type']?.startsWith('application/cloudevents+json')) return json
  const [id, subject, type] = ['ce-id', 'ce-subject', 'ce-type'].map(
    name => `${headers[name]}`,
  ) as [string, string, string]
  return { id, subject, type, data: json }
}

interface InferenceResponse {
  readonly outputs: readonly { readonly name: string; readonly data: readonly unknown[] }[]
}

function checkOutputs({ outputs }: InferenceResponse, n: number, rows = 1): void {
  const [probabilities, classes] = outputs
  assert.deepEqual(
    outputs.map(({ name, data }) => [name, data.length]),
    [
      ['probabilities', rows * FLOWERS.length],
      ['predicted_class', rows],
    ],
  )
  for (let row = 0; row < rows; row++) {
    checkFlower(
      probabilities?.data.slice(row * FLOWERS.length, (row + 1) * FLOWERS.length) as number[],
      classes?.data[row],
      n,
    )
  }
}

function checkFlower(probabilities: readonly number[], label: unknown, n: number): void {
  const { label: expected, probability } = flowerOf(n)
  assert.equal(label, expected)
  assert.ok(
    Math.abs((probabilities[n % FLOWERS.length] as number) - probability) < TOLERANCE,
    `${expected}: ${probabilities}`,
  )
}
