import type { Signature, TensorMetadata } from '../protocol/tensor.ts'
import type { ServedModel } from '../transform/contract.ts'
import type { ModelIdentity } from './pipeline.ts'

export const servedModel = (
  { name, version, labels }: ModelIdentity,
  { inputs, outputs }: Signature,
): ServedModel => ({
  name,
  version,
  labels,
  inputs: inputs.map(describe),
  outputs: outputs.map(describe),
})

const describe = ({ name, datatype, shape }: TensorMetadata) => ({ name, datatype, shape })
