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
 * In row format, the request is {"instances": [row, …]} and the response {"predictions": [row, …]};
 * in column format, {"inputs": …} and {"outputs": …}. A single tensor is sent directly; several are
 * in an object, keyed by name. V1 has neither datatypes nor shapes, so values are read like a V2
 * request with the model's datatypes, and all rules of V2 apply.
 */

export interface PredictRequest extends InferenceRequest {
  /** The number of instances in row format; undefined in column format. */
  readonly instances: number | undefined
}

const UNLIMITED: ResponseLimits = {
  maxBytes: Number.POSITIVE_INFINITY,
  maxJsonBytes: Number.POSITIVE_INFINITY,
}

export class PredictCodec implements Codec<EncodedResponse> {
  readonly bytes?: PredictBytes
  private readonly read: () => ParsedJson
  private instances: number | undefined

  /** @param request bytes, or JSON that is part of an event */
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
 * @throws {BadRequest} naming the mistake in the request, or the reason why V1 does not suit the
 * model
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

/** @throws {BadRequest} if JSON cannot represent the model's tensors */
export function checkSayable({ inputs, outputs }: Signature): void {
  const unsayable = [...inputs, ...outputs].find(({ datatype }) => !hasJson(datatype))
  if (unsayable === undefined) return
  throw new BadRequest(
    `${show(unsayable.name)} is ${unsayable.datatype}, which JSON cannot represent; use V2 with binary tensor data`,
  )
}

function toV2(body: unknown, signature: Signature): JsonObject {
  const instances = instancesOf(body)
  const values =
    instances === undefined
      ? namedColumns((body as JsonObject).inputs, signature)
      : columnsOf(instances, signature)
  return requestOf(values, signature, tensorOf)
}

/**
 * Columns keyed by input.
 * @throws {BadRequest} if the columns have no names and the model has several inputs
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
 * Creates the V2 request for these columns.
 * @param tensorOf returns the shape and the data of a value; `fits` is the model's shape
 */
export function requestOf(
  columns: JsonObject,
  signature: Signature,
  tensorOf: (value: unknown, fits: readonly number[]) => JsonObject,
): JsonObject {
  return {
    inputs: Object.entries(columns).map(([name, value]) => {
      const metadata = signature.inputs.find(input => input.name === name)
      // The V2 decoder rejects an unknown name.
      return { name, datatype: metadata?.datatype, ...tensorOf(value, metadata?.shape ?? []) }
    }),
  }
}

/**
 * Returns the rows of a request in row format; undefined if it is in column format. A member that
 * is null counts as absent, as in V2.
 * @throws {BadRequest} if the request has neither format
 */
export function instancesOf(body: unknown): readonly unknown[] | undefined {
  if (!isObject(body))
    throw new BadRequest(`a predict request must be a JSON object, not ${show(body)}`)
  const signatureName = body.signature_name ?? SIGNATURE
  const instances = body.instances ?? undefined
  const inputs = body.inputs ?? undefined
  if (signatureName !== SIGNATURE)
    throw new BadRequest(
      `signature_name is ${show(signatureName)}; an ONNX model has only "${SIGNATURE}"`,
    )
  if (instances === undefined && inputs === undefined)
    throw new BadRequest('neither instances nor inputs is given; send one of them')
  if (instances === undefined) return undefined
  if (inputs !== undefined)
    throw new BadRequest('both instances and inputs are given; send only one of them')
  if (!Array.isArray(instances))
    throw new BadRequest(
      `instances is ${show(instances)}; it must be an array with one element per row`,
    )
  return instances
}

const SIGNATURE = 'serving_default'

/**
 * Returns the rows' values, keyed by input. Rows that are not objects are values of the only input.
 * @param first the position of the first of these rows in the request
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
        `instances[${i}] has ${show(name)}; the model accepts ${namesOf(signature)}`,
      )
  for (const name of names)
    if (!Object.hasOwn(instance, name)) throw new BadRequest(`instances[${i}] has no ${show(name)}`)
}

const namesOf = ({ inputs }: Signature) => inputs.map(({ name }) => show(name)).join(', ')

/**
 * Returns a nested value, and its shape according to its first elements. The V2 decoder checks the
 * other elements.
 */
function tensorOf(
  value: unknown,
  fits: readonly number[],
): { readonly shape: number[]; readonly data: unknown } {
  if (!Array.isArray(value)) return { shape: [], data: [value] }
  return { shape: completed(shapeOf(value), fits), data: value }
}

export function shapeOf(value: unknown): number[] {
  const shape: number[] = []
  let level = value
  while (Array.isArray(level)) {
    shape.push(level.length)
    level = level[0]
  }
  return shape
}

/** Completes the shape of an empty value. @param fits the model's shape */
export function completed(shape: number[], fits: readonly number[]): number[] {
  if (shape.at(-1) !== 0) return shape
  return [...shape, ...fits.slice(shape.length).map(dimension => Math.max(dimension, 0))]
}
