import type { Log } from '../telemetry/log.ts'
import type { Call } from './call.ts'
import type { Context, EventReply, ServedModel, TransformLog } from './contract.ts'
import type { RunningCall } from './running.ts'

/** What both halves of one call are given. */
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

  /** Made when it is asked for, like the signal: most calls do not. */
  get log(): TransformLog {
    return this.#makeLog()
  }

  get signal(): AbortSignal {
    return this.#running.signal
  }
}

/** @param fields that each line has, such as the ids of a trace; asked for when a line is written */
export function authorsLog(log: Log, fields: () => object): TransformLog {
  const at = (level: 'info' | 'warn' | 'error') => (message: string, more?: object) =>
    log[level]({ ...more, ...fields() }, String(message))
  return { info: at('info'), warn: at('warn'), error: at('error') }
}
