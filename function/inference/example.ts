import { type Datatype, rowOf } from '../protocol/datatypes.ts'
import { decodeParsedRequest } from '../protocol/decode.ts'
import {
  elementCount,
  type Signature,
  type Tensor,
  type TensorMetadata,
} from '../protocol/tensor.ts'

/**
 * Inputs that fit the model: model.json's sample where there is one, else zeros and empty strings of the smallest shape.
 * @throws {BadRequest} when the sample does not fit
 */
export function exampleInputs(
  signature: Signature,
  sample: Readonly<Record<string, unknown>> | undefined,
): readonly Tensor[] {
  if (sample === undefined) return signature.inputs.map(zeros)
  const inputs = Object.entries(sample).map(([name, data]) => ({
    name,
    shape: shapeOf(data),
    datatype: signature.inputs.find(input => input.name === name)?.datatype,
    data: Array.isArray(data) ? data : [data],
  }))
  const value = { inputs, outputs: signature.outputs.map(binaryOutput) }
  return decodeParsedRequest({ value, exact: () => value }, signature).inputs
}

/** The example with other values, for telling whether rows depend on each other: equal rows would hide that they do. */
export function variedInputs(inputs: readonly Tensor[]): readonly Tensor[] {
  return inputs.map(tensor => {
    const data = rowOf(tensor.datatype).allocate(tensor.data.length)
    const vary = VARIATION[tensor.datatype]
    for (let i = 0; i < data.length; i++) data[i] = vary(tensor.data[i] as never)
    return { ...tensor, data }
  })
}

const orOne = (value: number) => (value === 0 ? 1 : 0)
const half = (value: number) => value * 0.5 + 1
const bigOrOne = (value: bigint) => (value === 0n ? 1n : 0n)

/** FP16 is its bit pattern: 0x3c00 is 1. */
const VARIATION: Record<Datatype, (value: never) => number | bigint | string> = {
  BOOL: orOne,
  UINT8: orOne,
  UINT16: orOne,
  UINT32: orOne,
  UINT64: bigOrOne,
  INT8: orOne,
  INT16: orOne,
  INT32: orOne,
  INT64: bigOrOne,
  FP16: (bits: number) => (bits === 0x3c00 ? 0x4000 : 0x3c00),
  FP32: half,
  FP64: half,
  BYTES: (text: string) => (text === 'a' ? 'b' : 'a'),
}

function zeros({ name, datatype, shape }: TensorMetadata): Tensor {
  const smallest = shape.map(dimension => (dimension === -1 ? 1 : dimension))
  return { name, datatype, shape: smallest, data: rowOf(datatype).allocate(elementCount(smallest)) }
}

function shapeOf(data: unknown): number[] {
  return Array.isArray(data) ? [data.length, ...(data.length > 0 ? shapeOf(data[0]) : [])] : []
}

const binaryOutput = ({ name }: TensorMetadata) => ({ name, parameters: { binary_data: true } })
