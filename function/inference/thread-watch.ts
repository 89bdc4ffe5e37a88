export const AT = { waiting: 0, author: 1, queue: 2, run: 3 } as const
export type At = keyof typeof AT

/** Indices of the 32-bit numbers in the shared memory. */
const RECEIVED = 0
const PROGRESS = 1
const GATE = 2
const CURRENT = 3
const NUMBERS = 4
const NUMBER_BYTES = 4

/**
 * The states of the gate before native code: a thread that is to be terminated must not enter
 * native code, where it cannot be terminated.
 */
const OPEN = 0
const WITHIN_RUN = 1
const CLOSED = 2

/** The place of a call that has no entry in the shared memory, because all entries are in use. */
const NO_PLACE = 0

/**
 * A thread's state in memory shared with the main thread: a thread in a loop or a run cannot send
 * messages.
 */
export class ThreadWatch {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Int32Array
  readonly #calls: Uint8Array

  /** @param memory another thread's memory, or the number of calls to allocate memory for */
  constructor(memory: SharedArrayBuffer | number) {
    const bytes = NUMBERS * NUMBER_BYTES
    this.memory = typeof memory === 'number' ? new SharedArrayBuffer(bytes + 1 + memory) : memory
    this.#numbers = new Int32Array(this.memory, 0, NUMBERS)
    this.#calls = new Uint8Array(this.memory, bytes)
  }

  places(): number[] {
    return Array.from({ length: this.#calls.length - 1 }, (_, i) => i + 1)
  }

  get received(): number {
    return Atomics.load(this.#numbers, RECEIVED)
  }

  receive(): void {
    Atomics.add(this.#numbers, RECEIVED, 1)
  }

  /** Changes each time the thread finishes a piece of work. */
  get progress(): number {
    return Atomics.load(this.#numbers, PROGRESS)
  }

  set(place: number, at: At): void {
    if (place !== NO_PLACE) this.#calls[place] = AT[at]
  }

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

  /** Runs native work. If the thread is to be terminated, waits instead. */
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
   * Prevents another run, so that the thread can be terminated.
   * @returns false if the thread is in a run
   */
  closeGate(): boolean {
    return Atomics.compareExchange(this.#numbers, GATE, OPEN, CLOSED) !== WITHIN_RUN
  }

  /**
   * Whether the call at this place may block its thread: it is in the run, or in the transform's
   * synchronous work. If a promise continued that work, the current call is unknown: every call
   * that waits for the transform's promises may block.
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
