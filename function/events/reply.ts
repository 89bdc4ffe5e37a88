import { hash } from 'node:crypto'
import type { Reply } from '../transform/call.ts'
import type { Attributes } from './cloudevent.ts'

/** The identity of replies. */
export interface Replier {
  /** The `source` of replies. An event that carries it is one of our own replies. */
  readonly source: string
  readonly modelName: string
  readonly modelVersion: string | undefined
}

/** What a reply carries. */
export interface ReplyContent {
  readonly contentType: string
  /** What the author's own code says of it. */
  readonly event?: Reply['event']
}

/**
 * The attributes of the event that answers `request`. They depend on the request and the model
 * alone, so that an event delivered twice gets the same reply, which a consumer recognises by
 * (source, id). That is why there is no `time`.
 * @param outcome the last word of the reply's type, in place of the request's `.request` or after
 * its type
 */
export function replyAttributes(
  request: Attributes,
  outcome: 'response' | 'error',
  replier: Replier,
  { contentType, event }: ReplyContent,
): Attributes {
  const type = event?.type ?? replyType(request.type, outcome)
  const identity = [
    request.source,
    request.id,
    type,
    replier.modelName,
    replier.modelVersion ?? null,
  ]
  const reply: Attributes = {
    specversion: '1.0',
    id: hash('sha256', JSON.stringify(identity), 'hex').slice(0, 32),
    source: replier.source,
    type,
    datacontenttype: contentType,
    subject: request.id,
    causationid: request.id,
  }
  const { correlationid, traceparent, tracestate } = request
  const passesOn = correlationid !== undefined || traceparent !== undefined
  return passesOn || tracestate !== undefined || event?.attributes !== undefined
    ? { ...reply, ...passedOn(request), ...event?.attributes }
    : reply
}

/** Attributes of a request that its reply has as well. */
const passedOn = ({ correlationid, traceparent, tracestate }: Partial<Attributes>) => ({
  // Knative's RequestReply matches the reply on it.
  ...(correlationid !== undefined && { replyid: correlationid }),
  // The trace of the event's origin goes on unchanged (distributed tracing extension).
  ...(traceparent !== undefined && { traceparent }),
  ...(tracestate !== undefined && { tracestate }),
})

const replyType = (type: string, outcome: string) =>
  type.endsWith('.request')
    ? `${type.slice(0, -'.request'.length)}.${outcome}`
    : `${type}.${outcome}`
