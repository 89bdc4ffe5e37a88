/**
 * The CPU time of a slow run. On the main thread, a run blocks all other work, so it must be
 * clearly shorter than the 10 ms that a probe may wait (docs/performance.md). A worker costs about
 * 0.1 ms. Other processes may use the CPU during a run, so wall-clock time is no measure.
 */
export const SLOW_RUN_MS = 5

/** The limit for a session's first run, which also initialises ONNX Runtime. */
const FIRST_RUN_MS = 20

/**
 * A plain operator reads each number of the file at most once per input element, in about 1 ns.
 * Below this product of numbers and elements, a run cannot be slow.
 */
const PLAIN_NUMBERS = SLOW_RUN_MS * 1e6
const BYTES_A_NUMBER = 4

const MOST_SIZES = 1_024

/** The known cost of a thread's runs, keyed by input elements. The cost depends only on shapes. */
export class RunCosts {
  private readonly plainElements: number
  private most = 0
  private hasRun = false
  private readonly fast = new Set<number>()
  private isSuspected = false

  /** @param plainBytes the file's size if all its operators are plain */
  constructor(plainBytes: number | undefined) {
    this.plainElements =
      plainBytes === undefined ? 0 : (PLAIN_NUMBERS * BYTES_A_NUMBER) / Math.max(plainBytes, 1)
  }

  /** Whether a run of this many elements may cost more than all previous runs. */
  isUnknown(elements: number): boolean {
    return elements > this.most && !this.isPlain(elements)
  }

  /** Whether the operators are plain and a run of this many elements cannot be slow. */
  isPlain(elements: number): boolean {
    return elements <= this.plainElements
  }

  ran(): void {
    this.hasRun = true
  }

  /**
   * @returns whether this run shows that the model is slow. If runs of this size were fast before,
   * two slow runs in a row are needed: V8 may have collected garbage during one.
   */
  showsSlow(elements: number, cpuMs: number): boolean {
    const limit = this.hasRun ? SLOW_RUN_MS : FIRST_RUN_MS
    const isFirst = !this.hasRun
    this.hasRun = true
    this.most = Math.max(this.most, elements)
    if (cpuMs > limit) {
      const isOdd = this.fast.has(elements) && !this.isSuspected
      this.isSuspected = true
      return !isOdd
    }
    this.isSuspected = false
    if (!isFirst && this.fast.size < MOST_SIZES) this.fast.add(elements)
    return false
  }
}

export const elementsOf = (inputs: readonly { readonly data: ArrayLike<unknown> }[]): number =>
  inputs.reduce((sum, { data }) => sum + data.length, 0)

/**
 * Returns this thread's CPU time, in milliseconds. Node 22 reports only the CPU time of the whole
 * process, so a run seems slower there while other threads work.
 */
export function cpuMs(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)()
  return (user + system) / 1_000
}
