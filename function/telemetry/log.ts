import type { IncomingHttpHeaders } from 'node:http'
import type { Trace } from './trace.ts'

/*
 * One JSON object a line on standard output, as log collectors expect, in pino's format. Pino itself takes 6 ms of a start of 80
 * (10.4, 25 interleaved starts), and of what it does beyond this nothing is used.
 */

const LEVELS = {
  fatal: 60,
  error: 50,
  warn: 40,
  info: 30,
  debug: 20,
  trace: 10,
  silent: Number.POSITIVE_INFINITY,
}

export type LogLevel = keyof typeof LEVELS

export const LOG_LEVELS = Object.keys(LEVELS) as LogLevel[]

/** Writes what happened: a sentence, or fields with one. An Error among the fields is written with its stack. */
type Write = (...happened: [message: string] | [fields: object, message: string]) => void

export interface Log extends Readonly<Record<Exclude<LogLevel, 'silent'>, Write>> {
  isLevelEnabled(level: LogLevel): boolean
}

/** @param least what is less than that is not written */
export function createLog(least: LogLevel): Log {
  const isLevelEnabled = (level: LogLevel) => LEVELS[level] >= LEVELS[least]
  const at = (level: LogLevel): Write =>
    isLevelEnabled(level) ? (...happened) => writeLine(LEVELS[level], happened) : () => {}
  return {
    isLevelEnabled,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
  }
}

let output: NodeJS.WriteStream | undefined
/** True after a line that could not be written, or not all of it. */
let torn = false

function writeLine(level: number, happened: readonly unknown[]): void {
  if (output === undefined) {
    output = process.stdout
    // Who read the log may be gone, or its disk full; that is no reason to go too.
    output.on('error', () => {
      torn = true
    })
  }
  const [fields, message] = happened.length === 1 ? [undefined, happened[0]] : happened
  const line = {
    level,
    time: new Date().toISOString(),
    ...(fields as object | undefined),
    msg: message,
  }
  // The first line for which there is room again must not be taken for the rest of the one for which there was not.
  const start = torn ? '\n' : ''
  torn = false
  output.write(
    `${start}${JSON.stringify(line, (_key, value) => (value instanceof Error ? describe(value) : value))}\n`,
  )
}

const describe = ({ name, message, stack }: Error) => ({ type: name, message, stack })

interface Traced {
  /** W3C Trace Context. */
  readonly traceparent?: string | undefined
  readonly trace?: Trace | undefined
}

/** What ties a log line to its request: the caller's own id, the trace it belongs to, and where spans are sent its own (as OpenTelemetry names them). */
export function traceOf(headers: IncomingHttpHeaders, { traceparent, trace }: Traced) {
  const ids = trace?.ids(traceparent)
  return {
    requestId: headers['x-request-id'],
    traceparent,
    trace_id: ids?.traceId,
    span_id: ids?.spanId,
  }
}
