import type { Caller } from '../answer.ts'
import type { Service } from '../service.ts'
import { traceOf } from '../telemetry/log.ts'
import type { RequestHead } from './head.ts'

/* The first and last steps of every request, in all versions of HTTP. */

export function callerOf(
  { method, headers }: RequestHead,
  { traces }: Service,
  requestTimeoutMs: number,
): Caller {
  const arrived = performance.now()
  return {
    arrived,
    deadline: arrived + requestTimeoutMs,
    gone: false,
    traceparent: headers.traceparent as string | undefined,
    trace: traces?.begin(method, arrived),
    memory: undefined,
  }
}

export interface Finished {
  readonly head: RequestHead
  readonly caller: Caller
  /** Undefined if the client hung up before the response was sent. */
  readonly status: number | undefined
}

export function report({ head, caller, status }: Finished, { traces, log }: Service): void {
  if (caller.trace !== undefined) traces?.finish(caller.trace, head, status, caller.traceparent)
  if (!log.isLevelEnabled('debug')) return
  log.debug(
    {
      method: head.method,
      path: head.url,
      status,
      ms: performance.now() - caller.arrived,
      ...traceOf(head.headers, caller),
    },
    caller.gone ? 'the client hung up' : 'answered',
  )
}
