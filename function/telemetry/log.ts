import type { IncomingHttpHeaders } from 'node:http'
import { type Logger, pino } from 'pino'

export type Log = Logger

/** One JSON object a line on standard output, as log collectors expect. */
export const createLog = (level: string): Log => pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime })

/** What ties a log line to its request: the caller's own id, and the trace (W3C Trace Context). */
export const traceOf = (headers: IncomingHttpHeaders) => ({
  requestId: headers['x-request-id'],
  traceparent: headers.traceparent,
})
