import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { encode, frame } from '../test/grpc/client.ts'
import { rawRequest } from '../test/grpc/messages.ts'
import { type Contender, CPU, P50, P99, PER_SECOND, underLoad, type Workload } from './contender.ts'
import { copyOf, writeFasterModel } from './models/copies.ts'
import { closedCalls } from './overload/grpc.ts'
import { binaryOf, jsonOf, type Target } from './requests.ts'
import { FURNACE, IRIS, LIMIT, ours, PEERS, type Subject } from './subjects.ts'

/* Models other than iris, over each protocol that a peer supports. */

const IN_FLIGHT = 64

interface OtherModel {
  /** The part of a workload's name that identifies the model. */
  readonly label: string
  readonly title: string
  readonly folder: string
  readonly name: string
  readonly input: { readonly name: string; readonly shape: number[]; readonly data: number[] }
  /** The output's expected first elements are `begins`. */
  readonly output: { readonly name: string; readonly begins: readonly number[] }
  readonly outputBytes: number
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

function sampleOf(folder: string): OtherModel['input'] {
  const { sample } = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'))
  const [[name, rows]] = Object.entries(sample) as [[string, unknown[]]]
  const shape: number[] = []
  for (let value: unknown = rows; Array.isArray(value); value = value[0]) shape.push(value.length)
  return { name, shape, data: rows.flat(Number.POSITIVE_INFINITY) as number[] }
}

/** The digits model without its transform, which needs a package. */
const DIGITS = copyOf(here('../examples/digits/model'))
const TRANSFORMER = here('models/transformer')
const BYTES_TEXT = 4 + 'setosa'.length

const iris = (): OtherModel => ({
  label: 'iris',
  title: 'iris',
  folder: IRIS,
  name: 'iris-classifier',
  input: { name: 'input', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] },
  output: { name: 'probabilities', begins: [0.97868] },
  outputBytes: 3 * 4 + BYTES_TEXT,
})

const digits = (): OtherModel => ({
  label: 'digits',
  title: 'digits, 64 numbers per row',
  folder: DIGITS,
  name: 'digits',
  input: sampleOf(DIGITS),
  output: { name: 'probabilities', begins: [0.99206] },
  outputBytes: 8 + 10 * 4,
})

const transformer = (): OtherModel => ({
  label: 'transformer',
  title: 'a transformer of two layers, 256 numbers per row',
  folder: TRANSFORMER,
  name: 'transformer',
  input: sampleOf(TRANSFORMER),
  output: { name: 'probabilities', begins: [0.08096, 0.59193, 0.05678, 0.27033] },
  outputBytes: 4 * 4,
})

const slow5 = (): OtherModel => ({
  label: 'slow-5',
  title: 'a model of about 5 ms per run',
  folder: writeFasterModel(),
  name: 'slow',
  input: { name: 'x', shape: [1, 2], data: [1, 1] },
  output: { name: 'y', begins: [1, 1] },
  outputBytes: 2 * 4,
})

const jsonFor = ({ input, output }: OtherModel): Target =>
  jsonOf([{ ...input, datatype: 'FP32' }], outputs => {
    const data = outputs.find(({ name }) => name === output.name)?.data.flat() as number[]
    return output.begins.every((value, i) => Math.abs((data[i] as number) - value) < 1e-4)
  })

const withModel = (subject: Subject, { folder, name }: OtherModel, grpcPort = ''): Subject => ({
  ...subject,
  env: {
    ...subject.env,
    MODEL_DIR: folder,
    MODEL_NAME: name,
    ...(grpcPort === '' ? {} : { GRPC_PORT: grpcPort }),
  },
  path: `/v2/models/${name}/infer`,
})

/** @param port the gRPC port, if it differs from the HTTP port */
function overGrpc(subject: Subject, model: OtherModel, port?: number): Contender {
  const { name, input } = model
  const call = {
    path: '/inference.GRPCInferenceService/ModelInfer',
    timeout: '60S',
    message: frame(encode('ModelInfer', rawRequest(name, [{ ...input, datatype: 'FP32' }]))),
  }
  return {
    name: `${subject.name}, gRPC`,
    subject,
    first: jsonFor(model),
    async measure({ server, seconds }) {
      const perSecond = await closedCalls(port ?? server.port, call, IN_FLIGHT, seconds)
      if (perSecond === 0) throw new Error('no call succeeded')
      return { [PER_SECOND.name]: perSecond }
    },
  }
}

const overJson = (subject: Subject, target: Target): Contender => ({
  ...underLoad(subject, target, IN_FLIGHT),
  first: target,
})

/** This server over HTTP is the reference. */
function workload(model: OtherModel, prefix: string, others: readonly Contender[]): Workload {
  return {
    name: `${prefix}${model.label}`,
    title: `One row as JSON, 64 in flight: ${model.title}`,
    metrics: [PER_SECOND, P50, P99, CPU],
    contenders: [overJson(withModel(ours(), model), jsonFor(model)), ...others],
  }
}

function besidePeers(model: OtherModel): Workload {
  const first = jsonFor(model)
  const own = withModel(ours(), model)
  const binary = (subject: Subject): Contender => ({
    ...underLoad(
      subject,
      binaryOf(model.input, model.outputBytes),
      IN_FLIGHT,
      `${subject.name}, binary`,
    ),
    first,
  })
  return workload(model, 'peers-', [
    binary(own),
    overGrpc(own, model),
    ...PEERS.flatMap((peer, index) => {
      const port = FIRST_GRPC_PORT + index
      const subject = withModel(peer, model, String(port))
      return [
        overJson(subject, first),
        ...(peer.name === 'PyTriton' ? [binary(subject)] : []),
        ...(peer.name === 'FastAPI' ? [] : [overGrpc(subject, model, port)]),
      ]
    }),
  ])
}

const FIRST_GRPC_PORT = 18_001

function besideNative(model: OtherModel): Workload {
  return workload(model, 'native-', [
    overJson(withModel(LIMIT, model), jsonFor(model)),
    ...FURNACE.map(subject => overJson(withModel(subject, model), jsonFor(forFurnace(model)))),
  ])
}

/** furnace-server uses its own names for a single input or output. */
const forFurnace = (model: OtherModel): OtherModel =>
  model.label === 'digits'
    ? model
    : {
        ...model,
        input: { ...model.input, name: 'input' },
        output: { ...model.output, name: 'output' },
      }

export const OTHER_MODELS_WITH_PEERS = [iris(), digits(), transformer(), slow5()].map(besidePeers)
export const OTHER_MODELS_WITH_NATIVE = [digits(), transformer(), slow5()].map(besideNative)
