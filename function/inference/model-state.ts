import type { Caller } from '../answer.ts'
import { NotReady, Overloaded } from '../protocol/errors.ts'
import { within } from './give-up.ts'

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
    // Ignore the error if no caller is waiting: load() throws it as well.
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
  async untilLoaded(caller: Caller): Promise<void> {
    if (this.callers >= this.maxWaiting)
      throw new Overloaded(
        `${this.callers} requests are already waiting for the model to load; try again later`,
      )
    this.callers++
    caller.trace?.enter('load')
    try {
      await within(this.settled.promise, caller, 'the model was loaded')
    } finally {
      this.callers--
    }
  }
}
