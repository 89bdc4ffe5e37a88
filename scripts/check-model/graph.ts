import { type Field, readFields } from '../../function/inference/onnx-file.ts'

/*
 * What an ONNX file says of itself, read without ONNX Runtime, which tells only the first thing it does not like. Field numbers are
 * those of onnx.proto.
 */

/** An operator the graph uses, in nested graphs (If, Loop, Scan) and in the file's own functions too. */
export interface Operator {
  /** `ai.onnx` for ONNX's own. */
  readonly domain: string
  readonly name: string
  /** Of the domain's operator set; undefined where the file does not import it. */
  readonly opset: number | undefined
  readonly count: number
}

/** A graph input or output, with its type in ONNX's words: tensor(float), sequence(map(int64,tensor(float))). */
export interface GraphValue {
  readonly name: string
  readonly type: string
}

/** A file beside the model that holds weights. */
export interface ExternalFile {
  /** As the model names it, relative to its own folder. */
  readonly location: string
  readonly tensors: number
  /** The size it must have at least. */
  readonly bytes: number
}

export interface OnnxFile {
  readonly irVersion: number | undefined
  readonly producer: string
  /** Version by domain. */
  readonly opsets: Readonly<Record<string, number>>
  readonly operators: readonly Operator[]
  readonly outputs: readonly GraphValue[]
  readonly inputs: readonly GraphValue[]
  readonly externalFiles: readonly ExternalFile[]
}

/**
 * @param file the bytes of a .onnx file
 * @throws {Error} of one line, when they are no ONNX model
 */
export function readOnnxFile(file: Buffer): OnnxFile {
  if (file.length === 0) throw new Error('the file is empty')
  if (isLfsPointer(file)) throw new Error('the file is a Git LFS pointer, not the model')
  let model: Message
  try {
    model = read(file)
    const graph = message(model, 7)
    if (graph === undefined) throw new Error('it holds no graph')
    const functions = messages(model, 25)
    const opsets = readOpsets(messages(model, 8))
    const counted = new Map<string, Operator>()
    const external = new Map<string, ExternalFile>()
    countOperators(graph, opsets, counted, external)
    for (const own of functions) {
      // A function's nodes are its field 7, and its operator sets its field 9; a graph's nodes are field 1.
      countNodes(
        messages(own, 7),
        { ...opsets, ...readOpsets(messages(own, 9)) },
        counted,
        external,
      )
    }
    for (const own of functions) counted.delete(`${domainName(text(own, 10))}\n${text(own, 1)}`)
    return {
      irVersion: number(model, 1),
      producer: [text(model, 2), text(model, 3)].filter(part => part !== '').join(' '),
      opsets,
      operators: [...counted.values()].sort((a, b) => b.count - a.count),
      inputs: withoutWeights(graph, messages(graph, 11)).map(describe),
      outputs: messages(graph, 12).map(describe),
      externalFiles: [...external.values()],
    }
  } catch (error) {
    throw new Error(
      `the file is no ONNX model: ${error instanceof RangeError ? 'its graphs are nested too deeply' : (error as Error).message}`,
    )
  }
}

/** What Git holds in a large file's place, until `git lfs pull` (git-lfs/docs/spec.md). */
export const isLfsPointer = (file: Buffer) =>
  file.subarray(0, 40).toString('latin1').startsWith('version https://git-lfs.github.com/')

type Message = ReadonlyMap<number, readonly Field[]>

function read(bytes: Buffer): Message {
  const fields = new Map<number, Field[]>()
  for (const field of readFields(bytes)) {
    const same = fields.get(field.number)
    if (same === undefined) fields.set(field.number, [field])
    else same.push(field)
  }
  return fields
}

const bytesOf = (from: Message, field: number) =>
  (from.get(field) ?? []).flatMap(({ bytes }) => bytes ?? [])
const messages = (from: Message, field: number): Message[] => bytesOf(from, field).map(read)
const message = (from: Message, field: number): Message | undefined => messages(from, field).at(-1)
const text = (from: Message, field: number) => bytesOf(from, field).at(-1)?.toString('utf8') ?? ''
const number = (from: Message, field: number) => from.get(field)?.at(-1)?.value

const domainName = (domain: string) => (domain === '' ? 'ai.onnx' : domain)

const readOpsets = (imports: readonly Message[]): Record<string, number> =>
  Object.fromEntries(imports.map(opset => [domainName(text(opset, 1)), number(opset, 2) ?? 0]))

function countOperators(
  graph: Message,
  opsets: Readonly<Record<string, number>>,
  counted: Map<string, Operator>,
  external: Map<string, ExternalFile>,
): void {
  for (const tensor of [...messages(graph, 5), ...messages(graph, 15).flatMap(sparseParts)])
    noteExternal(tensor, external)
  countNodes(messages(graph, 1), opsets, counted, external)
}

function countNodes(
  nodes: readonly Message[],
  opsets: Readonly<Record<string, number>>,
  counted: Map<string, Operator>,
  external: Map<string, ExternalFile>,
): void {
  for (const node of nodes) {
    const [domain, name] = [domainName(text(node, 7)), text(node, 4)]
    const key = `${domain}\n${name}`
    counted.set(key, {
      domain,
      name,
      opset: opsets[domain],
      count: (counted.get(key)?.count ?? 0) + 1,
    })
    for (const attribute of messages(node, 5)) {
      for (const tensor of [...messages(attribute, 5), ...messages(attribute, 10)])
        noteExternal(tensor, external)
      for (const graph of [...messages(attribute, 6), ...messages(attribute, 11)])
        countOperators(graph, opsets, counted, external)
    }
  }
}

const sparseParts = (tensor: Message) => [...messages(tensor, 1), ...messages(tensor, 2)]

/** TensorProto.data_location 14 is 1 where the data is in a file of its own, named by TensorProto.external_data 13. */
function noteExternal(tensor: Message, external: Map<string, ExternalFile>): void {
  if (number(tensor, 14) !== 1) return
  const entries = Object.fromEntries(
    messages(tensor, 13).map(entry => [text(entry, 1), text(entry, 2)]),
  )
  const location = entries.location ?? ''
  const known = external.get(location)
  const end = Number(entries.offset ?? 0) + Number(entries.length ?? 0)
  external.set(location, {
    location,
    tensors: (known?.tensors ?? 0) + 1,
    bytes: Math.max(known?.bytes ?? 0, end),
  })
}

/** Old files list their weights among the graph's inputs. */
function withoutWeights(graph: Message, inputs: readonly Message[]): Message[] {
  const weights = new Set(messages(graph, 5).map(tensor => text(tensor, 8)))
  return inputs.filter(input => !weights.has(text(input, 1)))
}

const describe = (value: Message): GraphValue => ({
  name: text(value, 1),
  type: typeText(message(value, 2)),
})

/** TensorProto.DataType, by its number. */
const ELEMENTS = [
  ...[
    'undefined',
    'float',
    'uint8',
    'int8',
    'uint16',
    'int16',
    'int32',
    'int64',
    'string',
    'bool',
    'float16',
    'double',
  ],
  ...[
    'uint32',
    'uint64',
    'complex64',
    'complex128',
    'bfloat16',
    'float8e4m3fn',
    'float8e4m3fnuz',
    'float8e5m2',
    'float8e5m2fnuz',
  ],
  ...['uint4', 'int4', 'float4e2m1'],
]
const element = (code: number | undefined) => ELEMENTS[code ?? 0] ?? `type ${code}`

function typeText(type: Message | undefined): string {
  if (type === undefined) return 'unknown'
  const of = (field: number) => message(type, field)
  const [tensor, sequence, map, sparse, optional] = [of(1), of(4), of(5), of(8), of(9)]
  if (tensor !== undefined) return `tensor(${element(number(tensor, 1))})`
  if (sequence !== undefined) return `sequence(${typeText(message(sequence, 1))})`
  if (map !== undefined) return `map(${element(number(map, 1))},${typeText(message(map, 2))})`
  if (sparse !== undefined) return `sparse_tensor(${element(number(sparse, 1))})`
  if (optional !== undefined) return `optional(${typeText(message(optional, 1))})`
  return 'unknown'
}
