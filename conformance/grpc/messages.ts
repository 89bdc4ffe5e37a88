import { fromBytes, rowOf, toBytes } from '../datatypes.ts'
import type { JsonTensor, Tensor, Value } from '../point.ts'
import {
  bytes,
  double,
  type Fields,
  integersOf,
  messagesOf,
  number,
  packed,
  readFields,
  textOf,
} from './protobuf.ts'

/**
 * Reads and writes the messages of open_inference_grpc.proto (commit d49cc23) by their field
 * numbers.
 */

const SERVICE = '/inference.GRPCInferenceService'
export const methodOf = (name: string) => `${SERVICE}/${name}`

/** proto3 omits an empty string. */
const given = (field: number, text: string) => (text === '' ? [] : [bytes(field, text)])

export const nameRequest = (name: string, version = '') =>
  Buffer.concat([...given(1, name), ...given(2, version)])

/** The field number of each datatype in InferTensorContents, which has no field for FP16. */
const CONTENTS: Readonly<Record<string, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
}

export const hasContents = (datatype: string) => Object.hasOwn(CONTENTS, datatype)

export type Parameters = Readonly<Record<string, boolean | number | bigint | string>>

/** `data` becomes typed contents. */
export interface InferInput {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly (number | bigint)[]
  readonly parameters?: Parameters | undefined
  readonly data?: readonly Value[] | undefined
}

export interface InferCall {
  readonly model: string
  readonly version?: string | undefined
  readonly id?: string | undefined
  readonly parameters?: Parameters | undefined
  /** An input without `data` has its bytes in `raw`. */
  readonly inputs: readonly InferInput[]
  readonly raw?: readonly Uint8Array[] | undefined
  readonly outputs?: readonly { readonly name: string; readonly parameters?: Parameters }[]
}

export function inferRequest({
  model,
  version = '',
  id = '',
  parameters,
  inputs,
  raw = [],
  outputs = [],
}: InferCall): Buffer {
  return Buffer.concat([
    nameRequest(model, version),
    ...given(3, id),
    ...parameterFields(4, parameters),
    ...inputs.map(({ name, datatype, shape, parameters, data }) =>
      bytes(
        5,
        Buffer.concat([
          bytes(1, name),
          bytes(2, datatype),
          packed(3, shape),
          ...parameterFields(4, parameters),
          ...(data === undefined ? [] : [bytes(5, contentsOf(datatype, data))]),
        ]),
      ),
    ),
    ...outputs.map(({ name, parameters }) =>
      bytes(6, Buffer.concat([bytes(1, name), ...parameterFields(2, parameters)])),
    ),
    ...raw.map(part => bytes(7, part)),
  ])
}

function* parameterFields(field: number, parameters: Parameters = {}): Generator<Buffer> {
  for (const [name, value] of Object.entries(parameters))
    yield bytes(field, Buffer.concat([bytes(1, name), bytes(2, parameter(value))]))
}

function parameter(value: Parameters[string]): Buffer {
  if (typeof value === 'boolean') return number(1, value)
  if (typeof value === 'string') return bytes(3, value)
  return Number.isInteger(value) || typeof value === 'bigint'
    ? number(2, value as number)
    : double(4, value as number)
}

export function contentsOf(datatype: string, data: readonly Value[]): Buffer {
  const field = CONTENTS[datatype] as number
  if (datatype === 'BYTES') return Buffer.concat(data.map(text => bytes(field, text as string)))
  if (datatype.startsWith('FP'))
    return data.length === 0 ? Buffer.alloc(0) : bytes(field, toBytes(datatype, data))
  return packed(field, data as readonly (number | bigint | boolean)[])
}

export interface InferAnswer {
  readonly model: string
  readonly version: string
  readonly id: string
  readonly outputs: readonly Tensor[]
  readonly isRaw: boolean
  readonly hasContents: boolean
}

export function readAnswer(message: Uint8Array): InferAnswer {
  const fields = readFields(message)
  const raw = messagesOf(fields, 6)
  const outputs = messagesOf(fields, 5).map(output => readFields(output))
  return {
    model: textOf(fields, 1),
    version: textOf(fields, 2),
    id: textOf(fields, 3),
    isRaw: raw.length > 0,
    hasContents: outputs.some(output => messagesOf(output, 5).length > 0),
    outputs: outputs.map((output, i) => {
      const { name, datatype, shape } = tensorOf(output)
      const data =
        raw[i] === undefined
          ? readContents(datatype, readFields(Buffer.concat(messagesOf(output, 5))))
          : fromBytes(datatype, raw[i])
      return { name, datatype, shape, data }
    }),
  }
}

/** Several messages have the name, datatype and shape in fields 1 to 3. */
export const tensorOf = (fields: Fields): JsonTensor => ({
  name: textOf(fields, 1),
  datatype: textOf(fields, 2),
  shape: integersOf(fields, 3).map(Number),
})

function readContents(datatype: string, contents: Fields): Value[] {
  const field = CONTENTS[datatype] ?? 0
  if (datatype === 'BYTES') return messagesOf(contents, field).map(String)
  if (datatype.startsWith('FP'))
    return fromBytes(datatype, Buffer.concat(messagesOf(contents, field)))
  const integers = integersOf(contents, field)
  if (datatype === 'BOOL') return integers.map(integer => integer !== 0n)
  if (datatype === 'UINT64') return integers.map(integer => BigInt.asUintN(64, integer))
  return rowOf(datatype).bytes === 8 ? integers : integers.map(Number)
}
