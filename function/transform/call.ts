import type { IncomingHttpHeaders } from 'node:http'
import type { EncodedResponse } from '../protocol/encode.ts'
import type { BodyAnswer, EventAttributes } from './contract.ts'

/** One call of the author's code: the content of a request, an event or a V1 instance. */
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
   * The end of the JSON in a V2 request with binary tensor data after it; for a transform without
   * preprocess.
   */
  readonly jsonLength?: number | undefined
}

/**
 * Bytes as they arrived; or JSON that was parsed as part of an event, with its size in bytes; or
 * large JSON as text, whatever the content type says.
 */
export type CallData =
  | { readonly bytes: Uint8Array; readonly isJson?: boolean }
  | { readonly value: unknown; readonly jsonBytes?: number | undefined }

/** The answer to a call. */
export interface Reply {
  /** Undefined: no reply event, and over HTTP no content. */
  readonly content: Content | undefined
  /** The author's settings for the reply event. */
  readonly event?: { readonly type?: string; readonly attributes: Record<string, string> }
}

/** JSON, perhaps followed by binary tensor data if the author wrote no postprocess; or a body. */
export type Content = EncodedResponse | BodyAnswer
