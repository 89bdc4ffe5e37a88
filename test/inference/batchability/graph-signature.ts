import { readOnnxModel, type ValueInfo } from '../../../function/inference/onnx-file.ts'
import type { Signature, TensorMetadata } from '../../../function/protocol/tensor.ts'

/**
 * The signature declared in a file, for a model that ONNX Runtime cannot load because its weights
 * were left out. Outputs that are not tensors are not served, so they are left out here too.
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

/** The prover ignores the datatype. */
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
