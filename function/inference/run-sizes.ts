import { DATATYPES } from '../protocol/datatypes.ts'
import type { RequestedOutput } from '../protocol/request.ts'
import {
  elementCount,
  isBatched,
  type Signature,
  TEXT_BYTES,
  type Tensor,
} from '../protocol/tensor.ts'
import { residentMemory } from './resident-memory.ts'

export interface OutputSize {
  readonly elements: number
  readonly bytes: number
}

/** An upper bound of the memory of runs with at least this number of rows. */
interface Bound {
  readonly rows: number
  readonly rowBytes: number
}

/** The memory that runs with one row shape have used so far. */
interface Seen {
  /** The shape of one row in each input. */
  readonly shapes: readonly (readonly number[])[]
  rows: number
  /** The bound from runs of this shape. */
  own: Bound
  /** The bound from runs of another shape. */
  other: Bound
  readonly outputs: Map<string, OutputSize>
  /** The most rows of a run that needs no memory check. */
  plainRows: number
}

/** Callers choose the shapes, so only this many are remembered. */
const MOST_SHAPES = 1_000

/**
 * The most bytes that a thread writes per millisecond: twice the fastest measured rate (filling 1
 * MiB in the cache of an AMD EPYC processor).
 */
const WRITTEN_PER_MS = 320e6

/** The bytes that even the shortest run may use. */
const LEAST_BYTES = 2 ** 20

/**
 * A tensor's size is a product of dimensions, in which one symbolic size occurs at most this many
 * times, as in attention between all pairs of an image's pixels.
 */
const DEGREE = 4

const UNKNOWN: Bound = { rows: 1, rowBytes: Number.POSITIVE_INFINITY }

/** Outputs exist twice when a run ends: in ONNX Runtime and in JavaScript. */
const COPIES = 2

/**
 * Outputs up to this size in bytes are not counted before the run. Those of all requests that may
 * wait (MAX_QUEUE_ROWS, 4096) take at most 16 MiB.
 */
export const PLAIN_BYTES = 4096

/** Matches names whose dimensions all have the same size, unlike "?" and blanks. */
const BINDS = /[^\s?]/

/**
 * An upper bound of the resident memory outside JavaScript, most of which ONNX Runtime uses, in
 * bytes. Subtracts half of the buffers: the buffer of an arriving body may be twice as large as its
 * resident part.
 */
export function nativeBytes(): number {
  const { rss, heapTotal, external } = residentMemory()
  return rss - heapTotal - external / 2
}

/**
 * Measures the memory of runs, to limit a run's size before it begins.
 *
 * If rows are independent, a run of N rows uses c + a·N bytes, so the memory per row of a small run
 * is an upper bound for larger runs. Until a run of some row shape has ended, runs of this shape
 * have one row. Later runs have three upper bounds, of which the lowest counts. Bounds 2 and 3
 * require that sizes depend only on shapes, as in most models.
 *
 * 1. The growth of native memory since the first run, because ONNX Runtime keeps the memory that it
 *    has allocated. Other shapes, bodies and V8 contribute to this growth, which may never fall
 *    again.
 * 2. The bytes that a run can write in its duration, because a run writes to all memory that it
 *    uses. This bound does not depend on other requests.
 * 3. Per row, t⁴ times the memory of a run of another shape with no more rows, if no dimension is
 *    more than t times as large as in that shape (t ≥ 1).
 */
export class RunSizes {
  budget: number
  /**
   * True if rows are independent: the size of one run then predicts runs with more or fewer rows.
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
  readonly #hasTexts: boolean
  readonly #seen = new Map<string, Seen>()
  readonly #native: () => number
  #before: number
  /** False after an output was larger than the graph declares. */
  #trustsDeclared = true

  /** @param native returns the memory of native code, in bytes */
  constructor(signature: Signature, budget: number, native = nativeBytes) {
    this.#signature = signature
    this.#isBatched = isBatched(signature)
    this.#hasOneShape =
      this.#isBatched && signature.inputs.every(({ shape }) => !shape.includes(-1, 1))
    this.#hasTexts = signature.outputs.some(({ datatype }) => datatype === 'BYTES')
    this.budget = budget
    this.#native = native
    this.#before = native()
  }

  /** Returns how many rows of this shape a run may have now. */
  mostRows(inputs: readonly Tensor[]): number {
    const seen = this.#seen.get(this.#keyOf(inputs))
    return seen === undefined ? 1 : this.#mostRows(seen)
  }

  /**
   * Whether a run needs no memory check: it has no more rows than previous runs, and small outputs.
   */
  isPlain(inputs: readonly Tensor[]): boolean {
    const seen = this.#seen.get(this.#keyOf(inputs))
    if (seen === undefined) return false
    const rows = this.rowsOf(inputs)
    return rows <= seen.plainRows && (this.areRowsIndependent || rows === seen.rows)
  }

  /**
   * Returns the sizes of a run's outputs, in the requested order; undefined if they are not yet
   * known.
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

  /**
   * Records the sizes of a finished run, unless they are already known.
   * @param threadMs an upper bound of the total milliseconds in which the run's threads wrote to
   * memory
   */
  ran(inputs: readonly Tensor[], outputs: readonly Tensor[], threadMs = Infinity): void {
    const key = this.#keyOf(inputs)
    const rows = this.rowsOf(inputs)
    const seen = this.#seen.get(key)
    const run = { rows, inputs, outputs, threadMs }
    const isKnown = seen !== undefined && this.#isKnown(seen, rows)
    if (!isKnown || !outputs.every(({ name }) => seen.outputs.has(name))) {
      this.#learn(seen ?? this.#add(key, inputs), run)
      return
    }
    if (this.followShapes && (!this.#hasTexts || rows <= seen.plainRows)) return
    this.#learnOutputs(seen, run)
    this.#setPlainRows(seen)
  }

  #isKnown(seen: Seen, rows: number): boolean {
    if (!this.areRowsIndependent) return rows === seen.rows
    if (rows > seen.rows) return false
    // If memory prevents larger runs, measure again: more may be free now.
    const most = this.#mostRows(seen)
    return rows < Math.min(seen.rows, most) || most >= 2 * seen.rows
  }

  #mostRows({ own, other }: Seen): number {
    return Math.max(1, this.#mostWithin(own), this.#mostWithin(other))
  }

  #mostWithin({ rows, rowBytes }: Bound): number {
    const most = Math.floor(this.budget / rowBytes)
    return most < rows ? 0 : most
  }

  #boundByOthers(seen: Seen): Bound {
    let bound = UNKNOWN
    for (const { shapes, own } of this.#seen.values()) {
      const rowBytes = own.rowBytes * largestRatio(seen.shapes, shapes) ** DEGREE
      const found = { rows: own.rows, rowBytes }
      if (this.#mostWithin(found) > this.#mostWithin(bound)) bound = found
    }
    return bound
  }

  #learnOutputs(seen: Seen, { rows, inputs, outputs }: Omit<Run, 'threadMs'>): void {
    const isSame = this.areRowsIndependent || rows === seen.rows
    for (const output of outputs) {
      const size = sizeOf(output)
      const declared = this.#declared(output.name, inputs)
      if (declared !== undefined && size.bytes > declared.bytes) this.#trustsDeclared = false
      const row = times(size, 1 / rows)
      const known = isSame ? seen.outputs.get(output.name) : undefined
      const followsShapes = this.followShapes && output.datatype !== 'BYTES'
      // One caller's long texts or large outputs must not delay other callers for long.
      const kept = followsShapes || known === undefined ? known : times(known, 1 / 2)
      seen.outputs.set(output.name, larger(kept, row))
    }
  }

  #learn(seen: Seen, run: Run): void {
    const { rows, threadMs } = run
    this.#learnOutputs(seen, run)
    const native = this.#native()
    this.#before = Math.min(this.#before, native)
    seen.rows = this.areRowsIndependent ? Math.max(seen.rows, rows) : rows
    const least = Math.max(1, COPIES * rowBytesOf(seen))
    const written = this.followShapes ? LEAST_BYTES + threadMs * WRITTEN_PER_MS : Infinity
    const used = Math.min(native - this.#before, written)
    const rowBytes = Math.max(least, used / rows)
    const own = { rows, rowBytes }
    if (this.#mostWithin(own) >= this.#mostWithin(seen.own)) seen.own = own
    if (this.areRowsIndependent && this.followShapes && this.#mostRows(seen) < 2 * rows)
      seen.other = this.#boundByOthers(seen)
    this.#setPlainRows(seen)
  }

  #setPlainRows(seen: Seen): void {
    const isComplete = seen.outputs.size === this.#signature.outputs.length
    const little = Math.floor(PLAIN_BYTES / Math.max(1, rowBytesOf(seen)))
    seen.plainRows = isComplete ? Math.min(this.#mostRows(seen), little) : 0
  }

  #add(key: string, inputs: readonly Tensor[]): Seen {
    const shapes = this.#rowShapes(inputs)
    const seen = { shapes, rows: 0, own: UNKNOWN, other: UNKNOWN, outputs: new Map(), plainRows: 0 }
    if (this.#seen.size >= MOST_SHAPES) this.#forget()
    this.#seen.set(key, seen)
    return seen
  }

  /** Forgets the oldest shape of which nothing useful is known, or else the oldest shape. */
  #forget(): void {
    let oldest: string | undefined
    for (const [key, { own }] of this.#seen) {
      oldest ??= key
      if (this.#mostWithin(own) > 1) continue
      oldest = key
      break
    }
    this.#seen.delete(oldest as string)
  }

  #keyOf(inputs: readonly Tensor[]): string {
    if (this.#hasOneShape) return ''
    return this.#rowShapes(inputs).join(';')
  }

  #rowShapes(inputs: readonly Tensor[]): number[][] {
    const from = this.#isBatched ? 1 : 0
    return inputs.map(({ shape }) => shape.slice(from))
  }

  rowsOf(inputs: readonly Tensor[]): number {
    return this.#isBatched ? Math.max(1, inputs[0]?.shape[0] ?? 1) : 1
  }

  /** The size that the graph declares. Symbolic dimensions get their sizes from the inputs. */
  #declared(name: string, inputs: readonly Tensor[]): OutputSize | undefined {
    const output = this.#signature.outputs.find(one => one.name === name)
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
  readonly threadMs: number
}

/**
 * The largest ratio of a dimension to the same dimension of the other shapes: at least 1, and
 * infinite if the ranks differ.
 */
function largestRatio(
  shapes: readonly (readonly number[])[],
  others: readonly (readonly number[])[],
): number {
  let ratio = 1
  for (const [i, shape] of shapes.entries()) {
    const other = others[i] as readonly number[]
    if (shape.length !== other.length) return Number.POSITIVE_INFINITY
    for (const [k, size] of shape.entries())
      if (size > 0) ratio = Math.max(ratio, size / (other[k] as number))
  }
  return ratio
}

/** The size of a row's outputs. */
const rowBytesOf = ({ outputs }: Seen): number =>
  [...outputs.values()].reduce((sum, { bytes }) => sum + bytes, 0)

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
