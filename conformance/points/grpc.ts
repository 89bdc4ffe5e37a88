import assert from 'node:assert/strict'
import { deflateSync, gzipSync } from 'node:zlib'
import { all, notEmpty, oneInput } from '../applies.ts'
import { toBytes } from '../datatypes.ts'
import { type CallReply, frame, type SentCall, STATUS } from '../grpc/connection.ts'
import {
  hasContents,
  type InferAnswer,
  type InferCall,
  inferRequest,
  methodOf,
  nameRequest,
  readAnswer,
} from '../grpc/messages.ts'
import { bytes, isTrue, messagesOf, number, packed, readFields, textOf } from '../grpc/protobuf.ts'
import { Inapplicable, type Point, type Target } from '../point.ts'
import { oip } from '../sources.ts'

/**
 * A rule of specification/protocol/open_inference_grpc.proto (commit d49cc23) or of the document
 * beside that file.
 */
const oipGrpc = (note: string) => `OIP gRPC, ${note}`
/** A rule of grpc/grpc: doc/PROTOCOL-HTTP2.md, doc/compression.md or doc/statuscodes.md. */
const grpcDoc = (note: string) => `gRPC, ${note}`
/** A rule of triton-inference-server/common, protobuf/grpc_service.proto. */
const triton = (note: string) => `Triton's grpc_service.proto, ${note}`

const NAMES = Object.fromEntries(Object.entries(STATUS).map(([name, code]) => [code, name]))

const show = ({ status, message }: CallReply) => `${NAMES[status] ?? status} ${message}`.trim()

function send(target: Target, sent: SentCall): Promise<CallReply> {
  if (target.call === undefined) throw new Inapplicable('the option --grpc is not set')
  return target.call(sent)
}

const ask = (target: Target, name: string, message: Buffer = Buffer.alloc(0)) =>
  send(target, { method: methodOf(name), frames: frame(message) })

function messageOf(reply: CallReply): Buffer {
  assert.equal(reply.status, STATUS.OK, show(reply))
  assert.equal(reply.messages.length, 1, `the response has ${reply.messages.length} messages`)
  return reply.messages[0] as Buffer
}

const ends = (reply: CallReply, ...statuses: readonly number[]) =>
  assert.ok(statuses.includes(reply.status), show(reply))

const isTyped = ({ metadata }: Target) =>
  metadata.inputs.every(({ datatype }) => hasContents(datatype))
const isTypedOut = ({ metadata }: Target) =>
  metadata.outputs.every(({ datatype }) => hasContents(datatype))

const typedIn = (target: Target) =>
  isTyped(target) ? undefined : 'an input has a datatype without typed contents'
const typedBoth = (target: Target) =>
  isTyped(target) && isTypedOut(target)
    ? undefined
    : 'an input or output has a datatype without typed contents'

const raw = ({ model, example }: Target): InferCall => ({
  model,
  inputs: example.inputs.map(({ name, datatype, shape }) => ({
    name,
    datatype,
    shape: [...shape],
  })),
  raw: example.inputs.map(({ datatype, data }) => toBytes(datatype, data)),
})

const typed = ({ model, example }: Target): InferCall => ({
  model,
  inputs: example.inputs.map(({ name, datatype, shape, data }) => ({
    name,
    datatype,
    shape: [...shape],
    data,
  })),
})

const infer = (target: Target, call: InferCall) => ask(target, 'ModelInfer', inferRequest(call))

const answerTo = async (target: Target, call: InferCall): Promise<InferAnswer> =>
  readAnswer(messageOf(await infer(target, call)))

const refusal = (
  mistake: string,
  call: (target: Target) => InferCall,
  point: Partial<Point> = {},
): Point => ({
  name: `over gRPC, ${mistake} gets INVALID_ARGUMENT`,
  source: oipGrpc('"an error status"; gRPC defines the codes'),
  level: 'stricter',
  expected: 'INVALID_ARGUMENT',
  check: async target => ends(await infer(target, call(target)), STATUS.INVALID_ARGUMENT),
  ...point,
})

const COMPRESSED = { gzip: gzipSync, deflate: deflateSync }

const compression: Point[] = Object.entries(COMPRESSED).map(([encoding, compress]) => ({
  name: `a message may be compressed with ${encoding}`,
  source: grpcDoc('compression.md'),
  level: 'stricter',
  expected: 'OK with the outputs',
  async check(target) {
    const reply = await send(target, {
      method: methodOf('ModelInfer'),
      frames: frame(compress(inferRequest(raw(target))), true),
      metadata: { 'grpc-encoding': encoding },
    })
    assert.equal(readAnswer(messageOf(reply)).outputs.length, target.metadata.outputs.length)
  },
}))

/** Does not apply if the server lacks Triton's ModelStreamInfer. */
async function stream(target: Target, calls: readonly InferCall[]) {
  const reply = await send(target, {
    method: methodOf('ModelStreamInfer'),
    frames: Buffer.concat(calls.map(call => frame(inferRequest(call)))),
  })
  if (reply.status === STATUS.UNIMPLEMENTED)
    throw new Inapplicable('the server does not implement ModelStreamInfer')
  assert.equal(reply.status, STATUS.OK, show(reply))
  return reply.messages.map(message => {
    const fields = readFields(message)
    const [answer] = messagesOf(fields, 2)
    return { error: textOf(fields, 1), id: answer ? textOf(readFields(answer), 3) : '' }
  })
}

async function health(target: Target, service: string): Promise<CallReply> {
  const method = '/grpc.health.v1.Health/Check'
  const reply = await send(target, { method, frames: frame(bytes(1, service)) })
  if (reply.status === STATUS.UNIMPLEMENTED)
    throw new Inapplicable('the server does not implement grpc.health.v1')
  return reply
}

async function reflect(target: Target, request: Buffer): Promise<Buffer> {
  for (const version of ['v1', 'v1alpha']) {
    const method = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
    const reply = await send(target, { method, frames: frame(request) })
    if (reply.status !== STATUS.UNIMPLEMENTED) return messageOf(reply)
  }
  throw new Inapplicable('the server does not implement reflection')
}

export const points: Point[] = [
  {
    name: 'ServerLive, ServerReady and ModelReady return true',
    source: oipGrpc('Health'),
    level: 'required',
    expected: 'OK with true',
    async check(target) {
      for (const name of ['ServerLive', 'ServerReady'])
        assert.ok(isTrue(readFields(messageOf(await ask(target, name))), 1), name)
      const ready = await ask(target, 'ModelReady', nameRequest(target.model, target.version))
      assert.ok(isTrue(readFields(messageOf(ready)), 1), 'ModelReady')
    },
  },
  {
    name: 'ModelMetadata matches the metadata over HTTP',
    source: oipGrpc('Model Metadata'),
    level: 'required',
    expected: 'the same names of the model, inputs and outputs',
    async check(target) {
      const fields = readFields(
        messageOf(await ask(target, 'ModelMetadata', nameRequest(target.model))),
      )
      const names = (field: number) =>
        messagesOf(fields, field).map(tensor => textOf(readFields(tensor), 1))
      assert.deepEqual(
        [textOf(fields, 1), names(4), names(5)],
        [
          target.model,
          target.metadata.inputs.map(({ name }) => name),
          target.metadata.outputs.map(({ name }) => name),
        ],
      )
    },
  },
  {
    name: 'a request with raw contents gets each output once',
    source: oipGrpc('ModelInferRequest.raw_input_contents'),
    level: 'required',
    expected: 'OK with each output',
    async check(target) {
      const { outputs } = await answerTo(target, raw(target))
      assert.deepEqual(
        outputs.map(({ name }) => name).sort(),
        target.metadata.outputs.map(({ name }) => name).sort(),
      )
    },
  },
  {
    name: 'a request with typed contents gets each output once',
    source: oipGrpc('InferTensorContents'),
    level: 'required',
    expected: 'OK with each output',
    notApplicable: typedIn,
    async check(target) {
      const { outputs } = await answerTo(target, typed(target))
      assert.equal(outputs.length, target.metadata.outputs.length)
    },
  },
  {
    name: 'a request with raw contents gets raw contents',
    source: oipGrpc('raw_output_contents: no rule states when to use them'),
    level: 'stricter',
    expected: 'raw_output_contents',
    check: async target => assert.ok((await answerTo(target, raw(target))).isRaw),
  },
  {
    name: 'a request with typed contents gets typed contents',
    source: oipGrpc('raw_output_contents: no rule states when to use them'),
    level: 'stricter',
    expected: 'contents of each output',
    notApplicable: all(typedBoth, notEmpty),
    check: async target => assert.ok(!(await answerTo(target, typed(target))).isRaw),
  },
  {
    name: 'a response has either raw or typed contents, not both',
    source: oipGrpc('raw_output_contents: "must not be specified"'),
    level: 'required',
    expected: 'raw contents or typed contents',
    async check(target) {
      const calls = [raw(target), ...(isTyped(target) ? [typed(target)] : [])]
      for (const call of calls) {
        const { isRaw, hasContents } = await answerTo(target, call)
        assert.ok(!(isRaw && hasContents))
      }
    },
  },
  {
    name: 'raw and typed contents of the same values get the same outputs',
    source: oipGrpc('Tensor Data'),
    level: 'required',
    expected: 'the same values',
    notApplicable: all(typedBoth, ({ deterministic }) =>
      deterministic ? undefined : 'the model gives different outputs each time',
    ),
    async check(target) {
      const [one, other] = [
        await answerTo(target, raw(target)),
        await answerTo(target, typed(target)),
      ]
      assert.deepEqual(one.outputs, other.outputs)
    },
  },
  {
    name: 'over gRPC, the response has the id of the request, or no id',
    source: oip('Inference Response JSON Object', 'also applies to gRPC'),
    level: 'required',
    expected: 'the id of the request',
    async check(target) {
      const ids = [
        (await answerTo(target, { ...raw(target), id: 'naïve 日本' })).id,
        (await answerTo(target, raw(target))).id,
      ]
      assert.deepEqual(ids, ['naïve 日本', ''])
    },
  },
  {
    name: 'shapes may be written as unpacked repeated fields',
    source: 'protobuf, "Packed Repeated Fields": parsers must accept both forms',
    level: 'required',
    expected: 'OK',
    async check(target) {
      const { model, inputs, raw: contents = [] } = raw(target)
      const message = Buffer.concat([
        bytes(1, model),
        ...inputs.map(({ name, datatype, shape }) =>
          bytes(
            5,
            Buffer.concat([
              bytes(1, name),
              bytes(2, datatype),
              ...shape.map(size => number(3, size)),
            ]),
          ),
        ),
        ...contents.map(part => bytes(7, part)),
      ])
      messageOf(await ask(target, 'ModelInfer', message))
    },
  },
  {
    name: 'unknown fields of a message are ignored',
    source: 'protobuf, "Unknown Fields"',
    level: 'required',
    expected: 'OK',
    async check(target) {
      const unknown = Buffer.concat([bytes(999, 'x'), packed(998, [1, 2]), number(997, 5)])
      const message = Buffer.concat([unknown, inferRequest(raw(target))])
      messageOf(await ask(target, 'ModelInfer', message))
    },
  },
  {
    name: 'an unknown model gets NOT_FOUND',
    source: oipGrpc('"an error status"; gRPC defines the codes'),
    level: 'stricter',
    expected: 'NOT_FOUND',
    async check(target) {
      const model = `${target.model}-not`
      ends(await infer(target, { ...raw(target), model }), STATUS.NOT_FOUND)
      ends(await ask(target, 'ModelMetadata', nameRequest(model)), STATUS.NOT_FOUND)
    },
  },
  {
    name: 'a method that does not exist gets UNIMPLEMENTED',
    source: grpcDoc('statuscodes.md: "Unimplemented method"'),
    level: 'required',
    expected: 'UNIMPLEMENTED',
    check: async target => ends(await ask(target, 'NoSuchMethod'), STATUS.UNIMPLEMENTED),
  },
  refusal(
    'a request with both raw and typed contents',
    target => ({ ...typed(target), raw: raw(target).raw }),
    { notApplicable: all(typedIn, notEmpty) },
  ),
  refusal('a request with one raw tensor too many', target => ({
    ...raw(target),
    raw: [...(raw(target).raw ?? []), Buffer.alloc(4)],
  })),
  refusal('a raw tensor with one byte too many', target => ({
    ...raw(target),
    raw: (raw(target).raw ?? []).map(part => Buffer.concat([part, Buffer.alloc(1)])),
  })),
  refusal(
    'a tensor with contents in the field of another datatype',
    target => {
      const [input, ...others] = typed(target).inputs
      const datatype = input?.datatype === 'BYTES' ? 'FP64' : 'BYTES'
      return {
        ...raw(target),
        inputs: [{ ...input, datatype, data: ['x'] } as never, ...others],
        raw: [],
      }
    },
    { notApplicable: all(oneInput, notEmpty) },
  ),
  {
    name: 'an invalid protobuf message gets an error, and the connection stays open',
    source: grpcDoc('statuscodes.md: "Error parsing request proto"'),
    level: 'required',
    expected: 'an error, then OK',
    async check(target) {
      const reply = await ask(target, 'ModelInfer', Buffer.from([0x0a, 0xff, 0xff]))
      assert.notEqual(reply.status, STATUS.OK, show(reply))
      messageOf(await ask(target, 'ServerLive'))
    },
  },
  {
    name: 'a call that ends in the middle of a message gets an error',
    source: grpcDoc('PROTOCOL-HTTP2.md: Length-Prefixed-Message'),
    level: 'required',
    expected: 'an error',
    async check(target) {
      const frames = frame(inferRequest(raw(target))).subarray(0, -1)
      const reply = await send(target, { method: methodOf('ModelInfer'), frames })
      assert.notEqual(reply.status, STATUS.OK, show(reply))
    },
  },
  ...compression,
  {
    name: 'an unknown encoding gets UNIMPLEMENTED',
    source: grpcDoc('compression.md: "must return UNIMPLEMENTED"'),
    level: 'required',
    expected: 'UNIMPLEMENTED',
    async check(target) {
      const reply = await send(target, {
        method: methodOf('ModelInfer'),
        frames: frame(inferRequest(raw(target)), true),
        metadata: { 'grpc-encoding': 'no-such-encoding' },
      })
      ends(reply, STATUS.UNIMPLEMENTED)
    },
  },
  {
    name: 'a compressed message without a declared encoding gets INTERNAL',
    source: grpcDoc('compression.md: "must fail with INTERNAL"'),
    level: 'stricter',
    expected: 'INTERNAL',
    async check(target) {
      const frames = frame(gzipSync(inferRequest(raw(target))), true)
      ends(await send(target, { method: methodOf('ModelInfer'), frames }), STATUS.INTERNAL)
    },
  },
  {
    name: 'a message larger than the limit gets RESOURCE_EXHAUSTED, and the connection stays open',
    source: grpcDoc('statuscodes.md: "message larger than configured"'),
    level: 'required',
    expected: 'RESOURCE_EXHAUSTED, then OK',
    notApplicable: ({ limits }) =>
      limits === undefined ? 'the suite does not know the maximum body size' : undefined,
    async check(target) {
      const frames = frame(Buffer.alloc((target.limits?.maxBodyBytes ?? 0) + 1))
      ends(
        await send(target, { method: methodOf('ModelInfer'), frames }),
        STATUS.RESOURCE_EXHAUSTED,
      )
      messageOf(await ask(target, 'ServerLive'))
    },
  },
  {
    name: 'an expired deadline gets DEADLINE_EXCEEDED',
    source: grpcDoc('PROTOCOL-HTTP2.md: Timeout'),
    level: 'stricter',
    expected: 'DEADLINE_EXCEEDED',
    async check(target) {
      const reply = await send(target, {
        method: methodOf('ModelInfer'),
        frames: frame(inferRequest(raw(target))),
        metadata: { 'grpc-timeout': '1n' },
      })
      ends(reply, STATUS.DEADLINE_EXCEEDED)
    },
  },
  {
    name: 'a long deadline is accepted',
    source: grpcDoc('PROTOCOL-HTTP2.md: Timeout with at most eight digits'),
    level: 'required',
    expected: 'OK',
    async check(target) {
      const reply = await send(target, {
        method: methodOf('ModelInfer'),
        frames: frame(inferRequest(raw(target))),
        metadata: { 'grpc-timeout': '99999999S' },
      })
      messageOf(reply)
    },
  },
  {
    name: 'cancelled calls do not affect later calls',
    source: grpcDoc('PROTOCOL-HTTP2.md: RST_STREAM'),
    level: 'required',
    expected: 'OK',
    async check(target) {
      const frames = frame(inferRequest(raw(target)))
      const method = methodOf('ModelInfer')
      for (let i = 0; i < 5; i++) await send(target, { method, frames, cancels: true })
      messageOf(await infer(target, raw(target)))
    },
  },
  {
    name: 'a stream returns one response per request, in order',
    source: triton('ModelStreamInfer'),
    level: 'required',
    expected: 'one response for each id',
    async check(target) {
      const answers = await stream(
        target,
        ['1', '2', '3'].map(id => ({ ...raw(target), id })),
      )
      assert.deepEqual(
        answers.map(({ id }) => id),
        ['1', '2', '3'],
      )
    },
  },
  {
    name: 'a failing request in a stream gets an error_message, and the stream continues',
    source: triton('ModelStreamInferResponse.error_message'),
    level: 'required',
    expected: 'a response, an error, a response',
    async check(target) {
      const wrong = { ...raw(target), raw: [], inputs: [] }
      const answers = await stream(target, [raw(target), wrong, raw(target)])
      assert.deepEqual(
        answers.map(({ error }) => error !== ''),
        [false, true, false],
      )
    },
  },
  {
    name: 'the health check of the server returns SERVING',
    source: 'grpc.health.v1',
    level: 'required',
    expected: 'SERVING',
    async check(target) {
      const fields = readFields(messageOf(await health(target, '')))
      assert.equal(fields.get(1)?.[0], 1n)
    },
  },
  {
    name: 'the health check of an unknown service returns NOT_FOUND',
    source: 'grpc.health.v1: "NOT_FOUND"',
    level: 'required',
    expected: 'NOT_FOUND',
    check: async target => ends(await health(target, 'no.such.Service'), STATUS.NOT_FOUND),
  },
  {
    name: 'reflection lists the service',
    source: 'grpc.reflection.v1',
    level: 'required',
    expected: 'inference.GRPCInferenceService',
    async check(target) {
      const fields = readFields(await reflect(target, bytes(7, '')))
      const [list] = messagesOf(fields, 6)
      const names = messagesOf(readFields(list ?? Buffer.alloc(0)), 1).map(service =>
        textOf(readFields(service), 1),
      )
      assert.ok(names.includes('inference.GRPCInferenceService'), String(names))
    },
  },
  {
    name: 'reflection describes the service',
    source: 'grpc.reflection.v1',
    level: 'required',
    expected: 'a file descriptor with ModelInfer',
    async check(target) {
      const fields = readFields(await reflect(target, bytes(4, 'inference.GRPCInferenceService')))
      const [described] = messagesOf(fields, 4)
      assert.match(String(described), /ModelInfer/)
    },
  },
]
