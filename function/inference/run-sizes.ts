import { DATATYPES } from '../protocol/datatypes.ts'
import type { RequestedOutput } from '../protocol/request.ts'
import {
  elementCount,
  isBatched,
  type Signature,
  TEXT_BYTES,
  type Tensor,
} from '../protocol/tensor.ts'

export interface OutputSize {
  readonly elements: number
  readonly bytes: number
}

/** The memory of runs with one row shape so far. */
interface Seen {
  rows: number
  /** An upper bound of the bytes per row in larger runs. */
  rowBytes: number
  readonly outputs: Map<string, OutputSize>
  /** The most rows of a run that needs no memory check. */
  plainRows: number
}

/** Callers choose the shapes, so only this many are remembered. */
const MOST_SHAPES = 1_000

/** Outputs exist twice when a run ends: in ONNX Runtime and in JavaScript. */
const COPIES = 2

/**
 * Outputs up to this size in bytes are not counted before the run. Those of all requests that may
 * wait (MAX_QUEUE_ROWS, 4096) take at most 16 MiB.
 */
export const PLAIN_BYTES = 4096

/** Dimension names that stand for one size. "?" and blanks do not. */
const BINDS = /[^\s?]/

/**
 * Returns the process's memory outside JavaScript, in bytes. ONNX Runtime uses most of this memory.
 */
export function nativeBytes(): number {
  const { rss, heapTotal, external } = process.memoryUsage()
  return rss - heapTotal - external
}

/**
 * Measures the memory of runs, to limit a run's size before it begins.
 *
 * In most models, output sizes depend on shapes. If rows are independent, a run of N rows uses c +
 * a·N bytes, so the memory per row of a small run is an upper bound for larger runs. ONNX Runtime
 * keeps the memory that it has allocated, so the growth of native memory since the first run is an
 * upper bound for each run. Until the first run of a row shape has ended, its runs have one row.
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
    // If memory prevents larger runs, measure again: more may be free now.
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

  #keyOf(inputs: readonly Tensor[]): string {
    if (this.#hasOneShape) return ''
    const from = this.#isBatched ? 1 : 0
    return inputs.map(({ shape }) => shape.slice(from).join()).join(';')
  }

  rowsOf(inputs: readonly Tensor[]): number {
    return this.#isBatched ? Math.max(1, inputs[0]?.shape[0] ?? 1) : 1
  }

  /** Symbolic dimensions get their sizes from the inputs. */
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
