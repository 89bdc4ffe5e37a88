import manifest from '../../package.json' with { type: 'json' }
import { hasJson } from '../protocol/datatypes.ts'
import { encodeData } from '../protocol/encode.ts'
import { shortest } from '../protocol/shortest.ts'
import type { Signature, Tensor, TensorMetadata } from '../protocol/tensor.ts'

export const functionVersion = manifest.version

/**
 * See the Open Inference Protocol, "Server Metadata Response JSON Object". Lists only extensions
 * that this server implements.
 */
export const serverMetadata = Object.freeze({
  name: manifest.name,
  version: functionVersion,
  extensions: ['binary_tensor_data', 'classification', 'model_configuration', 'statistics'],
})

/**
 * See the Open Inference Protocol, "Model Metadata Response JSON Object". A variable dimension is
 * −1.
 */
export const modelMetadata = (
  name: string,
  version: string | undefined,
  { inputs, outputs }: Signature,
) => ({
  name,
  ...(version === undefined ? undefined : { versions: [version] }),
  platform: 'onnx_onnxv1',
  inputs: inputs.map(tensorMetadata),
  outputs: outputs.map(tensorMetadata),
})

const tensorMetadata = ({ name, datatype, shape }: TensorMetadata) => ({ name, datatype, shape })

/** The limit in elements and in characters: longer examples are hard to copy and paste. */
const LONGEST_EXAMPLE = 2_000

/**
 * Returns a shell command that sends a request to this server.
 * @param url the server's URL, for example http://localhost:8080
 * @param wanted the outputs to request
 * @returns undefined if JSON cannot represent the request (FP16), or the command would be too long
 */
export function curlCommand(
  url: string,
  modelName: string,
  { example, signature }: { example: readonly Tensor[]; signature: Signature },
  wanted?: readonly string[],
): string | undefined {
  if (example.some(({ data }) => data.length > LONGEST_EXAMPLE)) return undefined
  const request = requestJson(example, signature, wanted)
  if (request === undefined || request.length > LONGEST_EXAMPLE) return undefined
  return `curl ${quoted(inferUrl(url, modelName))} -H 'Content-Type: application/json' -d ${quoted(request)}`
}

export const inferUrl = (url: string, modelName: string) =>
  `${url}/v2/models/${encodeURIComponent(modelName)}/infer`

export const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/**
 * Returns an inference request as JSON. Requests only outputs that JSON can represent (not FP16).
 * @param wanted the outputs to request
 * @returns undefined if JSON cannot represent every input, or can represent no output
 */
export function requestJson(
  inputs: readonly Tensor[],
  signature: Signature,
  wanted: readonly string[] = signature.outputs.map(({ name }) => name),
): string | undefined {
  const outputs = signature.outputs.filter(
    ({ name, datatype }) => hasJson(datatype) && wanted.includes(name),
  )
  if (outputs.length === 0 || !inputs.every(({ datatype }) => hasJson(datatype))) return undefined
  const tensors = inputs.map(
    tensor =>
      `{"name":${JSON.stringify(tensor.name)},"shape":[${tensor.shape}],"datatype":"${tensor.datatype}","data":${encodeData(shortened(tensor))}}`,
  )
  const asked =
    outputs.length < signature.outputs.length
      ? `,"outputs":${JSON.stringify(outputs.map(({ name }) => ({ name })))}`
      : ''
  return `{"id":"req-001","inputs":[${tensors.join(',')}]${asked}}`
}

/**
 * Shortens FP32 values for people: 5.1 instead of 5.099999904632568. Nine digits identify every
 * FP32 value.
 */
function shortened(tensor: Tensor): Tensor {
  if (tensor.datatype !== 'FP32') return tensor
  return {
    ...tensor,
    datatype: 'FP64',
    data: Float64Array.from(tensor.data as Float32Array, shortest),
  }
}
