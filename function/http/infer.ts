import { type Answer, type Caller, knownError, Refused, type Request } from '../answer.ts'
import type { DataPlane } from '../dataplane.ts'
import { readJsonLength } from '../protocol/binary.ts'
import { BytesCodec, type Codec, ParsedCodec } from '../protocol/codec.ts'
import { type EncodedResponse, partsOf } from '../protocol/encode.ts'
import { type ParsedJson, show } from '../protocol/json.ts'

/*
 * The HTTP parts of an inference request: media types, and the header with the JSON's length. Needs
 * no listener, so another runtime can use it.
 */

export const infer = (request: Request, caller: Caller, dataPlane: DataPlane): Promise<Answer> =>
  answerTo(() => codecOf(request), caller, dataPlane)

/** Like `infer`, for JSON that a runtime has parsed. */
export const inferParsed = (
  json: ParsedJson,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> => answerTo(() => new ParsedCodec(json, 'binary'), caller, dataPlane)

async function answerTo(
  read: () => Codec<EncodedResponse>,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> {
  try {
    return toAnswer(await dataPlane.infer(read, 'http', caller))
  } catch (error) {
    return knownError(error, 'http')
  }
}

function codecOf(request: Request): BytesCodec {
  const jsonLength = readJsonLength(request.headers['inference-header-content-length'])
  checkMediaType(request, jsonLength)
  return new BytesCodec({ body: request.body, jsonLength, responseData: 'binary' })
}

export function toAnswer(response: EncodedResponse): Answer {
  const { json, binary } = response
  if (binary === undefined)
    return { status: 200, headers: { 'content-type': 'application/json' }, body: json }
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(binary.jsonLength),
    },
    body: partsOf(response),
  }
}

/**
 * Checks that a request's media type is JSON or application/octet-stream. With either type, a body
 * without Inference-Header-Content-Length is JSON (binary tensor data extension).
 * @throws {Refused} 415
 */
export function checkMediaType({ headers }: Request, jsonLength?: number): void {
  const contentType = headers['content-type']
  if (
    contentType === undefined ||
    contentType === 'application/json' ||
    isJsonType(contentType) ||
    /^application\/octet-stream *(;|$)/i.test(contentType)
  )
    return
  throw new Refused(
    'UNSUPPORTED_MEDIA_TYPE',
    jsonLength === undefined
      ? `Content-Type ${show(contentType)} is not supported; send application/json (with curl: -H 'Content-Type: application/json')`
      : `Content-Type ${show(contentType)} is not supported; send application/octet-stream`,
  )
}

/** JSON without a charset, or in UTF-8. */
function isJsonType(contentType: string): boolean {
  const [type, ...parameters] = contentType.split(';').map(part => part.trim().toLowerCase())
  return (
    type === 'application/json' &&
    parameters.every(parameter => !parameter.startsWith('charset') || IS_UTF8.test(parameter))
  )
}

const IS_UTF8 = /^charset *= *("?)utf-?8\1$/
