/** The states of a call on its thread. */
export const AT = { waiting: 0, author: 1, queue: 2, run: 3 } as const
export type At = keyof typeof AT

/** The indices of the 32-bit numbers in the shared memory. */
const RECEIVED = 0
const PROGRESS = 1
const GATE = 2
const CURRENT = 3
const NUMBERS = 4
const NUMBER_BYTES = 4

/**
 * The states of the flag that guards native code. A thread cannot be terminated within native code,
 * so a thread that is about to be terminated must not enter native code.
 */
const OPEN = 0
const WITHIN_RUN = 1
const CLOSED = 2

/**
 * The place of a call that has no entry in the shared memory, because there are more calls than
 * entries.
 */
const NO_PLACE = 0

/**
 * The state of a thread in memory that it shares with the main thread. Shared memory is needed
 * because a thread that is in a loop or a run cannot send its state.
 */
export class ThreadWatch {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Int32Array
  /** The state of each call, indexed by the call's place. */
  readonly #calls: Uint8Array

  /**
   * @param memory the memory that another thread allocated, or the number of calls for which memory
   * is allocated
   */
  constructor(memory: SharedArrayBuffer | number) {
    const bytes = NUMBERS * NUMBER_BYTES
    this.memory = typeof memory === 'number' ? new SharedArrayBuffer(bytes + 1 + memory) : memory
    this.#numbers = new Int32Array(this.memory, 0, NUMBERS)
    this.#calls = new Uint8Array(this.memory, bytes)
  }

  /** Returns all places for calls. */
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

  /** A number that changes each time the thread finishes a piece of work. */
  get progress(): number {
    return Atomics.load(this.#numbers, PROGRESS)
  }

  set(place: number, at: At): void {
    if (place !== NO_PLACE) this.#calls[place] = AT[at]
  }

  /** Runs the transform's synchronous code for the call at this place. */
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

  /** Runs native work. If the thread is about to be terminated, waits instead. */
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
   * Prevents the thread from beginning another run, so that it can be terminated.
   * @returns false if the thread is in a run
   */
  closeGate(): boolean {
    return Atomics.compareExchange(this.#numbers, GATE, OPEN, CLOSED) !== WITHIN_RUN
  }

  /**
   * Whether the call at this place may block its thread. This is the case if the call is in the run
   * or in the author's synchronous work. If the current call is unknown, because a promise
   * continued the author's work, it is the case for all calls that wait for a promise of the
   * author's code.
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
