import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Asked, askPoints, choosePoints } from '../ask.ts'
import { type Call, type CallReply, connectGrpc, frame, type SentCall } from '../grpc/connection.ts'
import { bytes, messagesOf, number, readFields } from '../grpc/protobuf.ts'
import type { Target } from '../point.ts'
import { grpcGroups } from '../points.ts'
import { startServers } from './servers.ts'
import { type Served, targetOf } from './target.ts'

/*
 * Tests that the gRPC points pass on the right server, and that each can fail: servers with swapped
 * outcomes turn every point red, and servers that alter the answers test the checks of content.
 */

/** Points that have a separate version for tensors. */
const OTHERS = [
  'two-in-two-out',
  'failing',
  'scalar',
  'fp16-out',
  ...['bool', 'uint8', 'uint64', 'int8', 'int16', 'int64', 'fp16', 'fp32', 'fp64', 'bytes'].map(
    datatype => `identity-${datatype}`,
  ),
]

const servers = await startServers(['iris', ...OTHERS])
after(() => servers.stop())

async function overGrpc(model: string): Promise<Target & { readonly call: Call }> {
  const served = servers.served[model] as Served
  return { ...(await targetOf(served)), call: connectGrpc(new URL(served.url).host) }
}

const target = await overGrpc('iris')
const { call } = target
const all = choosePoints([], grpcGroups)
const own = all.filter(({ group }) => group === 'grpc')

const outcomesOf = async (points: readonly Asked[], bent: Call) =>
  askPoints({ ...target, call: bent }, points)

const redOf = async (points: readonly Asked[], bent: Call): Promise<string[]> =>
  (await outcomesOf(points, bent))
    .filter(({ outcome }) => outcome === 'fail')
    .map(({ point }) => point)

const right = await outcomesOf(all, call)

test('the right server keeps every point over gRPC that applies', () => {
  const failed = right.filter(({ outcome }) => outcome === 'fail')
  assert.deepEqual(
    failed.map(({ point, got }) => `${point}: ${got}`),
    [],
  )
})

for (const model of OTHERS) {
  test(`${model} keeps every point over gRPC that applies`, async () => {
    const results = await askPoints(await overGrpc(model), all)
    assert.deepEqual(
      results
        .filter(({ outcome }) => outcome === 'fail')
        .map(({ point, got }) => `${point}: ${got}`),
      [],
    )
  })
}

test('most points about what a request means are asked over gRPC, too', () => {
  const asked = right.filter(
    ({ group, outcome }) => group !== 'grpc' && outcome !== 'not applicable',
  )
  assert.ok(asked.length > 100, `${asked.length} points`)
})

/** Swaps the outcome of each call: failures become empty successes, successes become failures. */
const reversed = (reply: CallReply, wanted: 'good' | 'bad'): CallReply => {
  if (wanted === 'good' && reply.status === 0)
    return { ...reply, status: 13, message: 'bent', messages: [] }
  if (wanted === 'bad' && reply.status !== 0)
    return { ...reply, status: 0, messages: [Buffer.alloc(0)], compressed: [false] }
  return reply
}

for (const point of own) {
  test(`"${point.name}" can fail`, async t => {
    const [result] = await outcomesOf([point], call)
    if (result?.outcome === 'not applicable') t.skip(result.got)
    else {
      const red: string[] = []
      for (const wanted of ['good', 'bad'] as const)
        red.push(...(await redOf([point], async sent => reversed(await call(sent), wanted))))
      assert.ok(red.length > 0)
    }
  })
}

/** Servers that alter the answers to ModelInfer, or to another method. */
const bends =
  (method: RegExp, bend: (message: Buffer, sent: SentCall) => Buffer | Promise<Buffer>): Call =>
  async sent => {
    const reply = await call(sent)
    if (!method.test(sent.method) || reply.status !== 0) return reply
    return { ...reply, messages: await Promise.all(reply.messages.map(each => bend(each, sent))) }
  }

/** The message without one field. */
function without(field: number, message: Buffer): Buffer {
  const kept: Buffer[] = []
  for (const [other, values] of readFields(message))
    if (other !== field)
      for (const value of values)
        kept.push(typeof value === 'bigint' ? number(other, value) : bytes(other, value))
  return Buffer.concat(kept)
}

const isRaw = (message: Buffer) => messagesOf(readFields(message), 6).length > 0

const lastOutput = (message: Buffer) => {
  const outputs = messagesOf(readFields(message), 5)
  const raw = messagesOf(readFields(message), 6)
  return Buffer.concat([
    without(6, without(5, message)),
    ...outputs.slice(0, -1).map(output => bytes(5, output)),
    ...raw.slice(0, -1).map(part => bytes(6, part)),
  ])
}

const contentsOfAll = (message: Buffer) =>
  Buffer.concat([
    without(5, message),
    ...messagesOf(readFields(message), 5).map(output =>
      bytes(5, Buffer.concat([output, bytes(5, Buffer.concat([bytes(6, Buffer.alloc(4))]))])),
    ),
  ])

const RAW_AND_TYPED = 'raw and typed contents of the same values get the same outputs'
const BOTH = 'an answer has raw contents or typed ones, not both'

const MUTATIONS: readonly (readonly [wrong: string, bent: Call, red: readonly string[]])[] = [
  [
    'is not ready',
    bends(/ModelReady$/, () => Buffer.alloc(0)),
    ['ServerLive, ServerReady and ModelReady say so'],
  ],
  [
    'lists no inputs',
    bends(/ModelMetadata$/, message => without(4, message)),
    ['ModelMetadata says what metadata over HTTP says'],
  ],
  [
    'drops the id',
    bends(/ModelInfer$/, message => without(3, message)),
    ['over gRPC an id comes back, and without an id none does'],
  ],
  [
    'gives raw contents and typed ones',
    bends(/ModelInfer$/, message => (isRaw(message) ? contentsOfAll(message) : message)),
    [BOTH],
  ],
  [
    'answers raw contents by nothing',
    bends(/ModelInfer$/, message => without(6, message)),
    ['raw contents are answered by raw contents', RAW_AND_TYPED],
  ],
  [
    'answers typed contents by raw ones',
    bends(/ModelInfer$/, message =>
      isRaw(message) ? message : Buffer.concat([message, bytes(6, ''), bytes(6, '')]),
    ),
    ['typed contents are answered by typed contents', BOTH, RAW_AND_TYPED],
  ],
  [
    'forgets the last output',
    bends(/ModelInfer$/, lastOutput),
    [
      'raw contents are answered, each output once',
      'typed contents are answered, each output once',
      'a message may be compressed by gzip',
      'a message may be compressed by deflate',
    ],
  ],
  [
    'answers a stream in another order',
    async sent => {
      const reply = await call(sent)
      return /ModelStreamInfer$/.test(sent.method)
        ? { ...reply, messages: reply.messages.toReversed() }
        : reply
    },
    ['a stream answers each request, in their order'],
  ],
  [
    'says of no request of a stream why it failed',
    bends(/ModelStreamInfer$/, message => without(1, message)),
    ['a request of a stream that fails has an error_message, and the stream goes on'],
  ],
  [
    'is NOT_SERVING',
    bends(/Health\/Check$/, () => number(1, 2)),
    ['the health of the server is SERVING'],
  ],
  [
    'lists no services',
    bends(/ServerReflectionInfo$/, message => without(6, message)),
    ['reflection lists the service'],
  ],
  [
    'describes no files',
    bends(/ServerReflectionInfo$/, message => without(4, message)),
    ['reflection describes the service'],
  ],
]

for (const [wrong, bent, red] of MUTATIONS) {
  test(`a server that ${wrong} turns these points red, and no others`, async () =>
    assert.deepEqual((await redOf(own, bent)).sort(), [...red].sort()))
}

test('an answer over gRPC that is bent turns the points red that HTTP has about it', async () => {
  const ids = all.filter(({ name }) => /^over gRPC: an id .* comes back exactly$/.test(name))
  const applying = (await outcomesOf(ids, call)).filter(({ outcome }) => outcome === 'pass')
  const red = await redOf(
    ids,
    bends(/ModelInfer$/, message => without(3, message)),
  )
  assert.deepEqual(
    [applying.length > 3, red.sort()],
    [true, applying.map(({ point }) => point).sort()],
  )
})

test('a call is framed as gRPC has it', () =>
  assert.deepEqual([...frame(Buffer.from('ab'), true)], [1, 0, 0, 0, 2, 97, 98]))
