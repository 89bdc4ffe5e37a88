import type { Log } from '../telemetry/log.ts'
import type { Call } from './call.ts'
import type { Context, EventReply, ServedModel, TransformLog } from './contract.ts'
import { isA } from './errors.ts'
import type { RunningCall } from './running.ts'

export class CallContext implements Context {
  readonly contentType: Context['contentType']
  readonly event: Context['event']
  readonly reply: EventReply | undefined
  readonly model: ServedModel
  readonly state: Record<string, unknown> = {}
  readonly #headers: Call['headers']
  readonly #running: RunningCall
  readonly #makeLog: () => TransformLog

  constructor(
    { contentType, event, headers }: Call,
    running: RunningCall,
    { model, log }: { readonly model: ServedModel; readonly log: () => TransformLog },
  ) {
    this.contentType = contentType
    this.event = event
    this.reply = event === undefined ? undefined : { attributes: {} }
    this.model = model
    this.#makeLog = log
    this.#headers = headers
    this.#running = running
  }

  get headers(): Context['headers'] {
    return this.#headers as Context['headers']
  }

  /** Created when read, because most calls do not use it. */
  get log(): TransformLog {
    return this.#makeLog()
  }

  get signal(): AbortSignal {
    return this.#running.signal
  }
}

/** @param fields returns each line's fields, such as a trace's ids, when the line is written */
export function authorsLog(log: Log, fields: () => object): TransformLog {
  const at = (level: Level) => (message: string, more?: object) =>
    write(log, level, { ...more, ...fields() }, oneLine(message))
  return { info: at('info'), warn: at('warn'), error: at('error') }
}

type Level = 'info' | 'warn' | 'error'

interface Thrown {
  readonly thrown: unknown
  readonly fields: object
  readonly text: string
}

/** Logs a thrown value; an error with its cause and stack. */
export const logThrown = (log: Log, level: Level, { thrown, fields, text }: Thrown): void =>
  write(log, level, { ...(isA(thrown, Error) && { err: thrown }), ...fields }, text)

/**
 * A field that cannot be logged, such as an object that contains itself, must not fail the call.
 */
function write(log: Log, level: Level, fields: object, text: string): void {
  try {
    log[level](fields, text)
  } catch (error) {
    log[level](`${text} (its fields cannot be logged: ${oneLine(error)})`)
  }
}

/** Characters read from a text, which may be megabytes long. */
const MOST_READ = 5_000
const MOST_SHOWN = 500

/** Describes in one line a value that the transform threw or logged. */
export function oneLine(value: unknown): string {
  try {
    const text = value instanceof Error ? value.message : value
    return String(text).slice(0, MOST_READ).replaceAll(/\s+/g, ' ').slice(0, MOST_SHOWN)
  } catch {
    return 'a value that is not text'
  }
}
