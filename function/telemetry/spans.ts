import {
  type Attributes,
  trace as api,
  type Context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type Tracer,
} from '@opentelemetry/api'
import { hrTime, type InstrumentationScope, TraceState } from '@opentelemetry/core'
import type { Resource } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { PushConfig } from '../config/push.ts'
import type { SamplerName } from '../config/variables.ts'
import {
  EventTrace,
  type Finished,
  type RemoteSpan,
  type SpanIds,
  type Trace,
  type TracedRequest,
} from './trace.ts'

/*
 * Creates spans that follow OpenTelemetry's semantic conventions for HTTP and gRPC servers,
 * messaging and CloudEvents: one for the request, one for each of its events or V1 instances, and
 * one for each part of the work. They are created after the request, and only if it is sampled, so startup does not
 * load the SDK.
 */

export interface RecorderOptions {
  readonly push: PushConfig
  readonly resource: Resource
  readonly scope: InstrumentationScope
  readonly processor: SpanProcessor
  readonly scheme: 'http' | 'https'
}

export class SpanRecorder {
  private readonly ids = new KnownIds()
  private readonly tracer: Tracer
  private readonly scheme: RecorderOptions['scheme']

  constructor({ push, resource, scope, processor, scheme }: RecorderOptions) {
    const provider = new TracerProvider({
      resource,
      sampler: SAMPLERS[push.sampler](push.samplerShare),
      idGenerator: this.ids,
      spanProcessors: [processor],
    })
    this.tracer = provider.getTracer(scope.name, scope.version)
    this.scheme = scheme
  }

  record(finished: Finished): void {
    const { trace, request, status, ended } = finished
    const server = this.startServer(finished)
    if (!server.isRecording()) return
    if (request.rpc === undefined) {
      const route = routeOf(finished)
      server.updateName([request.method, route].filter(Boolean).join(' '))
      server.setAttributes({ 'url.scheme': this.scheme, ...httpAttributes(request, status, route) })
      server.setStatus(serverStatus(status)).end(hrTime(ended))
    } else {
      server.updateName(request.rpc)
      server.setAttributes(rpcAttributes(request, status))
      server.setStatus(rpcStatus(status)).end(hrTime(ended))
    }
    const within = api.setSpan(ROOT_CONTEXT, server)
    this.recordWithin(trace, within, ended)
  }

  /**
   * Starts the request's span without name and attributes: samplers ignore both, and perhaps most
   * requests are not sampled.
   */
  private startServer({ trace, request, ids, parent }: Finished): Span {
    const { traceparent, tracestate } = request.headers
    const state =
      traceparent === undefined ? firstEventOf(trace)?.attributes.tracestate : tracestate
    const context = remote(parent, state)
    const around = context === undefined ? ROOT_CONTEXT : api.setSpanContext(ROOT_CONTEXT, context)
    const options = { kind: SpanKind.SERVER, startTime: hrTime(trace.began) }
    return this.ids.use(ids, () => this.tracer.startSpan('', options, around))
  }

  private recordWithin(trace: Trace, around: Context, requestEnded: number): void {
    this.recordParts(trace, around, requestEnded)
    for (const child of trace.children) {
      const { began, ended = requestEnded, error } = child
      const { name, options } = describeChild(child)
      const attributes = { ...options.attributes, ...errorType(error) }
      const span = this.ids.use(child.ids(undefined), () =>
        this.tracer.startSpan(name, { ...options, startTime: hrTime(began), attributes }, around),
      )
      span.setStatus(failure(error)).end(hrTime(ended))
      this.recordWithin(child, api.setSpan(around, span), ended)
    }
  }

  private recordParts({ parts, ended, error }: Trace, around: Context, requestEnded: number): void {
    for (const [i, { name, began, attributes }] of parts.entries()) {
      const next = parts[i + 1]
      const failed = next === undefined ? error : undefined
      const options = {
        startTime: hrTime(began),
        attributes: { ...attributes, ...errorType(failed) },
      }
      const span = this.tracer.startSpan(name, options, around)
      span.setStatus(failure(failed)).end(hrTime(next?.began ?? ended ?? requestEnded))
    }
  }
}

/** Generates random ids, except for spans whose ids are known because the log may contain them. */
class KnownIds implements IdGenerator {
  private readonly random = new RandomIdGenerator()
  private known: SpanIds | undefined

  /** Uses known ids for one span. @param start starts the span */
  use<Started>(ids: SpanIds, start: () => Started): Started {
    this.known = ids
    try {
      return start()
    } finally {
      this.known = undefined
    }
  }

  generateTraceId(): string {
    return this.known?.traceId ?? this.random.generateTraceId()
  }

  generateSpanId(): string {
    return this.known?.spanId ?? this.random.generateSpanId()
  }
}

/** The SDK's version 3 no longer reads OTEL_TRACES_SAMPLER. */
const SAMPLERS: Readonly<Record<SamplerName, (share: number) => Sampler>> = {
  always_on: () => new AlwaysOnSampler(),
  always_off: () => new AlwaysOffSampler(),
  traceidratio: share => new TraceIdRatioBasedSampler(share),
  parentbased_always_on: () => new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  parentbased_always_off: () => new ParentBasedSampler({ root: new AlwaysOffSampler() }),
  parentbased_traceidratio: share =>
    new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(share) }),
}

function remote(span: RemoteSpan | undefined, tracestate: unknown): SpanContext | undefined {
  if (span === undefined) return undefined
  const traceState = tracestate === undefined ? undefined : new TraceState(String(tracestate))
  return { ...span, isRemote: true, ...(traceState && { traceState }) }
}

const firstEventOf = ({ children: [first] }: Trace) =>
  first instanceof EventTrace ? first : undefined

function describeChild(child: Trace): { readonly name: string; readonly options: SpanOptions } {
  if (!(child instanceof EventTrace)) return { name: 'instance', options: {} }
  const { attributes } = child
  const origin = remote(child.origin(), attributes.tracestate)
  return {
    name: `process ${attributes.type}`,
    options: {
      kind: SpanKind.CONSUMER,
      attributes: eventAttributes(attributes),
      links: linksTo(origin),
    },
  }
}

/** Links to the event's origin, which may differ from the request's sender. */
const linksTo = (context: SpanContext | undefined): Link[] =>
  context === undefined ? [] : [{ context }]

/** Returns the path with placeholders for models and versions; undefined for an unknown path. */
function routeOf({ trace, request: { url = '/' } }: Finished): string | undefined {
  if (!trace.isRouted) return undefined
  return pathOf(url)
    .replace(/(?<=\/models\/)[^/:]+/, '{model}')
    .replace(/(?<=\/versions\/)[^/]+/, '{version}')
}

const pathOf = (url: string) => url.split('?', 1)[0] as string

/** See OpenTelemetry's conventions for gRPC. */
function rpcAttributes(
  { rpc = '', headers }: TracedRequest,
  status: number | undefined,
): Attributes {
  const [service = '', method = ''] = rpc.split('/')
  return {
    'rpc.system': 'grpc',
    'rpc.service': service,
    'rpc.method': method,
    ...(headers['user-agent'] && { 'user_agent.original': headers['user-agent'] }),
    ...(status !== undefined && { 'rpc.grpc.status_code': status }),
  }
}

/**
 * Failures of the server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
 * DATA_LOSS; undefined if the client hung up.
 */
const RPC_FAILURES = new Set<number | undefined>([undefined, 2, 4, 12, 13, 14, 15])

const rpcStatus = (status: number | undefined): SpanStatus => ({
  code: RPC_FAILURES.has(status) ? SpanStatusCode.ERROR : SpanStatusCode.UNSET,
})

function httpAttributes(
  { method = '', url = '/', httpVersion, headers }: TracedRequest,
  status: number | undefined,
  route: string | undefined,
): Attributes {
  const { address, port } = HOST.exec(headers.host?.toLowerCase() ?? '')?.groups ?? {}
  return {
    'http.request.method': method,
    'url.path': pathOf(url),
    ...(route && { 'http.route': route }),
    ...(address && { 'server.address': address }),
    ...(port && { 'server.port': Number(port) }),
    ...(httpVersion && { 'network.protocol.version': httpVersion }),
    ...(headers['user-agent'] && { 'user_agent.original': headers['user-agent'] }),
    ...(status && { 'http.response.status_code': status }),
    ...(isFailure(status) && { 'error.type': String(status ?? 'aborted') }),
  }
}

/** A Host header. URL.parse would take milliseconds for a long non-ASCII host. */
const HOST = /^(?<address>\[[^\]]*\]|[^:]+)(?::(?<port>\d{1,5}))?$/

/** A caller's mistake is not a failure of the server. */
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

/** The code of an error, which another thread keeps, unlike the class. */
function errorType(error: unknown): Attributes {
  if (error === undefined) return {}
  const { code } = error as { readonly code?: string }
  return { 'error.type': code ?? (error as Error).constructor.name }
}
