import { writeBinaryTensor } from '../protocol/binary.ts'
import { DATATYPES, type Datatype } from '../protocol/datatypes.ts'
import { decodeParsedRequest, decodeRequest } from '../protocol/decode.ts'
import { BadRequest } from '../protocol/errors.ts'
import { show } from '../protocol/json.ts'
import {
  elementCount,
  type Signature,
  type Tensor,
  type TensorMetadata,
} from '../protocol/tensor.ts'
import { isShaped, type SampleInput, type ShapedInput } from './sample.ts'

/**
 * Returns inputs that the model accepts: model.json's sample, or else zeros and empty strings in
 * the smallest shape.
 * @throws {BadRequest} if the sample does not match the model
 */
export function exampleInputs(
  signature: Signature,
  sample: Readonly<Record<string, SampleInput>> | undefined,
): readonly Tensor[] {
  if (sample === undefined) return signature.inputs.map(zeros)
  const binary: Uint8Array[] = []
  const inputs = Object.entries(sample).map(([name, input]) => {
    const metadata = signature.inputs.find(other => other.name === name)
    const known = { name, datatype: metadata?.datatype }
    if (!isShaped(input))
      return { ...known, shape: shapeOf(input), data: Array.isArray(input) ? input : [input] }
    const bytes = metadata === undefined ? NOTHING : bytesOf(input, metadata)
    binary.push(bytes)
    const parameters = { binary_data_size: bytes.byteLength }
    return { ...known, shape: input.shape, parameters }
  })
  const value = { inputs, outputs: signature.outputs.map(binaryOutput) }
  if (binary.length === 0)
    return decodeParsedRequest({ value, exact: () => value }, signature).inputs
  const json = Buffer.from(JSON.stringify(value))
  return decodeRequest(Buffer.concat([json, ...binary]), json.byteLength, signature).inputs
}

const NOTHING = new Uint8Array(0)

/** Keeps a mistyped shape from allocating too much memory. */
const MOST_ELEMENTS = 2 ** 28

function bytesOf({ shape, fill, bytes }: ShapedInput, metadata: TensorMetadata): Uint8Array {
  if (bytes !== undefined) return bytes
  const { name, datatype } = metadata
  const count = elementCount(shape)
  if (count > MOST_ELEMENTS)
    throw new BadRequest(
      `input ${show(name)}: shape [${shape}] has ${count} elements; at most ${MOST_ELEMENTS} are allowed`,
    )
  const data = DATATYPES[datatype].allocate(count)
  data.fill(element(fill, datatype, name) as never)
  return writeBinaryTensor({ name, datatype, shape, data })
}

function element(fill: unknown, datatype: Datatype, name: string): number | bigint | string {
  const { fromJson, takes } = DATATYPES[datatype]
  const value = fromJson?.(fill)
  if (value !== undefined) return value
  throw new BadRequest(`input ${show(name)}: fill is ${show(fill)}; ${datatype} accepts ${takes}`)
}

function zeros({ name, datatype, shape }: TensorMetadata): Tensor {
  const smallest = shape.map(dimension => (dimension === -1 ? 1 : dimension))
  return {
    name,
    datatype,
    shape: smallest,
    data: DATATYPES[datatype].allocate(elementCount(smallest)),
  }
}

function shapeOf(data: unknown): number[] {
  return Array.isArray(data) ? [data.length, ...(data.length > 0 ? shapeOf(data[0]) : [])] : []
}

const binaryOutput = ({ name }: TensorMetadata) => ({ name, parameters: { binary_data: true } })
