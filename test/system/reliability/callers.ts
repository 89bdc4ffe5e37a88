import { setTimeout as wait } from 'node:timers/promises'
import { exchange, IRIS, irisBody, type RawAnswer, request } from '../../http/client.ts'

export interface Calls {
  /** Responses with the request's id and the correct prediction. */
  answered: number
  /** Requests that got 503 with Retry-After, and were sent again. */
  refused: number
  /**
   * Requests that were sent again because their connection was refused, or closed without a
   * response.
   */
  unanswered: number
  readonly wrong: string[]
}

export interface Callers {
  readonly calls: Calls
  stop(): Promise<Calls>
}

const AGAIN_AFTER_MS = 20
const PATIENCE_MS = 60_000

/** Clients classify flowers on new connections, and retry until they get a response. */
export function callers(port: number, count: number, pauseMs = 0): Callers {
  const calls: Calls = { answered: 0, refused: 0, unanswered: 0, wrong: [] }
  let stopping = false

  async function ask(id: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const answer = await exchange(port, request('POST', IRIS, {}, irisBody(id))).catch(
        () => undefined,
      )
      if (answer !== undefined && !isRefusal(answer)) {
        const problem = wrongWith(answer, id)
        if (problem === undefined) calls.answered++
        else calls.wrong.push(problem)
        return
      }
      calls[answer === undefined ? 'unanswered' : 'refused']++
      if (performance.now() > deadline) {
        calls.wrong.push(`request ${id} got no response within ${PATIENCE_MS} ms`)
        return
      }
      await wait(AGAIN_AFTER_MS)
    }
  }

  async function call(name: number): Promise<void> {
    for (let i = 0; !stopping; i++) {
      await ask(`${name}-${i}`)
      if (pauseMs > 0) await wait(pauseMs)
    }
  }

  const all = Array.from({ length: count }, (_, name) => call(name))
  return {
    calls,
    async stop() {
      stopping = true
      await Promise.all(all)
      return calls
    },
  }
}

export const isRefusal = ({ status, headers }: RawAnswer) =>
  status === 503 && headers['retry-after'] !== undefined

export function wrongWith({ status, json, body }: RawAnswer, id: string): string | undefined {
  const right =
    status === 200 &&
    json.id === id &&
    json.model_version === 'v1.0.0' &&
    json.outputs[1].data[0] === 'setosa'
  return right ? undefined : `request ${id} got ${status} ${body.slice(0, 200)}`
}
