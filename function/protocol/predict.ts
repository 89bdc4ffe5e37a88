import type { Codec, Encoder, PredictBytes } from './codec.ts'
import { hasJson } from './datatypes.ts'
import { decodeParsedRequest } from './decode.ts'
import type { EncodedResponse, ResponseLimits } from './encode.ts'
import { BadRequest } from './errors.ts'
import { isObject, type JsonObject, type ParsedJson, parseJson, show } from './json.ts'
import { PredictWriter } from './predict-writer.ts'
import type { InferenceRequest } from './request.ts'
import type { Signature } from './tensor.ts'

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
export interface PredictRequest extends InferenceRequest {
  /** How many instances were given by rows; undefined where tensors were given by columns. */
  readonly instances: number | undefined
}

const UNLIMITED: ResponseLimits = {
  maxBytes: Number.POSITIVE_INFINITY,
  maxJsonBytes: Number.POSITIVE_INFINITY,
}

/** Reads and writes V1. */
export class PredictCodec implements Codec<EncodedResponse> {
  readonly bytes?: PredictBytes
  private readonly read: () => ParsedJson
  private instances: number | undefined

  /** @param request bytes, or what came parsed with an event's envelope */
  constructor(request: Uint8Array | ParsedJson) {
    if (request instanceof Uint8Array) {
      this.bytes = { kind: 'predict', body: request }
      this.read = () => parseJson(request, 'the body')
    } else this.read = () => request
  }

  decode(signature: Signature): InferenceRequest {
    const json = this.read()
    const { instances, ...request } = decodePredict(json, signature)
    this.instances = instances
    return request
  }

  encoder(_request: InferenceRequest, limits = UNLIMITED): Encoder<EncodedResponse> {
    return new PredictWriter(this.instances, limits)
  }
}

/**
 * @throws {BadRequest} naming the mistake in the request, or why the model cannot be asked by V1
 */
export function decodePredict(json: ParsedJson, signature: Signature): PredictRequest {
  checkSayable(signature)
  let exactly: JsonObject | undefined
  const exact = () => {
    exactly ??= toV2(json.exact(), signature)
    return exactly
  }
  const request = decodeParsedRequest({ value: toV2(json.value, signature), exact }, signature)
  return { ...request, instances: instancesOf(json.value)?.length }
}

/** @throws {BadRequest} for a model that JSON cannot ask */
export function checkSayable({ inputs, outputs }: Signature): void {
  const unsayable = [...inputs, ...outputs].find(({ datatype }) => !hasJson(datatype))
  if (unsayable === undefined) return
  throw new BadRequest(
    `${show(unsayable.name)} is ${unsayable.datatype}, which JSON cannot say; ask by V2, with binary tensor data`,
  )
}

/** The V2 request that says the same. */
function toV2(body: unknown, signature: Signature): JsonObject {
  const instances = instancesOf(body)
  const values =
    instances === undefined
      ? namedColumns((body as JsonObject).inputs, signature)
      : columnsOf(instances, signature)
  return requestOf(values, signature, tensorOf)
}

/**
 * The columns of a request by columns, by name.
 * @throws {BadRequest} when they have no names, and the model several inputs
 */
export function namedColumns(columns: unknown, signature: Signature): JsonObject {
  if (isObject(columns)) return columns
  const [only, ...others] = signature.inputs
  if (only !== undefined && others.length === 0) return { [only.name]: columns }
  throw new BadRequest(
    `inputs is ${show(columns)}; it must be an object with ${namesOf(signature)}`,
  )
}

/**
 * The V2 request of these columns.
 * @param tensorOf the shape and the data of a value; `fits` is the model's shape
 */
export function requestOf(
  columns: JsonObject,
  signature: Signature,
  tensorOf: (value: unknown, fits: readonly number[]) => JsonObject,
): JsonObject {
  return {
    inputs: Object.entries(columns).map(([name, value]) => {
      const metadata = signature.inputs.find(input => input.name === name)
      // An unknown name is refused by V2's own decoder.
      return { name, datatype: metadata?.datatype, ...tensorOf(value, metadata?.shape ?? []) }
    }),
  }
}

/**
 * The rows of a request by rows; undefined for one by columns. A member that is null counts as
 * absent, as in V2.
 * @throws {BadRequest} when it is neither
 */
export function instancesOf(body: unknown): readonly unknown[] | undefined {
  if (!isObject(body)) throw new BadRequest(`a predict request is a JSON object, not ${show(body)}`)
  const signatureName = body.signature_name ?? SIGNATURE
  const instances = body.instances ?? undefined
  const inputs = body.inputs ?? undefined
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

/**
 * The rows' values of each input; of the only input where the rows are no objects.
 * @param first the place of the first of these rows in the request
 */
export function columnsOf(
  instances: readonly unknown[],
  signature: Signature,
  first = 0,
): { readonly [name: string]: readonly unknown[] } {
  const { inputs } = signature
  const [only, ...others] = inputs
  if (only !== undefined && others.length === 0 && !instances.some(isObject))
    return { [only.name]: instances }
  const names = new Set(inputs.map(({ name }) => name))
  instances.forEach((instance, i) => {
    checkNames(instance, first + i, names, signature)
  })
  return Object.fromEntries(
    inputs.map(({ name }) => [name, instances.map(instance => (instance as JsonObject)[name])]),
  )
}

function checkNames(
  instance: unknown,
  i: number,
  names: ReadonlySet<string>,
  signature: Signature,
): void {
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
    if (!Object.hasOwn(instance, name)) throw new BadRequest(`instances[${i}] has no ${show(name)}`)
}

const namesOf = ({ inputs }: Signature) => inputs.map(({ name }) => show(name)).join(', ')

/**
 * A value nested as its shape says, with that shape, read from its first elements: whether the
 * others agree is for V2 to check.
 */
function tensorOf(
  value: unknown,
  fits: readonly number[],
): { readonly shape: number[]; readonly data: unknown } {
  if (!Array.isArray(value)) return { shape: [], data: [value] }
  return { shape: completed(shapeOf(value), fits), data: value }
}

/** The shape of a parsed value, by its first elements. */
export function shapeOf(value: unknown): number[] {
  const shape: number[] = []
  let level = value
  while (Array.isArray(level)) {
    shape.push(level.length)
    level = level[0]
  }
  return shape
}

/** @param fits the model's shape, for what an empty value leaves open */
export function completed(shape: number[], fits: readonly number[]): number[] {
  if (shape.at(-1) !== 0) return shape
  return [...shape, ...fits.slice(shape.length).map(dimension => Math.max(dimension, 0))]
}
