import { readOnnxModel, type ValueInfo } from '../../../function/inference/onnx-file.ts'
import type { Signature, TensorMetadata } from '../../../function/protocol/tensor.ts'

/**
 * Reads the signature from the file, because the weights of these models are missing, and ONNX
 * Runtime cannot load the models. Like the server, omits outputs that are not tensors.
 */
export async function readSignature(file: string): Promise<Signature> {
  const { graph } = await readOnnxModel(file)
  const weights = new Set(graph.initializers.map(({ name }) => name))
  const isTensor = ({ name, type }: ValueInfo) => type.tensor !== undefined && !weights.has(name)
  return {
    inputs: graph.inputs.filter(isTensor).map(describe),
    outputs: graph.outputs.filter(isTensor).map(describe),
  }
}

/** Always FP32, because the prover ignores datatypes. */
function describe({ name, type }: ValueInfo): TensorMetadata {
  const dims = type.tensor?.dims
  return {
    name,
    datatype: 'FP32',
    shape: dims?.map(dim => (typeof dim === 'number' ? dim : -1)) ?? [-1],
    dimensionNames: dims?.map(dim => (typeof dim === 'number' ? '' : dim)) ?? [''],
    anyRank: dims === undefined,
  }
}
