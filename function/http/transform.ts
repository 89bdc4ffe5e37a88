import type { IncomingHttpHeaders } from 'node:http'
import { type Answer, type Caller, knownError, type Request } from '../answer.ts'
import type { DataPlane } from '../dataplane.ts'
import { readJsonLength } from '../protocol/binary.ts'
import type { Call, CallData, Reply } from '../transform/call.ts'
import { toAnswer as toTensors } from './infer.ts'

/* Calls the transform over HTTP. Like infer.ts, needs no listener. */

/** Answers a request with the transform. Errors become error responses. */
export const transform = (
  { headers, body }: Request,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> => answerTo({ bytes: body }, headers, caller, dataPlane)

/** Like `transform`, for JSON that a runtime has parsed. */
export const transformParsed = (
  value: unknown,
  headers: IncomingHttpHeaders,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> => answerTo({ value }, headers, caller, dataPlane)

async function answerTo(
  data: CallData,
  headers: IncomingHttpHeaders,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> {
  const read = (): Call => ({
    kind: 'request',
    data,
    contentType: headers['content-type'],
    headers,
    jsonLength: readJsonLength(headers['inference-header-content-length']),
  })
  try {
    return toAnswer(await dataPlane.transform(read, 'http', caller))
  } catch (error) {
    return knownError(error, 'http')
  }
}

const NO_CONTENT: Answer = { status: 204, headers: {}, body: '' }

function toAnswer({ content }: Reply): Answer {
  if (content === undefined) return NO_CONTENT
  if ('json' in content) return toTensors(content)
  const { body, contentType } = content
  return {
    status: 200,
    headers: { 'content-type': contentType },
    body: typeof body === 'string' ? body : [body],
  }
}
