import type { IncomingHttpHeaders } from 'node:http'

/*
 * Records the time of each part of a request as a few numbers, from which spans.ts creates spans
 * later. Used only if an OTLP endpoint is set.
 */

export type Part = 'load' | 'decode' | 'preprocess' | 'queue' | 'run' | 'postprocess' | 'encode'

export type Attributes = Readonly<Record<string, string | number | boolean>>

/** Lasts until the next part begins, or until the response. */
export interface TimedPart {
  readonly name: Part
  readonly began: number
  readonly attributes: Attributes | undefined
}

/**
 * How many events or instances of one request may have their own spans. OpenTelemetry's queue drops
 * spans if more than 2,048 arrive at once, and an event has four spans.
 */
const MOST_CHILDREN = 512

/**
 * The progress of a request, or of one of its events or V1 instances. Times are on
 * performance.now()'s clock.
 */
export class Trace {
  readonly began: number
  readonly parts: TimedPart[] = []
  readonly children: Trace[] = []
  /** Whether the request's path is a route. */
  isRouted = false
  ended: number | undefined
  error: unknown
  private own: SpanIds | undefined
  private readonly whole: Trace | undefined

  /** @param whole the trace of the request, if this is a part of one */
  constructor(began: number, whole?: Trace) {
    this.began = began
    this.whole = whole
  }

  enter(name: Part, attributes?: Attributes, at = performance.now()): void {
    if (this.parts.at(-1)?.name === name) return
    this.parts.push({ name, began: at, attributes })
  }

  answered(error?: unknown): void {
    this.ended = performance.now()
    this.error = error
  }

  /**
   * Begins the trace of an event or, without attributes, of an instance.
   * @returns undefined if the request already has {@link MOST_CHILDREN}
   */
  child(event?: Attributes): Trace | undefined {
    if (this.children.length === MOST_CHILDREN) return undefined
    const began = performance.now()
    const trace = event === undefined ? new Trace(began, this) : new EventTrace(event, began, this)
    this.children.push(trace)
    return trace
  }

  /**
   * Returns the ids of this trace's span, also for log lines. @param traceparent the span's parent
   */
  ids(traceparent: string | undefined): SpanIds {
    this.own ??= {
      traceId:
        this.whole?.ids(traceparent).traceId ??
        parseTraceparent(traceparent)?.traceId ??
        randomHex(16),
      spanId: randomHex(8),
    }
    return this.own
  }
}

export class EventTrace extends Trace {
  readonly attributes: Attributes

  constructor(attributes: Attributes, began: number, whole: Trace) {
    super(began, whole)
    this.attributes = attributes
  }

  origin(): RemoteSpan | undefined {
    return parseTraceparent(this.attributes.traceparent?.toString())
  }
}

export interface SpanIds {
  readonly traceId: string
  readonly spanId: string
}

export interface RemoteSpan extends SpanIds {
  readonly traceFlags: number
}

export interface TracedRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion?: string | undefined
  /** The service and method of a gRPC call, such as `inference.GRPCInferenceService/ModelInfer`. */
  readonly rpc?: string
  readonly headers: IncomingHttpHeaders
}

export interface Finished {
  readonly trace: Trace
  readonly request: TracedRequest
  /** The HTTP or gRPC status; undefined if the client hung up before the response. */
  readonly status: number | undefined
  readonly ids: SpanIds
  readonly parent: RemoteSpan | undefined
  readonly ended: number
}

export interface Traces {
  /**
   * @returns undefined for requests that do not run the model: most spans would otherwise describe
   * probes
   */
  begin(method: string | undefined, arrived: number): Trace | undefined
  /** @param traceparent the trace that the request continues (W3C Trace Context) */
  finish(
    trace: Trace,
    request: TracedRequest,
    status: number | undefined,
    traceparent: string | undefined,
  ): void
  /** Passes every finished request to a receiver, beginning with the requests kept so far. */
  sendTo(receiver: (finished: Finished) => void): void
}

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

/** @returns undefined if the traceparent is invalid (W3C Trace Context, section 3.2.2) */
function parseTraceparent(traceparent: string | undefined): RemoteSpan | undefined {
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(traceparent ?? '') ?? []
  if (traceId === undefined || spanId === undefined || (version === '00' && more !== ''))
    return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags as string, 16) }
}

const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})($|-.*$)/

/**
 * Generates random hexadecimal digits like OpenTelemetry's SDK. node:crypto would take 4 µs,
 * besides about 35 µs for a request.
 */
function randomHex(bytes: number): string {
  for (let i = 0; i < bytes; i += 4) RANDOM.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), i)
  return RANDOM.toString('hex', 0, bytes)
}

const RANDOM = Buffer.alloc(16)
