/**
 * A run on the main thread blocks everything else, so it must be clearly shorter than the 10 ms
 * that a probe may wait (docs/performance.md). Handing a run to a worker costs about 0.1 ms.
 * In CPU time, because another process may take the CPU away from any run.
 */
export const SLOW_RUN_MS = 5

/** The first run of a session also sets ONNX Runtime up. */
const FIRST_RUN_MS = 20

/**
 * A plain operator visits no number of the file more than once for each element of the input, which
 * takes about 1 ns: so many of both cannot be slow.
 */
const PLAIN_NUMBERS = SLOW_RUN_MS * 1e6
const BYTES_A_NUMBER = 4

/** Sizes of runs that were fast are remembered up to so many. */
const MOST_SIZES = 1_024

/**
 * What runs of the model cost on one thread, by the elements of their inputs, as far as is known.
 * The graph's work follows from shapes.
 */
export class RunCosts {
  private readonly plainElements: number
  private most = 0
  private hasRun = false
  private readonly fast = new Set<number>()
  private isSuspected = false

  /** @param plainBytes of the file, where all operators are plain */
  constructor(plainBytes: number | undefined) {
    this.plainElements =
      plainBytes === undefined ? 0 : (PLAIN_NUMBERS * BYTES_A_NUMBER) / Math.max(plainBytes, 1)
  }

  /** Whether a run of so many elements may cost more than any before. */
  isUnknown(elements: number): boolean {
    return elements > this.most && !this.isPlain(elements)
  }

  /** Whether plain operators cannot make a run of so many elements slow. */
  isPlain(elements: number): boolean {
    return elements <= this.plainElements
  }

  /** Records a run that was not measured. */
  ran(): void {
    this.hasRun = true
  }

  /**
   * Records a run.
   * @returns whether it shows that the model is slow. Of a size that was fast before it takes two
   * runs in a row: V8 may have collected garbage meanwhile.
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
 * CPU time that this thread has taken so far. Node 22 tells only of the whole process, so that a run
 * beside which other threads work looks slower than it is.
 */
export function cpuMs(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)()
  return (user + system) / 1_000
}
