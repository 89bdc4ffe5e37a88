import type { IncomingHttpHeaders } from 'node:http'
import type { Trace } from './trace.ts'

/*
 * Writes one JSON object per line to standard output, for log collectors, in pino's format. Pino
 * itself would take 6 ms of an 80 ms startup (version 10.4, 25 interleaved starts).
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

/** An Error keeps its stack, code and causes. */
type Write = (...happened: [message: string] | [fields: object, message: string]) => void

export interface Log extends Readonly<Record<Exclude<LogLevel, 'silent'>, Write>> {
  isLevelEnabled(level: LogLevel): boolean
}

/** @param least the lowest level that is written */
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

/**
 * The limit of bytes that wait for the reader of standard output. Further lines are dropped and
 * counted.
 */
const MAX_WAITING_BYTES = 2 ** 20

let output: NodeJS.WriteStream | undefined
let dropped = 0
let torn = false

function writeLine(level: number, happened: readonly unknown[]): void {
  if (output === undefined) {
    output = process.stdout
    // The reader of the log may have exited, or the disk may be full.
    output.on('error', () => {
      torn = true
    })
    // Report dropped lines as soon as the reader continues: the next line may be hours away.
    output.on('drain', tellOfDropped)
  }
  if (output.writableLength > MAX_WAITING_BYTES) {
    dropped++
    return
  }
  tellOfDropped()
  const [fields, message] = happened.length === 1 ? [undefined, happened[0]] : happened
  const line = {
    level,
    time: new Date().toISOString(),
    ...(fields as object | undefined),
    msg: message,
  }
  const start = torn ? '\n' : ''
  torn = false
  const json = JSON.stringify(line, describeErrors).replace(LINE_ENDS, escapeCharacter)
  output.write(`${start}${json}\n`)
}

/**
 * Characters that JSON permits in a string, but that end a line for some readers, such as Node's
 * readline and Python's splitlines().
 */
const LINE_ENDS = /[\u0085\u2028\u2029]/g

const escapeCharacter = (character: string) =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

function tellOfDropped(): void {
  const count = dropped
  dropped = 0
  if (count === 0) return
  const reason = 'standard output was not read'
  writeLine(LEVELS.warn, [{ dropped: count }, `${count} log lines were dropped: ${reason}`])
}

const describeErrors = (_key: string, value: unknown) =>
  value instanceof Error ? describe(value, 0) : value

/** An error can be its own cause. */
const MAX_CAUSES = 5

/**
 * Converts an error to a plain object, with its causes: fetch() and node:net give the reason only
 * there, or in the errors of the cause.
 */
function describe(error: Error, depth: number): object {
  const { name, message, stack, cause } = error
  const { code, errors } = error as { code?: unknown; errors?: unknown }
  const inner = (value: unknown) =>
    value instanceof Error && depth < MAX_CAUSES ? describe(value, depth + 1) : String(value)
  return {
    type: name,
    ...(code !== undefined && { code: String(code) }),
    message,
    stack,
    ...(cause !== undefined && { cause: inner(cause) }),
    ...(Array.isArray(errors) && { errors: errors.map(inner) }),
  }
}

interface Traced {
  /** The header of W3C Trace Context. */
  readonly traceparent?: string | undefined
  readonly trace?: Trace | undefined
}

/**
 * Returns the fields that connect a log line with its request. trace_id and span_id are
 * OpenTelemetry's names.
 */
export function traceOf(headers: IncomingHttpHeaders, { traceparent, trace }: Traced) {
  const ids = trace?.ids(traceparent)
  return {
    requestId: headers['x-request-id'],
    traceparent,
    trace_id: ids?.traceId,
    span_id: ids?.spanId,
  }
}
