import { hash } from 'node:crypto'
import type { Reply } from '../transform/call.ts'
import type { Attributes } from './cloudevent.ts'

export interface Replier {
  /** The `source` of replies. An event with this source is one of our own replies. */
  readonly source: string
  readonly modelName: string
  readonly modelVersion: string | undefined
}

export interface ReplyContent {
  readonly contentType: string
  readonly event?: Reply['event']
}

/**
 * The attributes of the event that answers `request`. They depend only on the request and the
 * model, so an event that is delivered twice gets the same reply, which a consumer recognises by
 * (source, id). Replies therefore have no `time`.
 * @param outcome the last word of the reply's type; replaces `.request` in the request's type, or
 * is appended
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

const passedOn = ({ correlationid, traceparent, tracestate }: Partial<Attributes>) => ({
  // Knative's RequestReply matches replies by this attribute.
  ...(correlationid !== undefined && { replyid: correlationid }),
  // The event's original trace (distributed tracing extension).
  ...(traceparent !== undefined && { traceparent }),
  ...(tracestate !== undefined && { tracestate }),
})

const replyType = (type: string, outcome: string) =>
  type.endsWith('.request')
    ? `${type.slice(0, -'.request'.length)}.${outcome}`
    : `${type}.${outcome}`
