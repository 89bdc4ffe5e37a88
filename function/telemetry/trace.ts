import type { IncomingHttpHeaders } from 'node:http'

/*
 * Where the time of a request goes: a few numbers kept on its way, of which spans.ts makes spans afterwards. Nothing here is in use
 * while no OTLP endpoint is configured.
 */

/** The parts of the way to an answer, in their order. */
export type Part = 'load' | 'decode' | 'queue' | 'run' | 'encode'

export type Attributes = Readonly<Record<string, string | number | boolean>>

/** One part of the way: until the next begins, or all of it is over. */
export interface TimedPart {
  readonly name: Part
  readonly began: number
  readonly attributes: Attributes | undefined
}

/** The way of a request, or of one event that it carries, to its answer. Times are on performance.now()'s clock. */
export class Trace {
  readonly began: number
  readonly parts: TimedPart[] = []
  readonly events: EventTrace[] = []
  /** When it was answered, or failed. */
  ended: number | undefined
  /** What went wrong instead of an answer, in the last part. */
  error: unknown
  private own: SpanIds | undefined

  constructor(began: number) {
    this.began = began
  }

  /** The next part of the way begins, and the one before is over. */
  enter(name: Part, attributes?: Attributes, at = performance.now()): void {
    this.parts.push({ name, began: at, attributes })
  }

  answered(error?: unknown): void {
    this.ended = performance.now()
    this.error = error
  }

  /** @param attributes of an event that the request carries @returns that event's own way */
  event(attributes: Attributes): Trace {
    const trace = new EventTrace(attributes)
    this.events.push(trace)
    return trace
  }

  /** What its span is called by, for log lines as well. @param traceparent of what it belongs to */
  ids(traceparent: string | undefined): SpanIds {
    this.own ??= {
      traceId: parseTraceparent(traceparent)?.traceId ?? randomHex(16),
      spanId: randomHex(8),
    }
    return this.own
  }
}

export class EventTrace extends Trace {
  readonly attributes: Attributes

  constructor(attributes: Attributes) {
    super(performance.now())
    this.attributes = attributes
  }

  /** The span that sent it on its way. */
  origin(): RemoteSpan | undefined {
    return parseTraceparent(this.attributes.traceparent?.toString())
  }
}

export interface SpanIds {
  readonly traceId: string
  readonly spanId: string
}

/** A span of another program. */
export interface RemoteSpan extends SpanIds {
  readonly traceFlags: number
}

/** Of a request, what its span tells; Node's own has more. */
export interface TracedRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion?: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** A request that is over. */
export interface Finished {
  readonly trace: Trace
  readonly request: TracedRequest
  /** Undefined where the client was gone before there was an answer. */
  readonly status: number | undefined
  readonly ids: SpanIds
  readonly parent: RemoteSpan | undefined
  readonly ended: number
}

export interface Traces {
  /** @returns undefined for requests that do not run the model: probes would be most of what is sent */
  begin(method: string | undefined, arrived: number): Trace | undefined
  /** @param traceparent that the request goes on with (W3C Trace Context) */
  finish(
    trace: Trace,
    request: TracedRequest,
    status: number | undefined,
    traceparent: string | undefined,
  ): void
  /** Gives on every request that is over, those kept until now first. */
  sendTo(receiver: (finished: Finished) => void): void
}

/** Requests that are over before there is a receiver. */
const MOST_KEPT = 1_000

export function createTraces(): Traces {
  const kept: Finished[] = []
  let receive = (finished: Finished) => {
    if (kept.length < MOST_KEPT) kept.push(finished)
  }
  return {
    begin: (method, arrived) => (method === 'POST' ? new Trace(arrived) : undefined),
    finish(trace, request, status, traceparent) {
      const parent = parseTraceparent(traceparent)
      receive({
        trace,
        request,
        status,
        ids: trace.ids(traceparent),
        parent,
        ended: performance.now(),
      })
    },
    sendTo(receiver) {
      receive = receiver
      for (const finished of kept.splice(0)) receiver(finished)
    },
  }
}

/** What a traceparent names; undefined where that is nothing (W3C Trace Context, section 3.2.2). */
function parseTraceparent(traceparent: string | undefined): RemoteSpan | undefined {
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(traceparent ?? '') ?? []
  if (traceId === undefined || spanId === undefined || (version === '00' && more !== ''))
    return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags as string, 16) }
}

const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})($|-.*$)/

/** As OpenTelemetry's SDK makes them: random enough to be different, where node:crypto takes 4 µs of about 35 for a request. */
function randomHex(bytes: number): string {
  for (let i = 0; i < bytes; i += 4) RANDOM.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), i)
  return RANDOM.toString('hex', 0, bytes)
}

const RANDOM = Buffer.alloc(16)
