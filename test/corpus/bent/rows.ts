import { DATATYPES, type Datatype } from '../../../function/protocol/datatypes.ts'
import { elementCount, type Tensor, type TensorData } from '../../../function/protocol/tensor.ts'

export interface Recorded {
  readonly datatype: Datatype
  readonly shape: readonly number[]
  /** Little-endian bytes in Base64, or unchanged strings. */
  readonly data: string | readonly string[]
}

export interface Row {
  readonly name: string
  readonly data: readonly TensorData[]
}

/** The other rows in a caller's run; they repeat until the run is full. */
export interface Neighbours {
  readonly name: string
  readonly rows: readonly Row[]
}

type Next = () => number
type Element = number | bigint | string

const FLOATS: Readonly<Record<string, (next: Next) => number>> = {
  zeros: () => 0,
  '1e30': () => 1e30,
  '-1e30': () => -1e30,
  '1e-30': () => 1e-30,
  NaN: () => Number.NaN,
  Infinity: () => Number.POSITIVE_INFINITY,
  '-Infinity': () => Number.NEGATIVE_INFINITY,
  'any magnitude': next => sign(next) * 10 ** (60 * next() - 30),
  specials: next => SPECIALS[Math.floor(next() * SPECIALS.length)] as number,
}

const SPECIALS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e30, 1]

const sign = (next: Next) => (next() < 0.5 ? -1 : 1)

/**
 * Creates rows from the recorded inputs. If an input has fewer rows than another, its rows repeat.
 */
export class RowMaker {
  readonly #inputs: readonly { readonly recorded: Recorded; readonly data: TensorData }[]
  readonly #next: Next

  constructor(inputs: readonly Recorded[], next: Next) {
    this.#inputs = inputs.map(recorded => ({ recorded, data: decode(recorded) }))
    this.#next = next
  }

  get recordedRows(): number {
    return Math.max(...this.#inputs.map(({ recorded }) => recorded.shape[0] as number))
  }

  callers(): Row[] {
    return [
      this.#recorded(0),
      this.#recorded(this.recordedRows - 1),
      this.#filled('recorded values in another order'),
      this.#filled('normal', next => Math.sqrt(-2 * Math.log(1 - next())) * sign(next)),
    ]
  }

  /** Integers and strings are recorded values in another order. */
  neighbours(): Neighbours[] {
    const rows = [
      this.#recorded(1),
      this.#filled('recorded values in another order'),
      ...Object.entries(FLOATS).map(([name, float]) => this.#filled(name, float)),
    ]
    return [...rows.map(row => ({ name: row.name, rows: [row] })), { name: 'all of them', rows }]
  }

  #recorded(index: number): Row {
    return {
      name: `recorded row ${index}`,
      data: this.#inputs.map(({ recorded, data }) => {
        const size = rowSize(recorded)
        const at = (index % (recorded.shape[0] as number)) * size
        return data.slice(at, at + size) as TensorData
      }),
    }
  }

  #filled(name: string, float?: (next: Next) => number): Row {
    return {
      name,
      data: this.#inputs.map(({ recorded, data }) => {
        const row = DATATYPES[recorded.datatype].allocate(rowSize(recorded)) as unknown as Element[]
        const floats = recorded.datatype.startsWith('FP') ? float : undefined
        for (let i = 0; i < row.length; i++) {
          row[i] =
            floats === undefined
              ? (data[Math.floor(this.#next() * data.length)] as Element)
              : asElement(recorded.datatype, floats(this.#next))
        }
        return row as unknown as TensorData
      }),
    }
  }

  join(rows: readonly Row[], names: readonly string[]): Tensor[] {
    return this.#inputs.map(({ recorded }, input) => {
      const size = rowSize(recorded)
      const data = DATATYPES[recorded.datatype].allocate(size * rows.length)
      rows.forEach((row, at) => {
        const own = row.data[input] as TensorData
        if (Array.isArray(data)) data.splice(at * size, size, ...(own as readonly string[]))
        else (data as Float32Array).set(own as Float32Array, at * size)
      })
      return {
        name: names[input] as string,
        datatype: recorded.datatype,
        shape: [rows.length, ...recorded.shape.slice(1)],
        data,
      }
    })
  }
}

const rowSize = ({ shape }: Recorded) => elementCount(shape.slice(1))

/** The seventh root makes the value fit into the range of FP16, whose data contains bits. */
function asElement(datatype: Datatype, value: number): number {
  if (datatype !== 'FP16') return value
  const least = Math.sign(value) * Math.abs(value) ** (1 / 7)
  return new Uint16Array(new Float16Array([least]).buffer)[0] as number
}

function decode({ datatype, shape, data }: Recorded): TensorData {
  if (typeof data !== 'string') return data
  const bytes = new Uint8Array(Buffer.from(data, 'base64')).buffer
  const row = DATATYPES[datatype] as { view?: (typeof DATATYPES)['FP32']['view'] }
  if (row.view === undefined) throw new Error(`${datatype} is not written as bytes`)
  return row.view(bytes, 0, elementCount(shape))
}
