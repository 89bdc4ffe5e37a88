/** The state of a call on its thread. */
export const AT = { waiting: 0, author: 1, queue: 2, run: 3 } as const
export type At = keyof typeof AT

/** Indices of the 32-bit numbers in the shared memory. */
const RECEIVED = 0
const PROGRESS = 1
const GATE = 2
const CURRENT = 3
const NUMBERS = 4
const NUMBER_BYTES = 4

/** A thread cannot be ended within native code, so one that is to be ended must not enter it. */
const OPEN = 0
const WITHIN_RUN = 1
const CLOSED = 2

/** Stands for no place: there are more calls than places. */
const NO_PLACE = 0

/**
 * The state of a thread, in memory that it shares with the main thread: a thread in a loop or a run
 * cannot report its state.
 */
export class ThreadWatch {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Int32Array
  /** The state of each call, by its place. */
  readonly #calls: Uint8Array

  /** @param memory shared with another thread, or the number of calls to allocate it for */
  constructor(memory: SharedArrayBuffer | number) {
    const bytes = NUMBERS * NUMBER_BYTES
    this.memory = typeof memory === 'number' ? new SharedArrayBuffer(bytes + 1 + memory) : memory
    this.#numbers = new Int32Array(this.memory, 0, NUMBERS)
    this.#calls = new Uint8Array(this.memory, bytes)
  }

  /** The places for calls. */
  places(): number[] {
    return Array.from({ length: this.#calls.length - 1 }, (_, i) => i + 1)
  }

  /** The number of messages that the thread has begun to read. */
  get received(): number {
    return Atomics.load(this.#numbers, RECEIVED)
  }

  receive(): void {
    Atomics.add(this.#numbers, RECEIVED, 1)
  }

  /** Changes with each piece of work that the thread finishes. */
  get progress(): number {
    return Atomics.load(this.#numbers, PROGRESS)
  }

  set(place: number, at: At): void {
    if (place !== NO_PLACE) this.#calls[place] = AT[at]
  }

  /** Does the author's synchronous work for the call at this place. */
  author<Result>(place: number, work: () => Result): Result {
    this.set(place, 'author')
    this.#numbers[CURRENT] = place
    try {
      return work()
    } finally {
      this.#numbers[CURRENT] = NO_PLACE
      this.#worked()
    }
  }

  /** Does native work. Refuses if the thread is about to be ended. */
  run<Result>(work: () => Result): Result {
    if (Atomics.compareExchange(this.#numbers, GATE, OPEN, WITHIN_RUN) !== OPEN)
      Atomics.wait(this.#numbers, GATE, CLOSED)
    try {
      return work()
    } finally {
      Atomics.store(this.#numbers, GATE, OPEN)
      this.#worked()
    }
  }

  get isWithinRun(): boolean {
    return Atomics.load(this.#numbers, GATE) === WITHIN_RUN
  }

  /**
   * From now on the thread begins no run, so that it can be ended.
   * @returns false if the thread is within a run
   */
  closeGate(): boolean {
    return Atomics.compareExchange(this.#numbers, GATE, OPEN, CLOSED) !== WITHIN_RUN
  }

  /**
   * Whether the call at this place may block its thread: it is in the run, or in the author's
   * synchronous work; or that work is unknown because a promise continued it, and the call waits
   * for one of the author's promises.
   */
  isBlamed(place: number): boolean {
    const at = this.#calls[place]
    if (this.isWithinRun) return at === AT.run
    const current = Atomics.load(this.#numbers, CURRENT)
    return current === NO_PLACE ? at === AT.author : current === place
  }

  #worked(): void {
    Atomics.add(this.#numbers, PROGRESS, 1)
  }
}
