import { isDeepStrictEqual } from 'node:util'
import type { WrittenTensor } from '../../tensors.ts'

type Value = number | bigint | string | boolean

const LIKE: Readonly<Record<string, (bytes: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  BOOL: bytes => new Uint8Array(bytes),
  UINT8: bytes => new Uint8Array(bytes),
  UINT16: bytes => new Uint16Array(bytes),
  UINT32: bytes => new Uint32Array(bytes),
  UINT64: bytes => new BigUint64Array(bytes),
  INT8: bytes => new Int8Array(bytes),
  INT16: bytes => new Int16Array(bytes),
  INT32: bytes => new Int32Array(bytes),
  INT64: bytes => new BigInt64Array(bytes),
  FP16: bytes => new Float16Array(bytes),
  FP32: bytes => new Float32Array(bytes),
  FP64: bytes => new Float64Array(bytes),
}

const FLOATS = new Set(['FP16', 'FP32', 'FP64'])

/** BOOL elements are 0 and 1. */
export function elements(datatype: string, bytes: Buffer): readonly Value[] {
  if (datatype === 'BYTES') return texts(bytes)
  // A typed array must begin at a multiple of its element size, so copy the bytes.
  const read = LIKE[datatype]?.(new Uint8Array(bytes).buffer)
  if (read === undefined) throw new Error(`the datatype ${datatype} is unknown`)
  return Array.from(read)
}

function texts(bytes: Buffer): string[] {
  const read: string[] = []
  for (let at = 0; at < bytes.byteLength; ) {
    const length = bytes.readUInt32LE(at)
    read.push(bytes.toString('utf8', at + 4, at + 4 + length))
    at += 4 + length
  }
  return read
}

export const recorded = (tensor: WrittenTensor): readonly Value[] =>
  tensor.data ?? elements(tensor.datatype, Buffer.from(tensor.data_base64 ?? '', 'base64'))

/** NaN and infinities are strings. */
export function asJson(tensor: WrittenTensor) {
  const { name, datatype, shape } = tensor
  const data = recorded(tensor).map(value => {
    if (datatype === 'BOOL') return value === 1
    return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
  })
  return { name, datatype, shape, data }
}

export const fromJson = (datatype: string, data: readonly Value[]): readonly Value[] =>
  data.map(value => {
    if (datatype === 'BYTES') return value
    if (datatype.endsWith('INT64')) return BigInt(value as number)
    return Number(value)
  })

export interface Output {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly values: readonly Value[]
}

export interface Tolerance {
  readonly rtol: number
  readonly atol: number
}

export function difference(
  outputs: readonly Output[],
  expected: readonly WrittenTensor[],
  tolerance: Tolerance,
): string | undefined {
  for (const tensor of expected) {
    const output = outputs.find(({ name }) => name === tensor.name)
    if (output === undefined) return `no output "${tensor.name}"`
    const { datatype, shape } = output
    if (datatype !== tensor.datatype) return `"${tensor.name}" is ${datatype}`
    if (!isDeepStrictEqual(shape, tensor.shape)) return `"${tensor.name}" has shape [${shape}]`
    const values = recorded(tensor)
    if (output.values.length !== values.length)
      return `"${tensor.name}" has ${output.values.length} elements`
    const isSame = FLOATS.has(datatype) ? isClose(tolerance) : Object.is
    const at = values.findIndex((value, i) => !isSame(output.values[i], value))
    if (at >= 0) return `"${tensor.name}"[${at}] is ${output.values[at]}, not ${values[at]}`
  }
  return undefined
}

/** The formula of numpy's allclose. */
const isClose =
  ({ rtol, atol }: Tolerance) =>
  (value: unknown, expected: unknown) =>
    Object.is(value, expected) ||
    value === expected ||
    Math.abs(Number(value) - Number(expected)) <= atol + rtol * Math.abs(Number(expected))
