import type { IncomingHttpHeaders } from 'node:http'
import { type Logger, pino } from 'pino'
import type { Trace } from './trace.ts'

export type Log = Logger

/** One JSON object a line on standard output, as log collectors expect. */
export const createLog = (level: string): Log => pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime })

interface Traced {
  /** W3C Trace Context. */
  readonly traceparent?: string | undefined
  readonly trace?: Trace | undefined
}

/** What ties a log line to its request: the caller's own id, the trace it belongs to, and where spans are sent its own (as OpenTelemetry names them). */
export function traceOf(headers: IncomingHttpHeaders, { traceparent, trace }: Traced) {
  const ids = trace?.ids(traceparent)
  return { requestId: headers['x-request-id'], traceparent, trace_id: ids?.traceId, span_id: ids?.spanId }
}
