import type { Session } from '../../../function/inference/session.ts'
import type { Tensor } from '../../../function/protocol/tensor.ts'
import { difference, isClose, type Place, sameBits, withoutRows } from './compare.ts'
import type { Neighbours, Row, RowMaker } from './rows.ts'

export interface Tried {
  readonly runs: number
  /** The number of failed runs, which prove nothing. */
  readonly failed: number
  readonly failure?: string
  /** The number of comparisons between results for the same row with different neighbours. */
  readonly compared: number
  readonly difference?: string
}

/** Tries to show that a row's result depends on other rows in the run. */
export class Trial {
  readonly #session: Session
  readonly #maker: RowMaker
  readonly #inputs: readonly string[]
  readonly #outputs: readonly string[]
  #runs = 0
  #failed = 0
  #compared = 0
  #failure: string | undefined

  constructor(session: Session, maker: RowMaker) {
    this.#session = session
    this.#maker = maker
    this.#inputs = session.signature.inputs.map(({ name }) => name)
    this.#outputs = session.signature.outputs.map(({ name }) => name)
  }

  /** @param few only a few runs, for a model whose runs take seconds */
  async try(few: boolean): Promise<Tried> {
    const sizes = few ? [2] : this.#sizes()
    const callers = this.#maker.callers().slice(0, few ? 1 : undefined)
    const neighbours = this.#maker.neighbours().slice(0, few ? 4 : undefined)
    let found: string | undefined
    for (const rows of sizes) {
      for (const [i, caller] of callers.entries()) {
        // Each caller shares a run with each neighbour, but not at every batch size.
        const met = neighbours.filter((_, n) => few || (n + rows) % callers.length === i)
        found ??= await this.#tryCaller(caller, met, rows)
      }
    }
    return {
      runs: this.#runs,
      failed: this.#failed,
      compared: this.#compared,
      ...(this.#failure !== undefined && { failure: this.#failure }),
      ...(found !== undefined && { difference: found }),
    }
  }

  /**
   * Includes a small recorded batch size, because recorded indices may be invalid in a smaller run.
   */
  #sizes(): number[] {
    const recorded = this.#maker.recordedRows
    return recorded === 4 || (recorded > 5 && recorded <= 12) ? [2, 3, 5, recorded] : [2, 3, 5]
  }

  async #tryCaller(caller: Row, neighbours: readonly Neighbours[], rows: number) {
    const own = await this.#run(Array(rows).fill(caller))
    if (own === undefined) return undefined
    const rowless = withoutRows({ outputs: own, row: 0, rows })
    if (rowless !== undefined) {
      this.#compared++
      return rowless
    }
    const single = await this.#run([caller])
    const places = [...new Set([0, rows >> 1, rows - 1])].map(row => ({ outputs: own, row, rows }))
    for (const place of places) {
      const differs =
        this.#besideCopies(caller, place, single) ??
        (await this.#besideOthers(caller, neighbours, place))
      if (differs !== undefined) return differs
    }
    return undefined
  }

  /**
   * Compares a copy of the row with the first copy in the same run, and with a run with one row.
   */
  #besideCopies(caller: Row, place: Place, single: Tensor[] | undefined): string | undefined {
    if (place.row === 0 && single === undefined) return undefined
    this.#compared++
    const first = difference({ ...place, row: 0 }, place, isClose)
    if (first !== undefined)
      return `rows 0 and ${place.row} in a run of copies (${caller.name}): ${first}`
    if (single === undefined) return undefined
    const alone = { outputs: single, row: 0, rows: 1 }
    const differs = withoutRows(alone) ?? difference(alone, place, isClose)
    return (
      differs &&
      `in a run of one row and in row ${place.row} of ${place.rows} copies (${caller.name}): ${differs}`
    )
  }

  /**
   * Compares the result of the row beside other rows with its result beside its own copies, bit for
   * bit.
   */
  async #besideOthers(
    caller: Row,
    neighbours: readonly Neighbours[],
    place: Place,
  ): Promise<string | undefined> {
    for (const { name, rows } of neighbours) {
      const others = Array.from({ length: place.rows }, (_, i) => rows[i % rows.length] as Row)
      const outputs = await this.#run(others.with(place.row, caller))
      if (outputs === undefined) continue
      this.#compared++
      const mixed = { ...place, outputs }
      const differs = withoutRows(mixed) ?? difference(place, mixed, sameBits)
      if (differs === undefined) continue
      const steady = await this.#isSteady(caller, place)
      return `row ${place.row} of ${place.rows} (${caller.name}) beside its copies and beside ${name}: ${differs}${steady ? '' : ' (identical runs also differ)'}`
    }
    return undefined
  }

  /** Whether a second run gives the same result. Random outputs differ. */
  async #isSteady(caller: Row, place: Place): Promise<boolean> {
    const outputs = await this.#run(Array(place.rows).fill(caller))
    return outputs !== undefined && !difference(place, { ...place, outputs }, sameBits)
  }

  async #run(rows: readonly Row[]): Promise<Tensor[] | undefined> {
    this.#runs++
    try {
      return await this.#session.run(this.#maker.join(rows, this.#inputs), this.#outputs)
    } catch (error) {
      this.#failed++
      this.#failure ??= (error as Error).message
      return undefined
    }
  }
}
