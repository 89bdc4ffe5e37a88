import { type Caller, whenGone } from '../answer.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import { delayUntil } from '../timer.ts'

export const hungUp = () => new DeadlinePassed('the caller hung up')

/**
 * Calls `act` once: at the caller's deadline, or when its client hangs up.
 * @param late the text of the error after the deadline
 * @returns a function that cancels the call of `act`
 */
export function whenGivenUp(
  caller: Caller,
  late: string,
  act: (error: DeadlinePassed) => void,
): () => void {
  const giveUp = (error: DeadlinePassed) => {
    cancel()
    act(error)
  }
  const timer = setTimeout(() => giveUp(new DeadlinePassed(late)), delayUntil(caller.deadline))
  timer.unref()
  const forget = whenGone(caller, () => giveUp(hungUp()))
  const cancel = () => {
    clearTimeout(timer)
    forget()
  }
  return cancel
}

/**
 * Waits for a promise until the caller's deadline.
 * @param before completes the error's text, "the deadline passed before …"
 * @throws {DeadlinePassed} if the deadline passes or the client hangs up first
 */
export async function within(
  settled: Promise<void>,
  caller: Caller,
  before: string,
): Promise<void> {
  if (caller.gone) throw hungUp()
  const late = Promise.withResolvers<never>()
  const cancel = whenGivenUp(caller, `the deadline passed before ${before}`, late.reject)
  try {
    await Promise.race([settled, late.promise])
  } finally {
    cancel()
  }
}
