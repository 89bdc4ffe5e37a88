import type { IncomingHttpHeaders } from 'node:http'
import type { EncodedResponse } from '../protocol/encode.ts'
import type { BodyAnswer, EventAttributes } from './contract.ts'

/** The content of a request, an event or a V1 instance. */
export interface Call {
  readonly kind: 'request' | 'event' | 'instance'
  readonly data: CallData
  readonly contentType: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly event?: EventAttributes
  /** The length of the JSON before binary tensor data, for a transform without preprocess. */
  readonly jsonLength?: number | undefined
}

/**
 * The received bytes; or JSON that is part of an event, with its size in bytes. `isJson` means that
 * the bytes are JSON under any content type.
 */
export type CallData =
  | { readonly bytes: Uint8Array; readonly isJson?: boolean }
  | { readonly value: unknown; readonly jsonBytes?: number | undefined }

export interface Reply {
  /** Undefined means no reply event and, over HTTP, no content. */
  readonly content: Content | undefined
  readonly event?: { readonly type?: string; readonly attributes: Record<string, string> }
}

/** A body, or JSON; without postprocess, binary tensor data may follow the JSON. */
export type Content = EncodedResponse | BodyAnswer
