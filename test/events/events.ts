import assert from 'node:assert/strict'
import { type CloudEvent, HTTP } from 'cloudevents'

/** An event in the JSON format. Tests may leave out fields or use wrong values. */
export type EventJson = Record<string, unknown>

export const IRIS = {
  inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] }],
}

export const EVENT: EventJson = {
  specversion: '1.0',
  id: 'flower-1',
  source: '/garden',
  type: 'com.example.iris.request',
  data: IRIS,
}

export function without(name: string, event = EVENT): EventJson {
  const { [name]: _, ...rest } = event
  return rest
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: Buffer
  readonly text: string
}

export async function post(
  url: string,
  headers: Record<string, string>,
  body: string | Uint8Array,
): Promise<Answer> {
  // fetch would send a string as text/plain.
  const answer = await fetch(url, { method: 'POST', headers, body: Buffer.from(body) })
  const bytes = Buffer.from(await answer.arrayBuffer())
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    bytes,
    text: bytes.toString(),
  }
}

export const STRUCTURED = 'application/cloudevents+json'
export const BATCHED = 'application/cloudevents-batch+json'

export const SEND = {
  binary(
    url: string,
    { data, datacontenttype = 'application/json', ...attributes }: EventJson,
  ): Promise<Answer> {
    const headers: Record<string, string> = { 'content-type': String(datacontenttype) }
    for (const [name, value] of Object.entries(attributes))
      headers[`ce-${name}`] = encodeURIComponent(String(value))
    return post(
      url,
      headers,
      data === undefined ? '' : data instanceof Uint8Array ? data : JSON.stringify(data),
    )
  },
  structured: (url: string, event: EventJson) =>
    post(url, { 'content-type': STRUCTURED }, JSON.stringify(event)),
  batched: (url: string, event: EventJson) =>
    post(url, { 'content-type': BATCHED }, JSON.stringify([event])),
}

export type Mode = keyof typeof SEND
export const MODES = Object.keys(SEND) as Mode[]

/** The only reply, read without the SDK, after the SDK has validated it. */
export function replyIn(mode: Mode, answer: Answer): EventJson {
  assert.equal(answer.status, 200, answer.text)
  assert.equal(sdkEvents(answer).length, 1)
  if (mode === 'structured') return JSON.parse(answer.text)
  if (mode === 'batched') return JSON.parse(answer.text)[0]
  const attributes = Object.entries(answer.headers)
    .filter(([header]) => header.startsWith('ce-'))
    .map(([header, value]) => [header.slice(3), decodeURIComponent(value)])
  const contentType = answer.headers['content-type']
  const data = contentType === 'application/json' ? JSON.parse(answer.text) : answer.bytes
  return { ...Object.fromEntries(attributes), datacontenttype: contentType, data }
}

/** Reads events with the SDK. @throws {Error} if one is not valid */
export function sdkEvents({ headers, bytes, text }: Answer): readonly CloudEvent<unknown>[] {
  const body = headers['content-type'] === 'application/octet-stream' ? bytes : text
  const events = [HTTP.toEvent<unknown>({ headers, body })].flat() as CloudEvent<unknown>[]
  for (const event of events) assert.equal(event.validate(), true)
  return events
}

/** Asserts that the response has this status and a JSON error. @returns the text of the error */
export function refusal(status: number, answer: Answer): string {
  assert.deepEqual(
    [answer.status, answer.headers['content-type']],
    [status, 'application/json'],
    answer.text,
  )
  const { error, ...rest } = JSON.parse(answer.text)
  assert.deepEqual(rest, {})
  assert.ok(typeof error === 'string' && error !== '')
  assert.deepEqual(eventHeaders(answer), [])
  return error
}

/**
 * An event is acknowledged without a reply if the response contains nothing that a Broker could
 * interpret as an event or a failure.
 */
export function assertAcknowledged(answer: Answer): void {
  assert.deepEqual(
    [answer.status, answer.text, answer.headers['content-type'], eventHeaders(answer)],
    [204, '', undefined, []],
  )
}

export const eventHeaders = ({ headers }: Answer) =>
  Object.keys(headers).filter(header => header.startsWith('ce-'))
