import type { LoadedModel } from '../../inference/loaded-model.ts'
import { requestJson } from '../../inference/metadata.ts'
import { writeBinaryTensor } from '../../protocol/binary.ts'
import { elementCount } from '../../protocol/tensor.ts'
import { BYTES, type OpenApi } from './parts.ts'

/** With more elements, the document would be unreadable and megabytes long. */
const MOST_ELEMENTS = 10_000

/** Requests that the model answers with 200. */
export interface RequestExamples {
  /** Undefined if JSON cannot express the request (FP16). */
  readonly json: Readonly<Record<string, unknown>> | undefined
  /**
   * JSON of `jsonLength` bytes, then binary tensor data. Also asks for all outputs as binary tensor
   * data.
   */
  readonly binary: { readonly jsonLength: number; readonly body: Buffer }
}

type Described = Pick<LoadedModel, 'signature' | 'example'>

/** Undefined if the model's inputs are too large to show. */
export function requestExamples(loaded: Described): RequestExamples | undefined {
  const elements = loaded.example.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  return elements > MOST_ELEMENTS
    ? undefined
    : { json: jsonExample(loaded), binary: binaryExample(loaded) }
}

function jsonExample({ signature, example }: Described): RequestExamples['json'] {
  const json = requestJson(example, signature)
  return json === undefined ? undefined : JSON.parse(json)
}

/** @param wanted the requested outputs; all if absent */
export function binaryExample(
  { example }: Pick<Described, 'example'>,
  wanted?: readonly string[],
): RequestExamples['binary'] {
  const parts = example.map(writeBinaryTensor)
  const inputs = example.map(({ name, shape, datatype }, i) => ({
    name,
    shape,
    datatype,
    parameters: { binary_data_size: parts[i]?.byteLength },
  }))
  const json = Buffer.from(
    JSON.stringify({
      id: 'req-001',
      parameters: { binary_data_output: true },
      inputs,
      outputs: wanted?.map(name => ({ name })),
    }),
  )
  return { jsonLength: json.byteLength, body: Buffer.concat([json, ...parts]) }
}

export const REQUEST = { $ref: '#/components/examples/request' }

export const jsonLengthParameter = (examples: RequestExamples | undefined): OpenApi => ({
  name: 'Inference-Header-Content-Length',
  in: 'header',
  description:
    'The number of bytes of JSON, if binary tensor data follows the JSON. If it is 0, the body contains only the data of the single input.',
  schema: { type: 'integer', minimum: 0 },
  ...(examples && { examples: { binaryTensors: { value: examples.binary.jsonLength } } }),
})

export const binaryRequest = (examples: RequestExamples | undefined): OpenApi => ({
  'application/octet-stream': {
    ...BYTES['application/octet-stream'],
    // Not an Example Object: client generators treat its externalValue as a file.
    ...(examples && {
      'x-example': {
        name: 'binaryTensors',
        summary: 'Binary tensor data',
        base64: examples.binary.body.toString('base64'),
      },
    }),
  },
})
