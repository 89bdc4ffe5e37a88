import { elementCount, type Tensor } from '../../../function/protocol/tensor.ts'

/** A share of the output's largest value: the batch size affects the order in which kernels add. */
const TOLERANCE = 1e-4
/** FP16's significand has 11 bits. */
const TOLERANCE_FP16 = 4e-3

export interface Place {
  readonly outputs: readonly Tensor[]
  readonly row: number
  readonly rows: number
}

/** The first output whose number of rows differs from the run's, if any. */
export function withoutRows({ outputs, rows }: Place): string | undefined {
  const wrong = outputs.find(({ shape }) => shape[0] !== rows)
  return wrong && `output "${wrong.name}" has the shape [${wrong.shape}] in a run of ${rows} rows`
}

/** The first element that differs between one row in two runs, if any. */
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

/** Compares bits. All NaNs are equal. */
export const sameBits = () => Object.is

/** Floating-point values may differ within the tolerance. */
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

/** FP16 data contains bits, which are converted to a number. */
function value({ datatype, data }: Tensor, at: number): unknown {
  if (datatype !== 'FP16') return data[at]
  return new Float16Array(new Uint16Array([data[at] as number]).buffer)[0]
}
