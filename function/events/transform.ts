import type { Request } from '../answer.ts'
import { readJsonLength } from '../protocol/binary.ts'
import { BadRequest } from '../protocol/errors.ts'
import type { Call, CallData } from '../transform/call.ts'
import type { EventAttributes } from '../transform/contract.ts'
import { type CloudEvent, modeOf } from './cloudevent.ts'
import type { AnswerEvent } from './receive.ts'

export const answerByTransform =
  (request: Request): AnswerEvent =>
  (event, caller, { dataPlane }) =>
    dataPlane.transform(() => callOf(event, request), 'cloudevent', caller)

function callOf({ attributes, data }: CloudEvent, { headers }: Request): Call {
  if (data === undefined) throw new BadRequest('the event has no data')
  const { datacontenttype } = attributes
  // In an event in JSON, bytes count as JSON only if datacontenttype is a JSON type.
  const isBinary = modeOf(headers) === 'binary'
  const isBytes = datacontenttype === undefined && !('json' in data) && !isBinary
  return {
    kind: 'event',
    data: dataOf(data),
    contentType:
      isBytes && !isJsonText(data) ? 'application/octet-stream' : datacontenttype?.toString(),
    headers,
    event: attributesAsText(attributes),
    ...(isBinary && { jsonLength: readJsonLength(headers['inference-header-content-length']) }),
  }
}

type Data = NonNullable<CloudEvent['data']>

const isJsonText = (data: Data) => 'isJson' in data && data.isJson === true

const dataOf = (data: Data): CallData =>
  'json' in data ? { value: data.json.value, jsonBytes: data.jsonBytes } : data

/** Attributes as text, as in headers. */
export const attributesAsText = (attributes: CloudEvent['attributes']) =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, String(value)]),
  ) as unknown as EventAttributes
