import { basename } from 'node:path'
import type { Datatype } from '../protocol/datatypes.ts'
import { isBatched, type Signature, type TensorMetadata } from '../protocol/tensor.ts'

/** What Triton's model configuration says of a model. */
export interface ConfiguredModel {
  readonly name: string
  /** The .onnx file. */
  readonly file: string
  readonly signature: Signature
  readonly maxBatchRows: number
  /** Requests may share a run. */
  readonly joins: boolean
  /** Runs that can go on at the same time. */
  readonly concurrency: number
}

/** The part of Triton's ModelConfig (model_config.proto) that means something here. */
export type ModelConfiguration = ReturnType<typeof modelConfiguration>

/**
 * Triton's model configuration (model configuration extension). With a `max_batch_size` above 0 the
 * first dimension is that of the rows, and `dims` leave it out.
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
