import { setTimeout as wait } from 'node:timers/promises'
import { exchange, IRIS, irisBody, type RawAnswer, request } from '../../http/client.ts'

/** The callers' results. */
export interface Calls {
  /** With their own id, and the right prediction for that flower. */
  answered: number
  /** Refused by 503 with Retry-After, and sent again. */
  refused: number
  /** The connection was refused, or closed without an answer; sent again. */
  unanswered: number
  readonly wrong: string[]
}

export interface Callers {
  /** So far. */
  readonly calls: Calls
  /** Waits for each caller's last answer. */
  stop(): Promise<Calls>
}

const AGAIN_AFTER_MS = 20
const PATIENCE_MS = 60_000

/**
 * Callers that classify one flower after the other on new connections, and retry until answered.
 */
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
        calls.wrong.push(`${id} was not answered within ${PATIENCE_MS} ms`)
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

/** An answer that tells a caller to retry. */
export const isRefusal = ({ status, headers }: RawAnswer) =>
  status === 503 && headers['retry-after'] !== undefined

/** The fault of the answer to {@link irisBody}. */
export function wrongWith({ status, json, body }: RawAnswer, id: string): string | undefined {
  const right =
    status === 200 &&
    json.id === id &&
    json.model_version === 'v1.0.0' &&
    json.outputs[1].data[0] === 'setosa'
  return right ? undefined : `${id} was answered ${status} ${body.slice(0, 200)}`
}
