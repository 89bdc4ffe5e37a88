import type { AnswerMemory, Caller } from '../answer.ts'
import type { Service } from '../service.ts'
import { traceOf } from '../telemetry/log.ts'
import type { Trace } from '../telemetry/trace.ts'
import type { Call } from './call.ts'
import { OK, type Status } from './status.ts'

/** One inference request of a call, from its arrival to its response. A stream carries many. */
export class Turn implements Caller {
  readonly arrived: number
  readonly deadline: number
  readonly traceparent: string | undefined
  readonly trace: Trace | undefined
  memory: AnswerMemory | undefined
  readonly #call: Call
  readonly #service: Service

  /** @param arrived on performance.now()'s clock */
  constructor(call: Call, service: Service, arrived: number) {
    this.#call = call
    this.#service = service
    this.arrived = arrived
    this.deadline = Math.min(arrived + call.requestTimeoutMs, call.deadline)
    this.traceparent = call.caller.traceparent
    this.trace = service.traces?.begin('POST', arrived)
  }

  /** Whether the call is over: its requests are then not run. */
  get gone(): boolean {
    return this.#call.caller.gone
  }

  get onGone(): Set<() => void> | undefined {
    return this.#call.caller.onGone
  }

  set onGone(onGone: Set<() => void> | undefined) {
    this.#call.caller.onGone = onGone
  }

  /**
   * Ends the request's trace and logs the request. @param status ignored if the call is over
   */
  end(status: Status = OK): void {
    const { head, path } = this.#call
    this.#call.isReported = true
    const { traces, log } = this.#service
    // A call that is over has sent its own status, or none if the client cancelled it.
    const code = this.gone ? this.#call.status?.code : status.code
    if (this.trace !== undefined) {
      const request = { ...head, rpc: path.slice(1) }
      traces?.finish(this.trace, request, code, this.traceparent)
    }
    if (!log.isLevelEnabled('debug')) return
    const ms = performance.now() - this.arrived
    log.debug(
      { path, status: code, ms, ...this.logFields() },
      code === undefined ? 'the client hung up' : 'answered',
    )
  }

  logFields() {
    return traceOf(this.#call.head.headers, this)
  }
}
