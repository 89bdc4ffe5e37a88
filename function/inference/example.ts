import { DATATYPES } from '../protocol/datatypes.ts'
import { decodeParsedRequest } from '../protocol/decode.ts'
import {
  elementCount,
  type Signature,
  type Tensor,
  type TensorMetadata,
} from '../protocol/tensor.ts'

/**
 * Inputs that fit the model: model.json's sample where there is one, else zeros and empty strings
 * of the smallest shape.
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
