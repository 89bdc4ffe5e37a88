import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MEANINGS } from '../../function/errors.ts'
import type { Message } from '../../function/protocol/protobuf-decode.ts'
import {
  type Answered,
  connectGrpc,
  encode,
  frame,
  type Client as GrpcClient,
} from '../grpc/client.ts'
import { outputsOf as outputsOfMessage, rawRequest, typedRequest } from '../grpc/messages.ts'
import { ask as askHttp2 } from '../http/http2-client.ts'
import { type Server, startServer } from '../server.ts'
import { parseExactly, toBytes, type WrittenTensor } from '../tensors.ts'
import { type Client, createClient, type HttpAnswer } from './client.ts'
import { describe, ENVIRONMENT, folderOf, MODES, type ModelName, type ModeName } from './fuzz.ts'
import { judge } from './judge.ts'
import {
  type Asked,
  BINARY_TYPE,
  type FuzzRequest,
  ids,
  inputOf,
  JSON_TYPE,
  LENGTH_HEADER,
  post,
  requestOf,
  type Target,
  tensors,
  toHttp,
} from './requests.ts'
import { commandOf, show } from './show.ts'
import {
  type Bend,
  bend,
  bends,
  items,
  KNOWN,
  members,
  text,
  type Written,
  write,
} from './written.ts'

/**
 * Sends each question in every form that a caller can use, to servers that run the model inline or
 * in workers, with and without joining. All responses must be the same.
 */
export interface Question {
  readonly tensors: readonly WrittenTensor[]
  readonly id: string | undefined
  /** The requested outputs; by default, every output that JSON can express. */
  readonly outputs: readonly string[] | undefined
  /** A mistake outside the data, which every form can contain. */
  readonly mistake?: Mistake | undefined
  /** Mistakes anywhere in the JSON, for the forms that contain JSON. */
  readonly bends?: readonly Bend[] | undefined
}

interface Mistake {
  readonly in: 'request' | number
  readonly key: string
  /** The JSON of the member; if undefined, the member is left out. */
  readonly value: string | undefined
}

const SERVERS: readonly ModeName[] = ['inline-single', 'inline', 'worker-single', 'worker']
const CONNECTIONS = 16

/** The average number of concurrent questions. */
const BURST = 4

/** Shrinking stops after these times: it could take hours on a busy machine. */
const START_MS = 60_000
const QUESTION_MS = 3_000

export interface Differential {
  readonly questions: number
  readonly requests: number
  readonly answered: number
  readonly refused: number
  readonly joinedRuns: { readonly requests: number; readonly runs: number }
}

/**
 * Sends random questions and compares the responses.
 * @throws {Error} with the smallest question whose responses differ, as shell commands
 */
export async function differential(
  model: ModelName,
  { questions, seed }: { questions: number; seed: number },
): Promise<Differential> {
  const servers = await Promise.all(SERVERS.map(mode => open(model, mode)))
  const target = (servers[0] as Opened).target
  let [asked, requests, answered, refused] = [0, 0, 0, 0]
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(questionOf(target, model), { minLength: 1, maxLength: 8 }),
        async burst => {
          const all = await Promise.all(servers.map(server => ask(burst, server)))
          const [first = []] = all
          const references = burst.map((_, i) => reference(first, i))
          for (const [s, asking] of all.entries()) {
            for (const given of asking) {
              const expected = references[given.question] as Answer
              const wrong = difference(
                given,
                expected,
                target,
                (SERVERS[s]?.endsWith('-single') ?? false) &&
                  !isLong(burst[given.question] as Question),
              )
              assert.equal(
                wrong,
                undefined,
                `${SERVERS[s]}, ${given.form}: ${wrong}\n  ${told(given.sent)}\n  ${told(referenceAsked(first, given.question))}`,
              )
            }
            requests += asking.length
          }
          asked += burst.length
          for (const { status } of references) status === 200 ? answered++ : refused++
        },
      ),
      {
        seed,
        numRuns: Math.ceil(questions / BURST),
        interruptAfterTimeLimit: START_MS + QUESTION_MS * questions,
        markInterruptAsFailure: true,
      },
    )
    const joining = servers.filter((_, s) => !SERVERS[s]?.endsWith('-single'))
    const counted = await Promise.all(joining.map(runsOf))
    const joinedRuns = {
      requests: sum(counted.map(({ requests }) => requests)),
      runs: sum(counted.map(({ runs }) => runs)),
    }
    return { questions: asked, requests, answered, refused, joinedRuns }
  } finally {
    for (const { server, clients, grpc } of servers) {
      for (const client of clients) client.close()
      await grpc.close()
      await server.stop()
    }
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

interface Opened {
  readonly server: Server
  readonly target: Target
  readonly clients: readonly Client[]
  /** The client's session also sends requests over HTTP/2. */
  readonly grpc: GrpcClient
}

async function open(model: ModelName, mode: ModeName): Promise<Opened> {
  const server = await startServer({
    ...MODES[mode],
    MODEL_DIR: folderOf(model),
    REQUEST_TIMEOUT_MS: ENVIRONMENT.REQUEST_TIMEOUT_MS,
  })
  const target = await describe(server.url, model)
  return {
    server,
    target,
    clients: Array.from({ length: CONNECTIONS }, () => createClient(server.url)),
    grpc: connectGrpc(server.port),
  }
}

/** Counts successful requests and runs with the metrics. */
async function runsOf({ server }: Opened): Promise<{ requests: number; runs: number }> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  const total = (pattern: RegExp) =>
    sum([...metrics.matchAll(pattern)].map(([, value]) => Number(value)))
  return {
    requests: total(/^inference_requests_total\{[^}]*status="success"[^}]*\} (\d+)/gm),
    runs: total(/^inference_batch_rows_count(?:\{[^}]*\})? (\d+)/gm),
  }
}

// Questions

function questionOf(target: Target, model: ModelName): fc.Arbitrary<Question> {
  const plain = fc.record({
    // Far from a real flower's values, the last bits of a sum decide the class, and they depend on the number
    // of rows in a run.
    tensors: model === 'iris' ? flowers : tensors(target),
    id: ids,
    outputs: fc.oneof(
      fc.constant(undefined),
      fc.shuffledSubarray(inJson(target), { minLength: 1 }),
    ),
  })
  return fc.oneof(
    { weight: 30, arbitrary: plain as fc.Arbitrary<Question> },
    { weight: 1, arbitrary: plain.map(lengthened) as fc.Arbitrary<Question> },
    {
      weight: 30,
      arbitrary: fc
        .record({ plain, mistake: mistakeIn(target) })
        .map(({ plain, mistake }) => ({ ...plain, mistake })),
    },
    {
      weight: 20,
      arbitrary: fc.record({ plain, bends }).map(({ plain, bends }) => ({ ...plain, bends })),
    },
  )
}

/** Enough elements for the server to parse the question in a thread. */
const LONG = 30_000

/** A long question runs in parts, whose alignment changes the order of additions (error: 2e-8). */
const isLong = ({ tensors }: Question) => tensors.some(({ data = [] }) => data.length >= LONG)

function lengthened<Plain extends Question>(plain: Plain): Plain {
  const times = Math.ceil(LONG / Math.max(1, ...plain.tensors.map(({ data = [] }) => data.length)))
  return {
    ...plain,
    tensors: plain.tensors.map(tensor => ({
      ...tensor,
      shape: tensor.shape.map((size, i) => (i === 0 ? size * times : size)),
      data: Array.from({ length: times }, () => tensor.data ?? []).flat(),
    })),
  }
}

const flowers: fc.Arbitrary<WrittenTensor[]> = fc
  .array(
    fc.oneof(
      { weight: 20, arbitrary: fc.integer({ min: 0, max: 80 }).map(tenths => tenths / 10) },
      fc.constantFrom<number | string>(-0, 1e-45, 'NaN', 'Infinity', '-Infinity'),
    ),
    { maxLength: 24 },
  )
  .map(values => {
    const data = values.slice(0, values.length - (values.length % 4))
    return [{ name: 'input', datatype: 'FP32', shape: [data.length / 4, 4], data }]
  })

const inJson = ({ outputs }: Target) =>
  outputs.filter(({ datatype }) => datatype !== 'FP16').map(({ name }) => name)

function mistakeIn({ inputs }: Target): fc.Arbitrary<Mistake> {
  const wrongFor = (key: string) =>
    fc.constantFrom(
      undefined,
      ...(KNOWN[key] ?? []).filter(
        value => !/timeout|binary_data/.test(value) && !(key === 'outputs' && value === 'null'),
      ),
    )
  return fc.oneof(
    fc
      .record({ at: fc.nat(inputs.length - 1), key: fc.constantFrom('name', 'shape', 'datatype') })
      .chain(({ at, key }) => wrongFor(key).map(value => ({ in: at, key, value }))),
    fc
      .constantFrom('id', 'outputs', 'parameters', 'inputs')
      .chain(key => wrongFor(key).map(value => ({ in: 'request' as const, key, value }))),
  )
}

// Forms

const ATTRIBUTES = {
  specversion: '1.0',
  id: 'question',
  source: '/differential',
  type: 'differential.request',
}
const EVENT_HEADERS = Object.entries(ATTRIBUTES).map(
  ([name, value]) => [`ce-${name}`, value] as const,
)
const eventOf = (member: string) => `${JSON.stringify(ATTRIBUTES).slice(0, -1)},${member}}`
const STRUCTURED = [['Content-Type', 'application/cloudevents+json']] as const

type Form =
  | 'JSON'
  | 'nested'
  | 'binary'
  | 'all binary'
  | 'event'
  | 'binary event'
  | 'structured'
  | 'base64'
  | 'batched'
  | 'JSON over HTTP/2'
  | 'gRPC typed'
  | 'gRPC raw'

/** Values whose magnitudes differ from those of the questions. */
const HOSTILE = [3e6, -3e6, 1e30, 'NaN', 'Infinity', 0, 1e-30]

/**
 * Another caller's request with the same shapes, which must not change the question's response,
 * even in a shared run. Undefined if the question is long or contains a mistake.
 */
function hostileTo(question: Question, target: Target): Asked | undefined {
  // A long question does not share runs.
  if (isLong(question) || question.mistake !== undefined || question.bends !== undefined)
    return undefined
  const tensors = question.tensors.map(tensor =>
    tensor.datatype.startsWith('FP') && tensor.data !== undefined
      ? { ...tensor, data: tensor.data.map((_, i) => HOSTILE[i % HOSTILE.length] as number) }
      : tensor,
  )
  const infer = `/v2/models/${encodeURIComponent(target.name)}/infer`
  return post(infer, [JSON_TYPE], Buffer.from(jsonOf({ ...question, tensors }, target)))
}

function formsOf(question: Question, target: Target): [Form, Asked][] {
  const infer = `/v2/models/${encodeURIComponent(target.name)}/infer`
  const json = Buffer.from(jsonOf(question, target))
  const forms: [Form, Asked][] = [
    ['JSON', post(infer, [JSON_TYPE], json)],
    ['event', post('/', [...EVENT_HEADERS, JSON_TYPE], json)],
    ['structured', post('/', STRUCTURED, Buffer.from(eventOf(`"data":${json}`)))],
    [
      'base64',
      post('/', STRUCTURED, Buffer.from(eventOf(`"data_base64":"${json.toString('base64')}"`))),
    ],
  ]
  if (question.bends !== undefined) return forms
  const binary = binaryOf(question, target, false)
  forms.push(
    ['binary', post(infer, binary.headers, binary.body)],
    ['binary event', post('/', [...EVENT_HEADERS, ...binary.headers], binary.body)],
  )
  if (question.mistake !== undefined) return forms
  const allBinary = binaryOf(question, target, true)
  forms.push(
    ['all binary', post(infer, allBinary.headers, allBinary.body)],
    ['nested', post(infer, [JSON_TYPE], Buffer.from(jsonOf(question, target, true)))],
  )
  return forms
}

function messagesOf(question: Question, target: Target): [Form, Message][] {
  const { id = '', bends, mistake } = question
  if (bends !== undefined || !id.isWellFormed()) return []
  const isAll = question.outputs === undefined && inJson(target).length === target.outputs.length
  const outputs = isAll ? [] : (question.outputs ?? inJson(target)).map(name => ({ name }))
  const forms: [Form, Message][] = [
    ['gRPC typed', typedRequest(target.name, question.tensors)],
    ['gRPC raw', rawRequest(target.name, question.tensors)],
  ]
  return forms.flatMap(([form, message]): [Form, Message][] => {
    const whole = mistakenMessage({ ...message, id, outputs }, mistake, target)
    return whole === undefined ? [] : [[form, whole]]
  })
}

const isText = (value: unknown) => typeof value === 'string' && value.isWellFormed()

/**
 * Whether a message can express a wrong value, by field. It cannot express a missing field, which
 * would have the default value.
 */
const IN_MESSAGES: Readonly<Record<string, (value: unknown, target: Target) => boolean>> = {
  id: isText,
  name: isText,
  datatype: isText,
  shape: value =>
    Array.isArray(value) && value.every(size => Number.isSafeInteger(size) && !Object.is(size, -0)),
  inputs: value => Array.isArray(value) && value.length === 0,
  // An empty list requests all outputs, and raw contents can carry FP16, which JSON cannot express.
  outputs: (value, target) =>
    Array.isArray(value) &&
    value.every(output => isText(output?.name)) &&
    (value.length > 0 || inJson(target).length === target.outputs.length),
}

/** @returns undefined if no message can express this mistake */
function mistakenMessage(
  message: Message,
  mistake: Mistake | undefined,
  target: Target,
): Message | undefined {
  if (mistake === undefined) return message
  const { in: place, key } = mistake
  const value = wrongValue(mistake)
  if (IN_MESSAGES[key]?.(value, target) !== true) return undefined
  if (place === 'request')
    return { ...message, [key]: value, ...(key === 'inputs' && { raw_input_contents: [] }) }
  const inputs = message.inputs.map((input: Message, i: number) =>
    i === place ? { ...input, [key]: value } : input,
  )
  return { ...message, inputs }
}

function wrongValue({ value }: Mistake): unknown {
  try {
    return value === undefined ? undefined : JSON.parse(value)
  } catch {
    return undefined
  }
}

const namesOf = ({ outputs }: Question, target: Target): Written | undefined =>
  outputs === undefined && inJson(target).length === target.outputs.length
    ? undefined
    : items(
        ...(outputs ?? inJson(target)).map(name => members(['name', text(JSON.stringify(name))])),
      )

function jsonOf(question: Question, target: Target, nested = false): string {
  const inputs = question.tensors.map(tensor => inputOf(tensor, nested))
  const request = requestOf(question.id, inputs, namesOf(question, target), undefined)
  return write(bend(mistaken(request, question.mistake), question.bends ?? []))
}

function binaryOf(
  question: Question,
  target: Target,
  out: boolean,
): { headers: Asked['headers']; body: Buffer } {
  const parts = question.tensors.map(toBytes)
  const inputs = question.tensors.map((tensor, i) => inputOf(tensor, false, parts[i]?.byteLength))
  const request = requestOf(
    question.id,
    inputs,
    namesOf(question, target),
    out ? '{"binary_data_output":true}' : undefined,
  )
  const json = Buffer.from(write(mistaken(request, question.mistake)))
  // If the mistake is in the list of inputs, there is no binary data.
  const isWithout = question.mistake?.key === 'inputs'
  return {
    headers: [BINARY_TYPE, [LENGTH_HEADER, String(json.byteLength)]],
    body: Buffer.concat([json, ...(isWithout ? [] : parts)]),
  }
}

function mistaken(request: Written, mistake: Mistake | undefined): Written {
  if (mistake === undefined || !('members' in request)) return request
  if (mistake.in === 'request') return changed(request, mistake)
  return {
    members: request.members.map(([key, value]) => [
      key,
      key === 'inputs' && 'items' in value
        ? {
            items: value.items.map((input, i) =>
              i === mistake.in && 'members' in input ? changed(input, mistake) : input,
            ),
          }
        : value,
    ]),
  }
}

function changed(object: Extract<Written, { members: unknown }>, { key, value }: Mistake): Written {
  const others = object.members.filter(([other]) => other !== key)
  return { members: value === undefined ? others : [[key, text(value)], ...others] }
}

// Answers

interface Given {
  readonly form: Form
  readonly question: number
  readonly sent: FuzzRequest
  readonly answer: HttpAnswer | Answered
  readonly event?: number
  /** A problem that was found without comparing responses. */
  readonly wrong: string | undefined
}

interface Answer {
  /** The HTTP status; for an event in a batch, 200 or 400. */
  readonly status: number
  readonly error?: string
  readonly id?: unknown
  readonly outputs?: readonly {
    readonly name: string
    readonly datatype: string
    readonly shape: readonly number[]
    readonly bytes: Buffer
  }[]
}

/** Sends all questions in all forms concurrently, and those with valid JSON again in one batch. */
async function ask(
  burst: readonly Question[],
  { target, clients, grpc }: Opened,
): Promise<Given[]> {
  const send = async (client: Client, asked: Asked) => {
    const sent = sentOf(asked)
    const [answer] = await client.send(sent)
    return judged(sent, answer as HttpAnswer, target)
  }
  const neighbours = burst.map(question => hostileTo(question, target))
  const given: Given[] = []
  const waiting = burst.flatMap((question, i) => [
    ...formsOf(question, target).flatMap(([form, asked]) => {
      const work = async (client: Client) =>
        void given.push({ form, question: i, ...(await send(client, asked)) })
      const neighbour = neighbours[i]
      return neighbour === undefined
        ? [work]
        : [work, async (client: Client) => void (await send(client, neighbour))]
    }),
    async () => {
      const asked = formsOf(question, target)[0]?.[1] as Asked
      const answered = await sendHttp2(asked, grpc, target)
      given.push({ form: 'JSON over HTTP/2', question: i, ...answered })
    },
    ...messagesOf(question, target).map(([form, message]) => async () => {
      const bytes = frame(encode('ModelInfer', message))
      const answer = await grpc.send('ModelInfer', bytes)
      const sent: FuzzRequest = { kind: 'message', bytes, cuts: [], ending: 'keep' }
      given.push({ form, question: i, sent, answer, wrong: undefined })
    }),
  ])
  await Promise.all(
    clients.map(async client => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
        await next(client)
    }),
  )
  const sound = burst
    .map((_, i) => i)
    .filter(i => isSound(reference(given, i)) && !isNothing(referenceAsked(given, i)))
  if (sound.length > 0) {
    const events = sound.map(i => eventOf(`"data":${jsonOf(burst[i] as Question, target)}`))
    const batch = post(
      '/',
      [['Content-Type', 'application/cloudevents-batch+json']],
      Buffer.from(`[${events}]`),
    )
    const answered = await send(clients[0] as Client, batch)
    for (const [event, question] of sound.entries())
      given.push({ form: 'batched', question, event, ...answered })
  }
  return given
}

const sentOf = (asked: Asked): FuzzRequest => ({
  kind: 'json',
  bytes: toHttp(asked),
  cuts: [],
  ending: 'keep',
  asked,
})

const judged = (sent: FuzzRequest, answer: HttpAnswer, target: Target) => ({
  sent,
  answer,
  wrong: judge(sent, [answer], target),
})

async function sendHttp2(asked: Asked, { session }: GrpcClient, target: Target) {
  const { method, path, body } = asked
  const named = asked.headers.map(([name, value]) => [name.toLowerCase(), value] as const)
  const { host: _, ...headers } = Object.fromEntries(named)
  const answer = await askHttp2(session, path, { method, headers, body })
  const lines = Object.entries(answer.headers).map(
    ([name, value]) => [name, String(value)] as const,
  )
  return judged(sentOf(asked), { ...answer, headers: new Map(lines) }, target)
}

const referenceOf = (given: readonly Given[], question: number) =>
  given.find(other => other.question === question && other.form === 'JSON') as Given
const reference = (given: readonly Given[], question: number) =>
  answerIn(referenceOf(given, question))
const referenceAsked = (given: readonly Given[], question: number) =>
  referenceOf(given, question).sent

/** Whether the error does not depend on the request's envelope. */
const isSound = ({ error = '' }: Answer) =>
  !/is not valid JSON|the same key twice|nested more than|not valid UTF-8|is empty/.test(error)

/** An event with a null body has no data, so the server reports a different error. */
const isNothing = ({ asked }: FuzzRequest) => asked?.body.toString().trim() === 'null'

function answerIn({ form, answer, event }: Given): Answer {
  if ('messages' in answer) return answerOfCall(answer)
  const { status, headers, body } = answer
  const jsonLength = headers.get('inference-header-content-length')
  const end = jsonLength === undefined ? body.byteLength : Number(jsonLength)
  const json = parseExactly(body.toString('utf8', 0, end)) as Record<string, unknown>
  if (status !== 200) return { status, error: String(json.error) }
  if (form === 'batched')
    return dataOf((json as unknown as Record<string, unknown>[])[event as number])
  if (form === 'structured' || form === 'base64') return dataOf(json)
  return outputsOf(json, body.subarray(end))
}

function answerOfCall({ status: code, message, messages }: Answered): Answer {
  const [response] = messages
  if (code === 0 && response !== undefined)
    return { status: 200, id: response.id, outputs: outputsOfMessage(response) }
  const status = Object.values(MEANINGS).find(({ grpc }) => grpc === code)?.http ?? code
  return { status, error: message }
}

function dataOf(event: Record<string, unknown> | undefined): Answer {
  const data = event?.data as Record<string, unknown>
  return String(event?.type).endsWith('.error')
    ? { status: 400, error: String(data.error) }
    : outputsOf(data, Buffer.alloc(0))
}

function outputsOf({ id, outputs }: Record<string, unknown>, binary: Buffer): Answer {
  let at = 0
  return {
    status: 200,
    id,
    outputs: (outputs as (WrittenTensor & { parameters?: { binary_data_size: number } })[]).map(
      output => {
        const { name, datatype, shape, parameters } = output
        const bytes =
          parameters === undefined
            ? toBytes(output)
            : binary.subarray(at, at + parameters.binary_data_size)
        at += parameters?.binary_data_size ?? 0
        return { name, datatype, shape, bytes }
      },
    ),
  }
}

/** @returns how a response differs from the expected one, or undefined */
function difference(
  given: Given,
  expected: Answer,
  target: Target,
  isExact: boolean,
): string | undefined {
  if (given.wrong !== undefined) return given.wrong
  const { form, sent } = given
  const answer = answerIn(given)
  // An event without data gets a different error.
  if (form === 'event' && sent.bytes.includes('\r\nContent-Length: 0\r\n'))
    return answer.status === 400 ? undefined : `${answer.status}, not 400`
  const isWrapped = form === 'structured' || form === 'batched'
  // Whether a request exceeds its own deadline depends on chance.
  if (answer.status === 504 || expected.status === 504) return undefined
  if (
    form === 'structured' &&
    (!isSound(expected) || isSound(answer) !== isSound(expected) || isNull(sent))
  )
    return answer.status === 400 ? undefined : `${answer.status}, not 400`
  if (
    (isWrapped || form === 'base64') &&
    expected.outputs !== undefined &&
    answer.error === NEEDS_BINARY_MODE &&
    saysBinary(sent, form)
  )
    return undefined
  if (
    answer.status === 413 &&
    expected.status === 200 &&
    /bytes of events in JSON exceed/.test(answer.error ?? '')
  )
    return undefined
  if (answer.status !== expected.status)
    return `${answer.status} ${answer.error ?? ''}, not ${expected.status} ${expected.error ?? ''}`
  const isCall = form === 'gRPC typed' || form === 'gRPC raw'
  if (expected.error !== undefined)
    return inGeneral(answer.error) === inGeneral(expected.error)
      ? undefined
      : `"${answer.error}", not "${expected.error}"`
  // A gRPC message without an id has an empty id.
  const id = isCall ? (expected.id ?? '') : expected.id
  if (!Object.is(answer.id, id))
    return `the id ${JSON.stringify(answer.id)}, not ${JSON.stringify(id)}`
  const [went, should] = [answer.outputs ?? [], expected.outputs ?? []]
  if (went.length !== should.length) return `${went.length} outputs, not ${should.length}`
  for (const [i, output] of should.entries()) {
    const other = went[i] as typeof output
    if (
      other.name !== output.name ||
      other.datatype !== output.datatype ||
      String(other.shape) !== String(output.shape)
    )
      return `output ${other.name} ${other.datatype} [${other.shape}], not ${output.name} ${output.datatype} [${output.shape}]`
    if (isAlike(other.bytes, output.bytes, output.datatype, isExact || target.identity)) continue
    // If two classes tie, the last bits of their sums decide.
    if (!isExact && output.datatype === 'BYTES' && isTie(should)) continue
    return `output ${output.name} is ${show(other.bytes)}, not ${show(output.bytes)}`
  }
  return undefined
}

const isNull = ({ asked }: FuzzRequest) => /"data":\s*null\}$/.test(asked?.body.toString() ?? '')

const NEEDS_BINARY_MODE =
  'binary_data outputs need an event in binary mode; the reply to a structured or batched one carries JSON'

const saysBinary = ({ asked }: FuzzRequest, form: Form) =>
  form === 'base64' || /binary_data/.test(asked?.body.toString() ?? '')

/** Error texts about elements in JSON and about bytes in binary data become the same text. */
const inGeneral = (error = '') =>
  error
    .replace(
      /^(input .*?: ).*(?:elements, but (?:data|\w+_contents|the binary data) has|bytes of binary data|is cut off|are left over).*$/,
      '$1the data does not fill the shape',
    )
    .replace(/^\d+ bytes of binary data are left over.*$/, 'the data does not fill the shape')

/** The order in which ONNX Runtime adds depends on the number of rows (measured error: 3.6e-7). */
const TOLERANCE = 1e-6

function isAlike(one: Buffer, other: Buffer, datatype: string, isExact: boolean): boolean {
  if (one.equals(other)) return true
  const size = { FP16: 2, FP32: 4, FP64: 8 }[datatype]
  if (size === undefined || one.byteLength !== other.byteLength) return false
  for (let at = 0; at < one.byteLength; at += size) {
    const [a, b] = [floatAt(one, at, size), floatAt(other, at, size)]
    const isClose = Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(a), Math.abs(b))
    if (!(Object.is(a, b) || (!isExact && isClose))) return false
  }
  return true
}

function floatAt(bytes: Buffer, at: number, size: number): number {
  if (size === 4) return bytes.readFloatLE(at)
  if (size === 8) return bytes.readDoubleLE(at)
  const bits = bytes.readUInt16LE(at)
  return (bits & 0x7fff) > 0x7c00 ? Number.NaN : bits
}

function isTie(outputs: NonNullable<Answer['outputs']>): boolean {
  const floats = outputs.find(({ datatype }) => datatype === 'FP32')
  if (floats === undefined) return true
  const width = floats.shape.at(-1) ?? 1
  for (let row = 0; row < floats.bytes.byteLength; row += 4 * width) {
    const [first = 0, second = 0] = Array.from({ length: width }, (_, i) =>
      floats.bytes.readFloatLE(row + 4 * i),
    ).sort((a, b) => b - a)
    if (first - second <= 1e-5) return true
  }
  return false
}

const told = (sent: FuzzRequest) => commandOf(sent) ?? show(sent.bytes)
