import type { Caller } from '../answer.ts'
import { DeadlinePassed, NotReady, Overloaded } from '../protocol/errors.ts'

const REASONS = {
  loading: 'the model is loading',
  ready: undefined,
  failed: 'the model could not be loaded',
  retired: 'the process is shutting down',
}

/** Whether the model accepts requests, and which callers wait for it to load. */
export class ModelState {
  private state: keyof typeof REASONS = 'loading'
  private readonly settled = Promise.withResolvers<void>()
  private readonly maxWaiting: number
  private callers = 0

  constructor(maxWaiting: number) {
    this.maxWaiting = maxWaiting
    // No caller may be waiting; load() throws the error as well.
    this.settled.promise.catch(() => {})
  }

  get waiting(): number {
    return this.callers
  }

  get retired(): boolean {
    return this.state === 'retired'
  }

  get notReady(): string | undefined {
    return REASONS[this.state]
  }

  loaded(): void {
    if (this.state === 'loading') this.state = 'ready'
    this.settled.resolve()
  }

  failed(): void {
    this.state = 'failed'
    this.settled.reject(new NotReady('the model could not be loaded'))
  }

  retire(): void {
    this.state = 'retired'
  }

  /** @throws {Overloaded|NotReady|DeadlinePassed} */
  async untilLoaded({ trace, deadline }: Caller): Promise<void> {
    if (this.callers >= this.maxWaiting)
      throw new Overloaded(
        `${this.callers} requests are already waiting for the model to load; try again later`,
      )
    this.callers++
    trace?.enter('load')
    try {
      await within(this.settled.promise, deadline, 'the model was loaded')
    } finally {
      this.callers--
    }
  }
}

/**
 * Waits for a promise until a deadline.
 * @param deadline on performance.now()'s clock
 * @throws {DeadlinePassed} if the deadline passes before the promise settles
 */
export async function within(
  settled: Promise<void>,
  deadline: number,
  before: string,
): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new DeadlinePassed(`the deadline passed before ${before}`)),
    Math.max(deadline - performance.now(), 0),
  )
  try {
    await Promise.race([settled, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
