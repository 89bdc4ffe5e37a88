import type { IncomingHttpHeaders } from 'node:http'
import type { EncodedResponse } from '../protocol/encode.ts'
import type { BodyAnswer, EventAttributes } from './contract.ts'

/** One call to the author's code: the content of a request, an event or a V1 instance. */
export interface Call {
  readonly kind: 'request' | 'event' | 'instance'
  readonly data: CallData
  /** The content type of the data. */
  readonly contentType: string | undefined
  /** The headers of the HTTP request. */
  readonly headers: IncomingHttpHeaders
  /** The attributes of the event. */
  readonly event?: EventAttributes
  /**
   * The length of the JSON in a V2 request whose JSON is followed by binary tensor data. Used if
   * the transform has no preprocess.
   */
  readonly jsonLength?: number | undefined
}

/**
 * The data as received bytes, as JSON that was parsed as part of an event, with its size in bytes,
 * or as the bytes of large JSON. `isJson` means that the bytes are JSON, whatever the content type
 * is.
 */
export type CallData =
  | { readonly bytes: Uint8Array; readonly isJson?: boolean }
  | { readonly value: unknown; readonly jsonBytes?: number | undefined }

/** The result of a call. */
export interface Reply {
  /** Undefined means that there is no reply event and, over HTTP, no content. */
  readonly content: Content | undefined
  /** The author's settings for the reply event. */
  readonly event?: { readonly type?: string; readonly attributes: Record<string, string> }
}

/**
 * The content of a reply: a body, or JSON. The JSON may be followed by binary tensor data if the
 * transform has no postprocess.
 */
export type Content = EncodedResponse | BodyAnswer
