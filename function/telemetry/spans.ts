import {
  type Attributes,
  trace as api,
  type Link,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  type SpanStatus,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api'
import { hrTime, hrTimeDuration, type InstrumentationScope, TraceState } from '@opentelemetry/core'
import type { Resource } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  RandomIdGenerator,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace'
import type { PushConfig } from '../config.ts'
import type { EventTrace, Finished, RemoteSpan, Trace, TracedRequest } from './trace.ts'

/*
 * Spans by OpenTelemetry's semantic conventions for HTTP servers, messaging and CloudEvents: one of a request, in it one of each event
 * that the request carries, and in those the parts of the way.
 *
 * They are made when the request is over, as the SDK's exporters take them: its tracer, which keeps an object for each from its
 * beginning, takes three times as long (7.1 µs to 2.3 for five spans without attributes of their own, sdk-trace 3.1.0).
 */

/** @returns what makes the spans of a request that is over; none where it is not sampled */
export function createSpans(
  config: PushConfig,
  resource: Resource,
  scope: InstrumentationScope,
): (finished: Finished) => ReadableSpan[] {
  const sampler = createSampler(config)
  const newIds = new RandomIdGenerator()

  function requestSpans(finished: Finished): ReadableSpan[] {
    const { trace, request, status, ids, ended } = finished
    const { headers } = request
    const parent = remote(
      finished.parent,
      headers.traceparent === undefined
        ? trace.events[0]?.attributes.tracestate
        : headers.tracestate,
    )
    const around = parent === undefined ? ROOT_CONTEXT : api.setSpanContext(ROOT_CONTEXT, parent)
    // None of the samplers asks for names or attributes, which most requests may then do without.
    const sampled = sampler.shouldSample(around, ids.traceId, '', SpanKind.SERVER, {}, [])
    if (sampled.decision !== SamplingDecision.RECORD_AND_SAMPLED) return []
    const traceState = sampled.traceState ?? parent?.traceState
    const own = { ...ids, traceFlags: TraceFlags.SAMPLED, ...(traceState && { traceState }) }
    const route = routeOf(finished)
    const name = [request.method, route].filter(Boolean).join(' ')
    const attributes = httpAttributes(request, status, route)
    return [
      span({
        name,
        kind: SpanKind.SERVER,
        own,
        parent,
        began: trace.began,
        ended,
        attributes,
        status: serverStatus(status),
      }),
      ...partSpans(trace, own, ended),
      ...trace.events.flatMap(event => eventSpans(event, own, ended)),
    ]
  }

  function eventSpans(
    event: EventTrace,
    parent: SpanContext,
    requestEnded: number,
  ): ReadableSpan[] {
    const { began, ended = requestEnded, error, attributes } = event
    const own = childOf(parent)
    const origin = remote(event.origin(), attributes.tracestate)
    return [
      span({
        name: `process ${attributes.type}`,
        kind: SpanKind.CONSUMER,
        own,
        parent,
        began,
        ended,
        attributes: { ...eventAttributes(attributes), ...errorType(error) },
        status: failure(error),
        // Where the event came from, which need not be who sends it now.
        links: origin === undefined ? [] : [{ context: origin }],
      }),
      ...partSpans(event, own, ended),
    ]
  }

  function partSpans(
    { parts, ended, error }: Trace,
    parent: SpanContext,
    requestEnded: number,
  ): ReadableSpan[] {
    return parts.map(({ name, began, attributes }, i) => {
      const next = parts[i + 1]
      const failed = next === undefined ? error : undefined
      return span({
        name,
        kind: SpanKind.INTERNAL,
        own: childOf(parent),
        parent,
        began,
        ended: next?.began ?? ended ?? requestEnded,
        attributes: { ...attributes, ...errorType(failed) },
        status: failure(failed),
      })
    })
  }

  const childOf = (parent: SpanContext): SpanContext => ({
    ...parent,
    spanId: newIds.generateSpanId(),
  })

  function span({
    name,
    kind,
    own,
    parent,
    began,
    ended,
    attributes,
    status,
    links = [],
  }: Described): ReadableSpan {
    const [startTime, endTime] = [hrTime(began), hrTime(ended)]
    return {
      name,
      kind,
      spanContext: () => own,
      // Undefined is as good as absent, and a spread that leaves it out takes longer than all the rest.
      parentSpanContext: parent as SpanContext,
      startTime,
      endTime,
      duration: hrTimeDuration(startTime, endTime),
      ended: true,
      status,
      attributes,
      links,
      events: [],
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
      resource,
      instrumentationScope: scope,
    }
  }

  return requestSpans
}

interface Described {
  readonly name: string
  readonly kind: SpanKind
  readonly own: SpanContext
  readonly parent: SpanContext | undefined
  /** On performance.now()'s clock. */
  readonly began: number
  readonly ended: number
  readonly attributes: Attributes
  readonly status: SpanStatus
  readonly links?: Link[]
}

function createSampler({ sampler }: PushConfig): Sampler {
  const { parentBased, share } = sampler
  const root =
    share === 1
      ? new AlwaysOnSampler()
      : share === 0
        ? new AlwaysOffSampler()
        : new TraceIdRatioBasedSampler(share)
  return parentBased ? new ParentBasedSampler({ root }) : root
}

function remote(span: RemoteSpan | undefined, tracestate: unknown): SpanContext | undefined {
  if (span === undefined) return undefined
  return {
    ...span,
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: new TraceState(String(tracestate)) }),
  }
}

/** The path with names in place of models and versions; of a path that leads nowhere none, for that may be anything. */
function routeOf({ request: { url = '/' }, status }: Finished): string | undefined {
  if (status === undefined || status === 404 || status === 405) return undefined
  return pathOf(url)
    .replace(/(?<=\/models\/)[^/:]+/, '{model}')
    .replace(/(?<=\/versions\/)[^/]+/, '{version}')
}

const pathOf = (url: string) => url.split('?', 1)[0] as string

function httpAttributes(
  { method = '', url = '/', httpVersion, headers }: TracedRequest,
  status: number | undefined,
  route: string | undefined,
): Attributes {
  const host = headers.host === undefined ? undefined : URL.parse(`http://${headers.host}`)
  return {
    'http.request.method': method,
    'url.scheme': 'http',
    'url.path': pathOf(url),
    ...(route && { 'http.route': route }),
    ...(host && { 'server.address': host.hostname }),
    ...(host?.port && { 'server.port': Number(host.port) }),
    ...(httpVersion && { 'network.protocol.version': httpVersion }),
    ...(headers['user-agent'] && { 'user_agent.original': headers['user-agent'] }),
    ...(status && { 'http.response.status_code': status }),
    ...(isFailure(status) && { 'error.type': status === undefined ? 'aborted' : String(status) }),
  }
}

/** What a caller did wrong is no failure of the server's span. */
const isFailure = (status: number | undefined) => status === undefined || status >= 500

const serverStatus = (status: number | undefined): SpanStatus => ({
  code: isFailure(status) ? SpanStatusCode.ERROR : SpanStatusCode.UNSET,
})

function eventAttributes({
  id,
  source,
  type,
  specversion,
  subject,
}: EventTrace['attributes']): Attributes {
  return {
    'messaging.system': 'cloudevents',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'cloudevents.event_id': id,
    'cloudevents.event_source': source,
    'cloudevents.event_type': type,
    'cloudevents.event_spec_version': specversion,
    ...(subject !== undefined && { 'cloudevents.event_subject': subject }),
  }
}

const failure = (error: unknown): SpanStatus =>
  error === undefined
    ? { code: SpanStatusCode.UNSET }
    : { code: SpanStatusCode.ERROR, message: (error as Error).message }

const errorType = (error: unknown): Attributes =>
  error === undefined ? {} : { 'error.type': (error as Error).constructor.name }
