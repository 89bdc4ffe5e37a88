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
 * Tests that the gRPC points pass on onnx-function, and that each fails on a server that swaps
 * success and failure or alters responses.
 */

/** Models for the points that do not apply to iris. */
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

test('onnx-function passes every applicable point over gRPC', () => {
  const failed = right.filter(({ outcome }) => outcome === 'fail')
  assert.deepEqual(
    failed.map(({ point, got }) => `${point}: ${got}`),
    [],
  )
})

for (const model of OTHERS) {
  test(`${model} passes every point over gRPC that applies`, async () => {
    const results = await askPoints(await overGrpc(model), all)
    assert.deepEqual(
      results
        .filter(({ outcome }) => outcome === 'fail')
        .map(({ point, got }) => `${point}: ${got}`),
      [],
    )
  })
}

test('more than 100 HTTP points are also tested over gRPC', () => {
  const asked = right.filter(
    ({ group, outcome }) => group !== 'grpc' && outcome !== 'not applicable',
  )
  assert.ok(asked.length > 100, `only ${asked.length} points`)
})

/** Failures become empty successes, and successes become failures. */
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

const bends =
  (method: RegExp, bend: (message: Buffer, sent: SentCall) => Buffer | Promise<Buffer>): Call =>
  async sent => {
    const reply = await call(sent)
    if (!method.test(sent.method) || reply.status !== 0) return reply
    return { ...reply, messages: await Promise.all(reply.messages.map(each => bend(each, sent))) }
  }

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
const BOTH = 'a response has either raw or typed contents, not both'

const MUTATIONS: readonly (readonly [wrong: string, bent: Call, red: readonly string[]])[] = [
  [
    'is not ready',
    bends(/ModelReady$/, () => Buffer.alloc(0)),
    ['ServerLive, ServerReady and ModelReady return true'],
  ],
  [
    'lists no inputs',
    bends(/ModelMetadata$/, message => without(4, message)),
    ['ModelMetadata matches the metadata over HTTP'],
  ],
  [
    'drops the id',
    bends(/ModelInfer$/, message => without(3, message)),
    ['over gRPC, the response has the id of the request, or no id'],
  ],
  [
    'returns both raw and typed contents',
    bends(/ModelInfer$/, message => (isRaw(message) ? contentsOfAll(message) : message)),
    [BOTH],
  ],
  [
    'returns no contents for raw contents',
    bends(/ModelInfer$/, message => without(6, message)),
    ['a request with raw contents gets raw contents', RAW_AND_TYPED],
  ],
  [
    'returns raw contents for typed contents',
    bends(/ModelInfer$/, message =>
      isRaw(message) ? message : Buffer.concat([message, bytes(6, ''), bytes(6, '')]),
    ),
    ['a request with typed contents gets typed contents', BOTH, RAW_AND_TYPED],
  ],
  [
    'omits the last output',
    bends(/ModelInfer$/, lastOutput),
    [
      'a request with raw contents gets each output once',
      'a request with typed contents gets each output once',
      'a message may be compressed with gzip',
      'a message may be compressed with deflate',
    ],
  ],
  [
    'reverses the responses of a stream',
    async sent => {
      const reply = await call(sent)
      return /ModelStreamInfer$/.test(sent.method)
        ? { ...reply, messages: reply.messages.toReversed() }
        : reply
    },
    ['a stream returns one response per request, in order'],
  ],
  [
    'omits the error_message of a stream',
    bends(/ModelStreamInfer$/, message => without(1, message)),
    ['a failing request in a stream gets an error_message, and the stream continues'],
  ],
  [
    'is NOT_SERVING',
    bends(/Health\/Check$/, () => number(1, 2)),
    ['the health check of the server returns SERVING'],
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
  test(`on a server that ${wrong}, exactly the listed points fail`, async () =>
    assert.deepEqual((await redOf(own, bent)).sort(), [...red].sort()))
}

test('HTTP points about the id fail over gRPC if the server drops the id', async () => {
  const ids = all.filter(({ name }) => /^over gRPC: an id .* comes back unchanged$/.test(name))
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

test('frame() writes the compression flag, the length and the message', () =>
  assert.deepEqual([...frame(Buffer.from('ab'), true)], [1, 0, 0, 0, 2, 97, 98]))
