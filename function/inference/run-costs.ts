/**
 * A run on the main thread blocks everything else, so it must be clearly shorter than the 10 ms
 * that a probe may wait (docs/performance.md). Handing a run to a worker costs about 0.1 ms.
 * Measured as CPU time, because other processes may take the CPU during any run.
 */
export const SLOW_RUN_MS = 5

/** The first run of a session also initializes ONNX Runtime. */
const FIRST_RUN_MS = 20

/**
 * A plain operator reads each number of the file at most once per input element, at about 1 ns. If
 * both together stay below this number, the run cannot be slow.
 */
const PLAIN_NUMBERS = SLOW_RUN_MS * 1e6
const BYTES_A_NUMBER = 4

/** The most sizes of fast runs that are remembered. */
const MOST_SIZES = 1_024

/**
 * The known cost of runs on one thread, by the number of input elements. The work of the graph
 * depends on shapes alone.
 */
export class RunCosts {
  private readonly plainElements: number
  private most = 0
  private hasRun = false
  private readonly fast = new Set<number>()
  private isSuspected = false

  /** @param plainBytes size of the file if all operators are plain */
  constructor(plainBytes: number | undefined) {
    this.plainElements =
      plainBytes === undefined ? 0 : (PLAIN_NUMBERS * BYTES_A_NUMBER) / Math.max(plainBytes, 1)
  }

  /** Whether a run with this many elements may cost more than any before. */
  isUnknown(elements: number): boolean {
    return elements > this.most && !this.isPlain(elements)
  }

  /** Whether the operators are plain and a run with this many elements cannot be slow. */
  isPlain(elements: number): boolean {
    return elements <= this.plainElements
  }

  /** Records a run that was not measured. */
  ran(): void {
    this.hasRun = true
  }

  /**
   * Records a run.
   * @returns whether it shows that the model is slow. For a size that was fast before, two slow
   * runs in a row are needed: V8 may have collected garbage during one.
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
 * The CPU time that this thread has used. Node 22 reports only that of the whole process, so a run
 * looks slower there while other threads work.
 */
export function cpuMs(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)()
  return (user + system) / 1_000
}
