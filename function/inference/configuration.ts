import { basename } from 'node:path'
import type { Datatype } from '../protocol/datatypes.ts'
import { isBatched, type Signature, type TensorMetadata } from '../protocol/tensor.ts'

export interface ConfiguredModel {
  readonly name: string
  readonly file: string
  readonly signature: Signature
  readonly maxBatchRows: number
  readonly joins: boolean
  readonly concurrency: number
}

/** The part of Triton's ModelConfig (model_config.proto) that applies to this server. */
export type ModelConfiguration = ReturnType<typeof modelConfiguration>

/**
 * Returns Triton's model configuration. If `max_batch_size` is above 0, `dims` omits the first
 * dimension, which is the number of rows.
 */
export function modelConfiguration(model: ConfiguredModel) {
  const { name, file, signature, maxBatchRows, joins, concurrency } = model
  const hasRows = isBatched(signature) && isBatched({ inputs: signature.outputs, outputs: [] })
  const dimsOf = ({ shape }: TensorMetadata) => (hasRows ? shape.slice(1) : shape)
  return {
    name,
    platform: 'onnxruntime_onnx',
    backend: 'onnxruntime',
    version_policy: { latest: { num_versions: 1 } },
    max_batch_size: hasRows ? maxBatchRows : 0,
    input: signature.inputs.map(input => ({
      name: input.name,
      data_type: dataTypeOf(input.datatype),
      dims: dimsOf(input),
    })),
    output: signature.outputs.map(output => ({
      name: output.name,
      data_type: dataTypeOf(output.datatype),
      dims: dimsOf(output),
    })),
    instance_group: [{ name, kind: 'KIND_CPU', count: concurrency }],
    default_model_filename: basename(file),
    model_transaction_policy: { decoupled: false },
    ...(joins && { dynamic_batching: {} }),
  }
}

const dataTypeOf = (datatype: Datatype) =>
  datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`
