/*
 * Writes small ONNX models, so that each test shows its graph. The field numbers are those of
 * onnx.proto.
 */

/** TensorProto.DataType. */
const TYPES = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP64: 11,
} as const
export type Type = keyof typeof TYPES

export interface Declared {
  readonly type: Type
  readonly dims: readonly (number | string)[]
  /** The output is that of a ZipMap: a list of maps from keys of this type to FP32. */
  readonly mapsFrom?: Type
}

/** An initialiser or an attribute. */
export interface Constant {
  readonly type: Type
  readonly shape: readonly number[]
  readonly values: readonly (number | string)[]
}

export interface WrittenNode {
  readonly operator: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly domain?: string
}

/** Numbers are integers; use {@link Float} for floating-point numbers. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | Float
  | Constant
  | WrittenGraph
  | Reference

export interface Float {
  readonly float: number | readonly number[]
}

/** A function's node refers to an attribute of the function's call. */
export interface Reference {
  readonly reference: string
}

export interface WrittenGraph {
  readonly nodes: readonly WrittenNode[]
  readonly inputs: Readonly<Record<string, Declared>>
  readonly outputs: Readonly<Record<string, Declared>>
  readonly constants?: Readonly<Record<string, Constant>>
}

export interface WrittenModel extends WrittenGraph {
  /** The opset of ONNX's own domain, or the opsets by domain. */
  readonly opset: number | Readonly<Record<string, number>>
  readonly functions?: readonly WrittenFunction[]
}

export interface WrittenFunction {
  readonly name: string
  readonly domain: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: readonly string[]
  readonly opset: number
  readonly nodes: readonly WrittenNode[]
}

export function writeModel({ opset, functions = [], ...graph }: WrittenModel): Buffer {
  const opsets = typeof opset === 'number' ? { '': opset } : opset
  return Buffer.concat([
    integer(1, 10),
    message(7, writeGraph(graph)),
    ...Object.entries(opsets).map(([domain, version]) => message(8, writeOpset(domain, version))),
    ...functions.map(own => message(25, writeFunction(own))),
  ])
}

const writeOpset = (domain: string, version: number) =>
  Buffer.concat([text(1, domain), integer(2, version)])

function writeFunction(own: WrittenFunction): Buffer {
  return Buffer.concat([
    text(1, own.name),
    ...own.inputs.map(name => text(4, name)),
    ...own.outputs.map(name => text(5, name)),
    ...(own.attributes ?? []).map(name => text(6, name)),
    ...own.nodes.map(node => message(7, writeNode(node))),
    message(9, writeOpset('', own.opset)),
    text(10, own.domain),
  ])
}

function writeGraph({ nodes, inputs, outputs, constants = {} }: WrittenGraph): Buffer {
  const declared = (field: number, tensors: WrittenGraph['inputs']) =>
    Object.entries(tensors).map(([name, tensor]) => message(field, writeDeclared(name, tensor)))
  return Buffer.concat([
    ...nodes.map(node => message(1, writeNode(node))),
    text(2, 'graph'),
    ...Object.entries(constants).map(([name, tensor]) => message(5, writeTensor(tensor, name))),
    ...declared(11, inputs),
    ...declared(12, outputs),
  ])
}

function writeNode({
  operator,
  inputs,
  outputs,
  attributes = {},
  domain = '',
}: WrittenNode): Buffer {
  return Buffer.concat([
    ...inputs.map(name => text(1, name)),
    ...outputs.map(name => text(2, name)),
    text(3, `${operator} of ${outputs.join()}`),
    text(4, operator),
    ...Object.entries(attributes).map(([name, value]) => message(5, writeAttribute(name, value))),
    text(7, domain),
  ])
}

/** AttributeProto.AttributeType. */
const KINDS = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8 }

function writeAttribute(name: string, value: AttributeValue): Buffer {
  const [kind, fields] = attributeFields(value)
  return Buffer.concat([text(1, name), ...fields, integer(20, kind)])
}

function attributeFields(value: AttributeValue): [kind: number, fields: Buffer[]] {
  // proto3 writers omit the value 0.
  if (typeof value === 'number') return [KINDS.int, value === 0 ? [] : [integer(3, value)]]
  if (typeof value === 'string') return [KINDS.string, [text(4, value)]]
  if (isList(value)) {
    if (typeof value[0] === 'string') return [KINDS.strings, value.map(one => text(9, String(one)))]
    return [KINDS.ints, value.map(one => integer(8, Number(one)))]
  }
  if ('reference' in value) return [KINDS.int, [text(21, value.reference)]]
  if ('nodes' in value) return [KINDS.graph, [message(6, writeGraph(value))]]
  if ('shape' in value) return [KINDS.tensor, [message(5, writeTensor(value))]]
  if (typeof value.float === 'number') return [KINDS.float, [float(2, value.float)]]
  return [KINDS.floats, value.float.map(one => float(7, one))]
}

const isList = (value: AttributeValue): value is readonly number[] | readonly string[] =>
  Array.isArray(value)

function writeTensor({ type, shape, values }: Constant, name = ''): Buffer {
  const data =
    type === 'BYTES'
      ? values.map(value => text(6, String(value)))
      : [message(9, Buffer.concat(values.map(value => raw(type, Number(value)))))]
  const dims = shape.map(size => integer(1, size))
  return Buffer.concat([...dims, integer(2, TYPES[type]), ...data, text(8, name)])
}

function raw(type: Type, value: number): Buffer {
  const bytes = Buffer.alloc({ FP64: 8, INT64: 8, FP32: 4, INT32: 4 }[type as 'FP64'] ?? 1)
  if (type === 'FP32') bytes.writeFloatLE(value)
  else if (type === 'FP64') bytes.writeDoubleLE(value)
  else if (type === 'INT64') bytes.writeBigInt64LE(BigInt(value))
  else if (type === 'INT32') bytes.writeInt32LE(value)
  else if (type === 'INT8') bytes.writeInt8(value)
  else bytes.writeUInt8(value)
  return bytes
}

function writeDeclared(name: string, { type, dims, mapsFrom }: Declared): Buffer {
  if (mapsFrom !== undefined) {
    const value = message(2, message(1, integer(1, TYPES.FP32)))
    const map = message(5, Buffer.concat([integer(1, TYPES[mapsFrom]), value]))
    return Buffer.concat([text(1, name), message(2, message(4, message(1, map)))])
  }
  const shape = dims.map(dim =>
    message(1, typeof dim === 'number' ? integer(1, dim) : text(2, dim)),
  )
  const tensor = Buffer.concat([integer(1, TYPES[type]), message(2, Buffer.concat(shape))])
  return Buffer.concat([text(1, name), message(2, message(1, tensor))])
}

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Buffer.from([...bytes, Number(rest)])
}

const tag = (field: number, wireType: number) => varint(BigInt(field * 8 + wireType))
export const integer = (field: number, value: number) =>
  Buffer.concat([tag(field, 0), varint(BigInt(value))])
export const message = (field: number, bytes: Buffer) =>
  Buffer.concat([tag(field, 2), varint(BigInt(bytes.length)), bytes])
export const text = (field: number, value: string) => message(field, Buffer.from(value))

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return Buffer.concat([tag(field, 5), bytes])
}
