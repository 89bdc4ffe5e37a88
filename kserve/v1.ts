import { type Answer, type Caller, knownError, type Request } from '../function/answer.ts'
import type { DataPlane } from '../function/dataplane.ts'
import { checkMediaType } from '../function/http/infer.ts'
import type { Codec, Encoder } from '../function/protocol/codec.ts'
import { hasJson } from '../function/protocol/datatypes.ts'
import { decodeParsedRequest } from '../function/protocol/decode.ts'
import { encodeData } from '../function/protocol/encode.ts'
import { BadRequest, TooLarge } from '../function/protocol/errors.ts'
import {
  isObject,
  type JsonObject,
  type ParsedJson,
  parseJson,
  show,
} from '../function/protocol/json.ts'
import type { InferenceRequest } from '../function/protocol/request.ts'
import type { Signature, Tensor } from '../function/protocol/tensor.ts'

/*
 * KServe's V1 protocol, which is TensorFlow Serving's predict API:
 * https://www.tensorflow.org/tfx/serving/api_rest#predict_api
 *
 * By rows: {"instances": [row, …]} is answered by {"predictions": [row, …]}; by columns: {"inputs":
 * …} by {"outputs": …}. Where there is one tensor its value stands alone, otherwise an object has
 * them by name. A value is nested as its shape says. V1 says neither datatypes nor shapes, so the
 * values are read as a V2 request of the model's datatypes, with all of V2's rules.
 */

/** A V1 request that fits the model. */
export interface V1Request extends InferenceRequest {
  /** How many instances were given by rows; undefined where tensors were given by columns. */
  readonly instances: number | undefined
}

/**
 * V1 is read on the main thread, which answers nothing else meanwhile: 4 MiB take 80 ms. V2 has no
 * such limit.
 */
const MOST_BYTES = 4 * 2 ** 20

/** Answers `POST /v1/models/{model}:predict`, whatever becomes of it. */
export async function predict(
  request: Request,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> {
  try {
    const body = await dataPlane.infer(() => codecOf(request), 'http', caller)
    return { status: 200, headers: { 'content-type': 'application/json' }, body }
  } catch (error) {
    return knownError(error, 'http')
  }
}

function codecOf(request: Request): PredictCodec {
  checkMediaType(request)
  checkSize(request.body)
  return new PredictCodec(request.body)
}

/** Reads and writes V1. */
class PredictCodec implements Codec<string> {
  private readonly body: Uint8Array
  private instances: number | undefined

  constructor(body: Uint8Array) {
    this.body = body
  }

  decode(signature: Signature): InferenceRequest {
    const { instances, ...request } = decodePredict(parseJson(this.body, 'the body'), signature)
    this.instances = instances
    return request
  }

  encoder(): Encoder<string> {
    let outputs: readonly Tensor[] = []
    return {
      add(tensors) {
        outputs = tensors
      },
      finish: () => encodePredict(outputs, this.instances),
    }
  }
}

function checkSize({ byteLength }: Uint8Array): void {
  if (byteLength <= MOST_BYTES) return
  throw new TooLarge(`the body is larger than the ${MOST_BYTES} bytes allowed in V1; ask by V2`)
}

/**
 * @throws {BadRequest} naming the mistake in the request, or why the model cannot be asked by V1
 */
export function decodePredict(json: ParsedJson, signature: Signature): V1Request {
  const unsayable = [...signature.inputs, ...signature.outputs].find(
    ({ datatype }) => !hasJson(datatype),
  )
  if (unsayable !== undefined) {
    throw new BadRequest(
      `${show(unsayable.name)} is ${unsayable.datatype}, which JSON cannot say; ask by V2, with binary tensor data`,
    )
  }
  let exactly: JsonObject | undefined
  const exact = () => {
    exactly ??= toV2(json.exact(), signature)
    return exactly
  }
  const request = decodeParsedRequest({ value: toV2(json.value, signature), exact }, signature)
  return { ...request, instances: instancesOf(json.value)?.length }
}

/** The V2 request that says the same. */
function toV2(body: unknown, signature: Signature): JsonObject {
  const instances = instancesOf(body)
  const columns =
    instances === undefined ? (body as JsonObject).inputs : columnsOf(instances, signature)
  const [only, ...others] = signature.inputs
  const values = isObject(columns)
    ? columns
    : only !== undefined && others.length === 0
      ? { [only.name]: columns }
      : undefined
  if (values === undefined)
    throw new BadRequest(
      `inputs is ${show(columns)}; it must be an object with ${namesOf(signature)}`,
    )
  return {
    inputs: Object.entries(values).map(([name, value]) => {
      const metadata = signature.inputs.find(input => input.name === name)
      // An unknown name is refused by V2's own decoder.
      return { name, datatype: metadata?.datatype, ...tensorOf(value, metadata?.shape ?? []) }
    }),
  }
}

/**
 * The rows of a request by rows; undefined for one by columns.
 * @throws {BadRequest} when it is neither
 */
function instancesOf(body: unknown): readonly unknown[] | undefined {
  if (!isObject(body)) throw new BadRequest(`a predict request is a JSON object, not ${show(body)}`)
  // An optional member that is null counts as absent, as in V2.
  const instances = body.instances ?? undefined
  const inputs = body.inputs ?? undefined
  const signatureName = body.signature_name ?? SIGNATURE
  if (signatureName !== SIGNATURE)
    throw new BadRequest(
      `signature_name is ${show(signatureName)}; an ONNX model has only "${SIGNATURE}"`,
    )
  if (instances === undefined && inputs === undefined)
    throw new BadRequest('neither instances nor inputs is given; one must be')
  if (instances === undefined) return undefined
  if (inputs !== undefined)
    throw new BadRequest('both instances and inputs are given; only one may be')
  if (!Array.isArray(instances))
    throw new BadRequest(`instances is ${show(instances)}; it must be an array, one element a row`)
  return instances
}

const SIGNATURE = 'serving_default'

/** The rows' values of each input; of the only input where the rows are no objects. */
function columnsOf(instances: readonly unknown[], signature: Signature): unknown {
  const { inputs } = signature
  if (inputs.length === 1 && !instances.some(isObject)) return instances
  const names = new Set(inputs.map(({ name }) => name))
  instances.forEach((instance, i) => {
    if (!isObject(instance))
      throw new BadRequest(
        `instances[${i}] is ${show(instance)}; it must be an object with ${namesOf(signature)}`,
      )
    for (const name in instance)
      if (!names.has(name))
        throw new BadRequest(
          `instances[${i}] has ${show(name)}; the model takes ${namesOf(signature)}`,
        )
    for (const name of names)
      if (!Object.hasOwn(instance, name))
        throw new BadRequest(`instances[${i}] has no ${show(name)}`)
  })
  return Object.fromEntries(
    inputs.map(({ name }) => [name, instances.map(instance => (instance as JsonObject)[name])]),
  )
}

const namesOf = ({ inputs }: Signature) => inputs.map(({ name }) => show(name)).join(', ')

/**
 * A value nested as its shape says, with that shape, read from its first elements: whether the
 * others agree is for V2 to check.
 * @param fits the model's shape, for what an empty value leaves open
 */
function tensorOf(value: unknown, fits: readonly number[]): { shape: number[]; data: unknown } {
  if (!Array.isArray(value)) return { shape: [], data: [value] }
  const shape: number[] = []
  let level: unknown = value
  while (Array.isArray(level)) {
    shape.push(level.length)
    level = level[0]
  }
  if (shape.at(-1) === 0)
    shape.push(...fits.slice(shape.length).map(dimension => Math.max(dimension, 0)))
  return { shape, data: value }
}

/**
 * The response as JSON text.
 * @param instances how many rows were asked, or undefined for an answer by columns
 * @throws {BadRequest} when an output has not a row for each instance
 */
export function encodePredict(outputs: readonly Tensor[], instances: number | undefined): string {
  if (instances === undefined)
    return `{"outputs":${byName(outputs, output => nested(output, 0, 0))}}`
  for (const { name, shape } of outputs) {
    if (shape[0] === instances) continue
    throw new BadRequest(
      `output ${show(name)} has the shape [${shape}], not one row for each of the ${instances} instances; ask by "inputs", for "outputs"`,
    )
  }
  const rows = Array.from({ length: instances }, (_, row) =>
    byName(outputs, output => nested(output, 1, row)),
  )
  return `{"predictions":[${rows.join(',')}]}`
}

function byName(outputs: readonly Tensor[], toJson: (output: Tensor) => string): string {
  const [only, ...others] = outputs
  if (only !== undefined && others.length === 0) return toJson(only)
  return `{${outputs.map(output => `${JSON.stringify(output.name)}:${toJson(output)}`).join(',')}}`
}

/**
 * The part of a tensor that one index into its first `depth` dimensions, taken together, leaves:
 * nested as the other dimensions say.
 */
function nested(tensor: Tensor, depth: number, index: number): string {
  const { shape, data } = tensor
  const left = shape.length - depth
  if (left > 1) {
    const length = shape[depth] as number
    return `[${Array.from({ length }, (_, i) => nested(tensor, depth + 1, index * length + i)).join(',')}]`
  }
  const length = left === 0 ? 1 : (shape[depth] as number)
  const json = encodeData({ ...tensor, data: data.slice(index * length, (index + 1) * length) })
  return left === 0 ? json.slice(1, -1) : json
}
