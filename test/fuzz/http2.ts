import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { encode, frame as messageFrame, pathOf } from '../grpc/client.ts'
import { CONTENTS, rawRequest, typedRequest } from '../grpc/messages.ts'
import {
  block,
  END_HEADERS,
  END_STREAM,
  frame,
  head,
  header,
  PREFACE,
  settings,
  uint32,
} from '../http/frames.ts'
import { bendMessage, messageBends } from './protobuf.ts'
import {
  type Call,
  damaged,
  damages,
  type FuzzRequest,
  ids,
  type Target,
  tensors,
} from './requests.ts'

/** gRPC calls and HTTP/2 frames: valid ones, and ones with each known kind of mistake. */
export function http2Requests(target: Target): fc.Arbitrary<FuzzRequest> {
  const message = messages(target)
  return fc.oneof(
    { weight: 60, arbitrary: message },
    { weight: 15, arbitrary: oddFraming(message) },
    { weight: 25, arbitrary: frames(message) },
  )
}

interface CallRequest extends FuzzRequest {
  readonly call: Call
}

const alone = (kind: FuzzRequest['kind'], bytes: Buffer, call: Call): CallRequest => ({
  kind,
  bytes,
  cuts: [],
  ending: 'keep',
  call,
})

/** ModelInferRequests with typed or raw contents; some have corrupted fields or bytes. */
function messages(target: Target): fc.Arbitrary<CallRequest> {
  const hasTyped = target.inputs.every(({ datatype }) => CONTENTS[datatype] !== undefined)
  return fc
    .record({
      tensors: tensors(target),
      id: ids.map((id = '') => id.toWellFormed()),
      isRaw: fc.boolean(),
      bends: messageBends,
      damage: fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, damages()),
      method: fc.oneof(
        { weight: 12, arbitrary: fc.constant('ModelInfer') },
        fc.constantFrom(
          'ModelStreamInfer',
          'ModelReady',
          'ModelMetadata',
          'ModelConfig',
          'ModelStatistics',
          'grpc.health.v1.Health/Check',
          'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
        ),
      ),
    })
    .map(({ tensors, id, isRaw, bends, damage, method }) => {
      const make = isRaw || !hasTyped ? rawRequest : typedRequest
      const message = encode('ModelInfer', { ...make(target.name, tensors), id })
      const isRight = bends.length + damage.length === 0 && method === 'ModelInfer'
      return alone('message', messageFrame(damaged(bendMessage(message, bends), damage)), {
        method,
        metadata: {},
        right: isRight ? { id, tensors } : undefined,
      })
    })
}

const METADATA: readonly Readonly<Record<string, string>>[] = [
  ...['gzip', 'deflate', 'identity', 'br', '', 'gzip, gzip', '__proto__'].map(encoding => ({
    'grpc-encoding': encoding,
  })),
  ...['1S', '1n', '0m', '99999999H', '999999999H', '-1S', '1', '', 'S', '1.5S'].map(timeout => ({
    'grpc-timeout': timeout,
  })),
  ...['+proto', '+json', ';charset=utf-8', '-web', '+', ''].map(rest => ({
    'content-type': `application/grpc${rest}`,
  })),
  { traceparent: '00-0-0-0' },
  { 'x-request-id': 'é' },
]

/** Changes the parts around messages: prefix, number of messages, compression, and metadata. */
function oddFraming(message: fc.Arbitrary<CallRequest>): fc.Arbitrary<CallRequest> {
  const ways: ((bytes: Buffer) => Buffer)[] = [
    bytes => bytes,
    () => Buffer.alloc(0),
    bytes => Buffer.concat([bytes, bytes]),
    bytes => bytes.subarray(0, 3),
    bytes => bytes.subarray(0, -1),
    bytes => bytes.subarray(5),
    bytes => Buffer.concat([bytes, Buffer.of(0)]),
    bytes => Buffer.concat([Buffer.of(2), bytes.subarray(1)]),
    bytes => Buffer.concat([Buffer.from('00ffffffff', 'hex'), bytes.subarray(5)]),
    bytes => Buffer.concat([Buffer.of(1), bytes.subarray(1)]),
    bytes => messageFrame(gzipSync(bytes.subarray(5)), 1),
    bytes => messageFrame(gzipSync(bytes.subarray(5)).subarray(0, -5), 1),
    bytes => messageFrame(deflateSync(bytes.subarray(5)), 1),
    () => messageFrame(gzipSync(Buffer.alloc(4 * 2 ** 20)), 1),
  ]
  const metadata = fc.constantFrom({}, ...METADATA)
  return fc
    .record({ message, way: fc.constantFrom(...ways), metadata, more: metadata })
    .map(({ message: { bytes, call }, way, metadata, more }) =>
      alone('message framing', way(bytes), {
        method: call.method,
        metadata: { ...metadata, ...more },
      }),
    )
}

function framesOf({ bytes, call }: CallRequest): Buffer[] {
  const path = pathOf(call.method)
  const type = (value: string) => header('content-type', value)
  const grpc = block('POST', path, type('application/grpc'), header('te', 'trailers'))
  const json = block('POST', '/v2/repository/index', type('application/json'))
  const end = { flags: END_STREAM }
  const half = Math.min(bytes.length >> 1, 16_000)
  return [
    settings(),
    head(1, grpc, false),
    frame('data', bytes.subarray(0, half), { stream: 1 }),
    frame('ping', Buffer.alloc(8)),
    head(3, json, false),
    frame('data', bytes.subarray(half, half + 16_000), { stream: 1, ...end }),
    frame('windowUpdate', uint32(1_000)),
    frame('priority', Buffer.of(0, 0, 0, 1, 16), { stream: 3 }),
    frame('data', Buffer.from('{"ready":'), { stream: 3 }),
    frame('data', Buffer.from('true}'), { stream: 3, ...end }),
    frame('headers', block('GET', '/v2'), { stream: 5, ...end }),
    frame('continuation', Buffer.alloc(0), { stream: 5, flags: END_HEADERS }),
  ]
}

interface FrameBend {
  readonly how: keyof typeof WAYS
  readonly at: number
  readonly by: number
}

const STREAMS = [0, 1, 2, 3, 5, 7, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]
const LENGTHS = [0, 1, 4, 8, 9, 16_384, 16_385, 2 ** 24 - 1]

const MOST_BYTES = 2 ** 18

type Way = (frames: Buffer[], index: number, by: number) => void

const changed =
  (change: (frame: Buffer, by: number) => Buffer): Way =>
  (frames, i, by) => {
    frames[i] = change(Buffer.from(frames[i] as Buffer), by)
  }

const WAYS = {
  drop: (frames, i) => void frames.splice(i, 1),
  twice: (frames, i) => void frames.splice(i, 0, frames[i] as Buffer),
  often(frames, i, by) {
    const frame = frames[i] as Buffer
    const times = Math.min(by * 8, Math.floor(MOST_BYTES / frame.length))
    frames.splice(i, 0, ...Array.from({ length: times }, () => frame))
  },
  swap: (frames, i) => void frames.unshift(...frames.splice(i, 1)),
  retype: changed((frame, by) => Buffer.from(frame.fill(by % 16, 3, 4))),
  flags: changed((frame, by) => Buffer.from(frame.fill(by, 4, 5))),
  stream: changed((frame, by) =>
    Buffer.concat([
      frame.subarray(0, 5),
      uint32(STREAMS[by % STREAMS.length] as number),
      frame.subarray(9),
    ]),
  ),
  length: changed((frame, by) => {
    frame.writeUIntBE(LENGTHS[by % LENGTHS.length] as number, 0, 3)
    return frame
  }),
  payload: changed((frame, by) =>
    resized(frame, Buffer.alloc(LENGTHS[by % (LENGTHS.length - 1)] as number, by)),
  ),
  cut: changed((frame, by) => resized(frame, frame.subarray(9, 9 + (by % 32)))),
  /** Corrupts HPACK, settings or windows. */
  flip: changed((frame, by) => {
    const place = 9 + (by % Math.max(frame.length - 9, 1))
    if (place < frame.length) frame[place] = (frame[place] as number) ^ (1 << (by % 8))
    return frame
  }),
  add: (frames, i, by) =>
    void frames.splice(
      i,
      0,
      frame(ADDED[by % ADDED.length] ?? 'ping', uint32(by), { stream: by % 8 }),
    ),
  /** Resets the stream of the frame, with or without an error. */
  reset(frames, i, by) {
    const stream = (frames[i] as Buffer).readUInt32BE(5)
    frames.splice(i + 1, 0, frame('rstStream', uint32((by % 2) * 8), { stream }))
  },
} satisfies Record<string, Way>

const ADDED = [
  'rstStream',
  'goaway',
  'settings',
  'windowUpdate',
  'continuation',
  'ping',
  'data',
] as const

function resized(frame: Buffer, payload: Buffer): Buffer {
  const head = frame.subarray(0, 9)
  head.writeUIntBE(payload.length, 0, 3)
  return Buffer.concat([head, payload])
}

function bent(frames: Buffer[], bends: readonly FrameBend[]): Buffer[] {
  for (const { how, at, by } of bends)
    if (frames.length > 0) WAYS[how](frames, at % frames.length, by)
  return frames
}

const oneBend: fc.Arbitrary<FrameBend> = fc.record({
  how: fc.constantFrom(...(Object.keys(WAYS) as FrameBend['how'][])),
  at: fc.nat(40),
  by: fc.nat(255),
})

const frames = (message: fc.Arbitrary<CallRequest>): fc.Arbitrary<FuzzRequest> =>
  fc.record({ message, bends: fc.array(oneBend, { maxLength: 4 }) }).map(({ message, bends }) => ({
    kind: 'frames',
    bytes: Buffer.concat([Buffer.from(PREFACE), ...bent(framesOf(message), bends)]),
    cuts: [],
    ending: 'end',
    streams: bends.length === 0 ? 3 : 0,
  }))
