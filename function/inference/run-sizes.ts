import { DATATYPES } from '../protocol/datatypes.ts'
import type { RequestedOutput } from '../protocol/request.ts'
import {
  elementCount,
  isBatched,
  type Signature,
  TEXT_BYTES,
  type Tensor,
} from '../protocol/tensor.ts'

/** The size of one output of a run. */
export interface OutputSize {
  readonly elements: number
  readonly bytes: number
}

/** The memory that runs with rows of one shape have used so far. */
interface Seen {
  /** The largest number of rows in a run so far. */
  rows: number
  /** An upper bound of the bytes per row in larger runs. */
  rowBytes: number
  /** The size of one row, keyed by output name. */
  readonly outputs: Map<string, OutputSize>
  /** The maximum number of rows in a run that needs no memory check. */
  plainRows: number
}

/**
 * The maximum number of row shapes that are remembered. A limit is needed because callers choose
 * the shapes.
 */
const MOST_SHAPES = 1_000

/**
 * The number of copies of a run's outputs when the run ends: one in ONNX Runtime, and one in
 * JavaScript.
 */
const COPIES = 2

/**
 * The maximum size, in bytes, of outputs whose memory is not counted before the run. The outputs of
 * all requests that may wait (MAX_QUEUE_ROWS, 4096) then take at most 16 MiB.
 */
export const PLAIN_BYTES = 4096

/** Matches names of dimensions that share one size. "?" and blanks do not match. */
const BINDS = /[^\s?]/

/** Returns the memory of the process outside JavaScript, in bytes. ONNX Runtime uses most of it. */
export function nativeBytes(): number {
  const { rss, heapTotal, external } = process.memoryUsage()
  return rss - heapTotal - external
}

/**
 * Measures the memory of runs, so that the size of a run can be limited before it begins.
 *
 * The sizes of outputs depend on shapes in most models. If rows are independent, a run of N rows
 * uses c + a·N bytes, so the memory per row of a small run is an upper bound of the memory per row
 * of a larger run. ONNX Runtime keeps the memory that it has allocated, so the growth of native
 * memory since the first run is an upper bound of the memory of each run. Until a run with a given
 * row shape has ended, runs of this shape have one row.
 */
export class RunSizes {
  /** The number of bytes that one run may use. */
  budget: number
  /**
   * True if rows are independent, so that the size of one run predicts the size of runs with more
   * or fewer rows.
   */
  areRowsIndependent = false
  /**
   * True if output sizes depend only on shapes. Otherwise, earlier runs predict the sizes only
   * roughly.
   */
  followShapes = true
  readonly #signature: Signature
  readonly #isBatched: boolean
  readonly #hasOneShape: boolean
  readonly #seen = new Map<string, Seen>()
  readonly #native: () => number
  /** The native memory before the first run, in bytes. */
  #before: number
  /** False after an output was larger than the graph declares. */
  #trustsDeclared = true

  /** @param native returns the memory of native code, in bytes */
  constructor(signature: Signature, budget: number, native = nativeBytes) {
    this.#signature = signature
    this.#isBatched = isBatched(signature)
    this.#hasOneShape =
      this.#isBatched && signature.inputs.every(({ shape }) => !shape.includes(-1, 1))
    this.budget = budget
    this.#native = native
    this.#before = native()
  }

  /** Returns the maximum number of rows that a run with rows of this shape may have now. */
  mostRows(inputs: readonly Tensor[]): number {
    const seen = this.#seen.get(this.#keyOf(inputs))
    return seen === undefined ? 1 : this.#mostRows(seen)
  }

  /**
   * Whether a run with these inputs needs no memory check, because it has no more rows than
   * previous runs, and small outputs.
   */
  isPlain(inputs: readonly Tensor[]): boolean {
    const seen = this.#seen.get(this.#keyOf(inputs))
    if (seen === undefined) return false
    const rows = this.rowsOf(inputs)
    return rows <= seen.plainRows && (this.areRowsIndependent || rows === seen.rows)
  }

  /**
   * Returns the sizes of a run's outputs, in the requested order.
   * @returns undefined if the sizes are not yet known
   */
  outputsOf(
    inputs: readonly Tensor[],
    requested: readonly RequestedOutput[],
  ): OutputSize[] | undefined {
    const seen = this.#seen.get(this.#keyOf(inputs))
    const rows = this.rowsOf(inputs)
    const isKnown = this.areRowsIndependent || rows === seen?.rows
    const sizes: OutputSize[] = []
    for (const { name } of requested) {
      const row = isKnown ? seen?.outputs.get(name) : undefined
      const size = row === undefined ? this.#declared(name, inputs) : times(row, rows)
      if (size === undefined) return undefined
      sizes.push(size)
    }
    return sizes
  }

  /** Records the sizes of a finished run, unless they are already known. */
  ran(inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const key = this.#keyOf(inputs)
    const rows = this.rowsOf(inputs)
    const seen = this.#seen.get(key)
    if (seen !== undefined && this.#isKnown(seen, rows))
      if (outputs.every(({ name }) => seen.outputs.has(name))) return
    this.#learn(seen ?? this.#add(key), { rows, inputs, outputs })
  }

  #isKnown(seen: Seen, rows: number): boolean {
    if (!this.areRowsIndependent) return rows === seen.rows
    if (rows > seen.rows) return false
    // If memory prevents larger runs, measure again, because more memory may be free now.
    const most = this.#mostRows(seen)
    return rows < Math.min(seen.rows, most) || most >= 2 * seen.rows
  }

  #mostRows({ rowBytes }: Seen): number {
    return Math.max(1, Math.floor(this.budget / rowBytes))
  }

  #learn(seen: Seen, { rows, inputs, outputs }: Run): void {
    for (const output of outputs) {
      const size = sizeOf(output)
      const declared = this.#declared(output.name, inputs)
      if (declared !== undefined && size.bytes > declared.bytes) this.#trustsDeclared = false
      const row = times(size, 1 / rows)
      const known = this.areRowsIndependent ? seen.outputs.get(output.name) : undefined
      seen.outputs.set(output.name, larger(known, row))
    }
    const native = this.#native()
    this.#before = Math.min(this.#before, native)
    seen.rows = this.areRowsIndependent ? Math.max(seen.rows, rows) : rows
    const outputBytes = [...seen.outputs.values()].reduce((sum, { bytes }) => sum + bytes, 0)
    const taken = Math.max((native - this.#before) / seen.rows, COPIES * outputBytes)
    seen.rowBytes = Math.max(1, Math.min(seen.rowBytes, taken))
    const isComplete = seen.outputs.size === this.#signature.outputs.length
    const little = Math.floor(PLAIN_BYTES / Math.max(1, outputBytes))
    seen.plainRows = isComplete ? Math.min(this.#mostRows(seen), little) : 0
  }

  #add(key: string): Seen {
    const seen = { rows: 0, rowBytes: Number.POSITIVE_INFINITY, outputs: new Map(), plainRows: 0 }
    this.#seen.set(key, seen)
    if (this.#seen.size > MOST_SHAPES) this.#seen.delete(this.#seen.keys().next().value as string)
    return seen
  }

  /**
   * Returns the shapes of the inputs as a key, without the first dimension if that is the number of
   * rows.
   */
  #keyOf(inputs: readonly Tensor[]): string {
    if (this.#hasOneShape) return ''
    const from = this.#isBatched ? 1 : 0
    return inputs.map(({ shape }) => shape.slice(from).join()).join(';')
  }

  rowsOf(inputs: readonly Tensor[]): number {
    return this.#isBatched ? Math.max(1, inputs[0]?.shape[0] ?? 1) : 1
  }

  /**
   * Returns the size that the graph declares for an output. Symbolic dimensions get their values
   * from the shapes of the inputs.
   */
  #declared(name: string, inputs: readonly Tensor[]): OutputSize | undefined {
    const output = this.#signature.outputs.find(one => one.name === name)
    // A graph does not declare the lengths of texts.
    if (output === undefined || output.anyRank || output.datatype === 'BYTES') return undefined
    if (!this.#trustsDeclared) return undefined
    let elements = 1
    for (const [i, dimension] of output.shape.entries()) {
      const symbol = output.dimensionNames[i] ?? ''
      const length = dimension === -1 ? this.#valueOf(symbol, inputs) : dimension
      if (length === undefined) return undefined
      elements *= length
    }
    return { elements, bytes: elements * DATATYPES[output.datatype].bytes }
  }

  /** Returns the size of a symbolic dimension, from the shapes of the inputs. */
  #valueOf(symbol: string, inputs: readonly Tensor[]): number | undefined {
    if (!BINDS.test(symbol)) return undefined
    for (const [i, { dimensionNames }] of this.#signature.inputs.entries()) {
      const at = dimensionNames.indexOf(symbol)
      if (at !== -1) return inputs[i]?.shape[at]
    }
    return undefined
  }
}

interface Run {
  readonly rows: number
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
}

const times = ({ elements, bytes }: OutputSize, factor: number): OutputSize => ({
  elements: elements * factor,
  bytes: bytes * factor,
})

const larger = (a: OutputSize | undefined, b: OutputSize): OutputSize =>
  a === undefined || a.bytes < b.bytes ? b : a

function sizeOf({ shape, data }: Tensor): OutputSize {
  const elements = elementCount(shape)
  if (ArrayBuffer.isView(data)) return { elements, bytes: data.byteLength }
  let bytes = TEXT_BYTES * elements
  for (const text of data as readonly string[]) bytes += 2 * text.length
  return { elements, bytes }
}
