import type { IncomingHttpHeaders } from 'node:http'
import type { EncodedResponse } from '../protocol/encode.ts'
import type { BodyAnswer, EventAttributes } from './contract.ts'

/** One call of the author's code: what a request, an event or a V1 instance brings. */
export interface Call {
  readonly kind: 'request' | 'event' | 'instance'
  readonly data: CallData
  /** Of the data. */
  readonly contentType: string | undefined
  /** Of the HTTP request. */
  readonly headers: IncomingHttpHeaders
  /** The attributes of the event. */
  readonly event?: EventAttributes
  /**
   * Where the JSON of a V2 request ends, with binary tensor data behind it; for a transform without
   * preprocess.
   */
  readonly jsonLength?: number | undefined
}

/**
 * Bytes as they came; or JSON that came within an event's own, parsed, with how many bytes it was; or
 * as text, where it is large: then it is JSON whatever the content type says.
 */
export type CallData =
  | { readonly bytes: Uint8Array; readonly isJson?: boolean }
  | { readonly value: unknown; readonly jsonBytes?: number | undefined }

/** What a call is answered with. */
export interface Reply {
  /** Undefined: no reply event, and over HTTP no content. */
  readonly content: Content | undefined
  /** What the author says of the reply event. */
  readonly event?: { readonly type?: string; readonly attributes: Record<string, string> }
}

/** JSON, which may have binary tensor data behind it where the author wrote no postprocess; or a body. */
export type Content = EncodedResponse | BodyAnswer
