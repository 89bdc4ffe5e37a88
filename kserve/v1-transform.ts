import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Answer,
  type Caller,
  callerWithin,
  hangUp,
  knownError,
  type Request,
} from '../function/answer.ts'
import type { DataPlane } from '../function/dataplane.ts'
import type { AnswerEvent } from '../function/events/receive.ts'
import { attributesAsText } from '../function/events/transform.ts'
import { checkMediaType, toAnswer } from '../function/http/infer.ts'
import { type EncodedResponse, JsonSize, type ResponseLimits } from '../function/protocol/encode.ts'
import { BadRequest, TooLarge } from '../function/protocol/errors.ts'
import { parseJson, withoutMark } from '../function/protocol/json.ts'
import {
  findElements,
  findMembers,
  OPEN_ARRAY,
  type Place,
  without,
} from '../function/protocol/json-scan.ts'
import { instancesOf } from '../function/protocol/predict.ts'
import type { Service } from '../function/service.ts'
import type { Protocol } from '../function/telemetry/metrics.ts'
import type { Call, CallData, Reply } from '../function/transform/call.ts'

/** The maximum number and total size of concurrent instances. */
const TOGETHER = { instances: 256, bytes: 128 * 1024 }

/** Errors with a code become responses, too. */
export async function predictBare(
  request: Request,
  caller: Caller,
  { dataPlane, model }: Service,
): Promise<Answer> {
  const { headers, body } = request
  try {
    const read = () => {
      checkMediaType(request)
      return body
    }
    const asking: Asking = { headers, caller, dataPlane, protocol: 'http' }
    return toAnswer(await predictByTransform(read, model.limits, asking))
  } catch (error) {
    return knownError(error, 'http')
  }
}

const tooLarge = ({ byteLength }: Uint8Array, maxJsonBytes: number) =>
  new TooLarge(
    `${byteLength} bytes of JSON exceed the ${maxJsonBytes} bytes allowed (MAX_JSON_BYTES); send fewer instances`,
  )

interface Asking {
  readonly headers: Request['headers']
  readonly caller: Caller
  readonly dataPlane: DataPlane
  readonly protocol: Protocol
  readonly event?: Call['event']
}

type Read = () => Uint8Array

/**
 * @param read returns the body; its errors are also counted
 * @throws {BadRequest} and the errors of the data plane
 */
async function predictByTransform(
  read: Read,
  limits: ResponseLimits,
  asking: Asking,
): Promise<EncodedResponse> {
  const size = new JsonSize(limits, 'send fewer instances')
  const predictions: string[] = []
  for (const group of groupsIn(read, limits.maxJsonBytes, asking)) {
    predictions.push(...(await askTogether(group, predictions.length, size, asking)))
    await nextTurn()
  }
  return { json: `{"predictions":[${predictions.join(',')}]}` }
}

async function askTogether(
  group: readonly CallData[],
  first: number,
  size: JsonSize,
  asking: Asking,
): Promise<string[]> {
  const predict = async (data: CallData, i: number) => {
    const prediction = await predictionOf(data, first + i, asking)
    size.add(Buffer.byteLength(prediction))
    return prediction
  }
  try {
    return await Promise.all(group.map(predict))
  } catch (error) {
    // Do not wait for the other calls. Do not hang up for an event, because all events in a batch
    // may share the caller.
    if (asking.event === undefined) hangUp(asking.caller)
    throw error
  }
}

async function predictionOf(
  data: CallData,
  i: number,
  { headers, caller, dataPlane, protocol, event }: Asking,
): Promise<string> {
  const contentType = 'application/json'
  const call: Call = { kind: 'instance', data, contentType, headers, ...(event && { event }) }
  try {
    const { content } = await dataPlane.transform(() => call, protocol, callerOf(caller))
    return (content as { json: string }).json
  } catch (error) {
    throw named(error, i)
  }
}

/** Returns one instance's caller. If traces are exported, each instance has its own times. */
const callerOf = (sender: Caller): Caller =>
  sender.trace === undefined ? sender : callerWithin(sender, sender.trace.child())

function named(error: unknown, i: number): unknown {
  const { code, message } = error as { readonly code?: string; readonly message: string }
  if (code !== 'BAD_REQUEST' && code !== 'TRANSFORM_REFUSED') return error
  return Object.assign(new Error(`instances[${i}]: ${message}`), error)
}

/**
 * Yields the instances as parts of the body, because the threads parse them.
 * @throws {BadRequest}
 */
function* instancesIn(body: Uint8Array): Generator<Uint8Array, void> {
  const bytes = withoutMark(body)
  const isArray = ({ start }: Place) => bytes[start] === OPEN_ARRAY
  const [place, ...others] = findMembers(bytes, ['instances']).filter(isArray)
  const places = place === undefined || others.length > 0 ? [] : [place]
  const { value } = parseJson(without(bytes, places, 'the body'), 'the body')
  if (instancesOf(value) === undefined)
    throw new BadRequest(
      'the request has "inputs", but this model has a transform, which needs one instance per call; send "instances"',
    )
  if (place === undefined) return
  const array = bytes.subarray(place.start, place.end)
  for (const { start, end } of findElements(array, 'instances')) yield array.subarray(start, end)
}

/** Counts an error of the body; the data plane counts the errors of calls. */
function* groupsIn(read: Read, maxJsonBytes: number, { dataPlane, protocol, caller }: Asking) {
  try {
    const body = read()
    // The entire body is scanned in one turn of the event loop.
    if (body.byteLength > maxJsonBytes) throw tooLarge(body, maxJsonBytes)
    yield* groupsOf(instancesIn(body))
  } catch (error) {
    dataPlane.refused(error, protocol, caller)
    throw error
  }
}

function* groupsOf(instances: Iterable<Uint8Array>): Generator<CallData[], void> {
  let group: CallData[] = []
  let size = 0
  for (const bytes of instances) {
    if (group.length === TOGETHER.instances || size + bytes.byteLength > TOGETHER.bytes) {
      yield group
      group = []
      size = 0
    }
    group.push({ bytes, isJson: true })
    size += bytes.byteLength
  }
  yield group
}

/** Handles an event whose data is a V1 request. The reply's data is the predictions. */
export const answerByPredictions =
  ({ headers }: Request): AnswerEvent =>
  async ({ data, attributes }, caller, { dataPlane, model }): Promise<Reply> => {
    const read = () => {
      if (data === undefined)
        throw new BadRequest('the event has no data; send a V1 request as its data')
      return 'bytes' in data ? data.bytes : Buffer.from(JSON.stringify(data.json.value))
    }
    const event = attributesAsText(attributes)
    const asking: Asking = { headers, caller, dataPlane, protocol: 'cloudevent', event }
    return { content: await predictByTransform(read, model.limits, asking) }
  }
