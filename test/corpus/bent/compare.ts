import { elementCount, type Tensor } from '../../../function/protocol/tensor.ts'

/** Of the output's largest value: kernels add in another order at another batch size. */
const TOLERANCE = 1e-4
/** FP16 has 11 bits. */
const TOLERANCE_FP16 = 4e-3

/** A row of a run's outputs. */
export interface Place {
  readonly outputs: readonly Tensor[]
  readonly row: number
  /** Rows of the run. */
  readonly rows: number
}

/** An output that has not as many rows as the run, in words; undefined where they all have. */
export function withoutRows({ outputs, rows }: Place): string | undefined {
  const wrong = outputs.find(({ shape }) => shape[0] !== rows)
  return wrong && `output "${wrong.name}" has the shape [${wrong.shape}] in a run of ${rows} rows`
}

/** The first element that two runs give one row differently, in words; undefined where they agree. */
export function difference(
  one: Place,
  other: Place,
  isSame: (a: Tensor, b: Tensor) => (x: unknown, y: unknown) => boolean,
): string | undefined {
  for (const [i, a] of one.outputs.entries()) {
    const b = other.outputs[i] as Tensor
    const [aRow, bRow] = [a.shape.slice(1), b.shape.slice(1)]
    if (aRow.join() !== bRow.join())
      return `output "${a.name}" has rows of the shape [${aRow}] and of [${bRow}]`
    const size = elementCount(aRow)
    const same = isSame(a, b)
    for (let at = 0; at < size; at++) {
      const x = value(a, one.row * size + at)
      const y = value(b, other.row * size + at)
      if (!same(x, y)) return `output "${a.name}", element ${at} of the row: ${x} and ${y}`
    }
  }
  return undefined
}

/** Bit for bit, but for what a NaN carries. */
export const sameBits = () => Object.is

/** Within rounding, where it is a float. */
export function isClose(a: Tensor, b: Tensor) {
  if (!a.datatype.startsWith('FP')) return Object.is
  const tolerance = a.datatype === 'FP16' ? TOLERANCE_FP16 : TOLERANCE
  const allowed = tolerance * Math.max(largest(a), largest(b))
  return (x: unknown, y: unknown) =>
    Object.is(x, y) || x === y || Math.abs((x as number) - (y as number)) <= allowed
}

function largest(tensor: Tensor): number {
  let most = 0
  for (let i = 0; i < tensor.data.length; i++) {
    const magnitude = Math.abs(value(tensor, i) as number)
    if (Number.isFinite(magnitude)) most = Math.max(most, magnitude)
  }
  return most
}

/** FP16 is held as its bits. */
function value({ datatype, data }: Tensor, at: number): unknown {
  if (datatype !== 'FP16') return data[at]
  return new Float16Array(new Uint16Array([data[at] as number]).buffer)[0]
}
