import type { Datatype } from '../../protocol/datatypes.ts'
import { DATATYPES } from '../../protocol/datatypes.ts'
import { RunTimedOut } from '../../protocol/errors.ts'
import { join, split } from '../../protocol/rows.ts'
import { elementCount, type Tensor } from '../../protocol/tensor.ts'
import type { Session } from '../session.ts'

/**
 * A second check after the proof: extreme values in neighbouring rows must not change a bit of the
 * sample's outputs, compared with copies of the sample as neighbours. All runs have the same number
 * of rows, because the order of a kernel's additions may depend on it. Failed runs do not count.
 * @param example inputs that the model accepts
 * @returns the output that differs, as text; undefined if none does
 * @throws {RunTimedOut} if a run exceeds its time limit
 */
export async function sampledDifference(
  session: Pick<Session, 'signature' | 'run'>,
  example: readonly Tensor[],
): Promise<string | undefined> {
  const rows = example[0]?.shape[0]
  if (rows === undefined || rows === 0) return undefined
  if (example.some(({ shape }) => shape[0] !== rows)) return undefined
  const run = (...both: readonly (readonly Tensor[])[]) => runJoined(session, both, rows)
  const [first, last] = (await run(example, example)) ?? []
  if (first === undefined || last === undefined) return undefined
  for (const neighbour of [FINITE, NOT_FINITE].map(values => hostile(example, values))) {
    const [before] = (await run(example, neighbour)) ?? []
    const [, after] = (await run(neighbour, example)) ?? []
    const different = (before && differing(first, before)) ?? (after && differing(last, after))
    if (different !== undefined) return `output "${different}" of the sample`
  }
  return undefined
}

/**
 * @returns the outputs of each request, or undefined if the run fails
 * @throws {RunTimedOut} if the run exceeds its time limit
 */
async function runJoined(
  session: Pick<Session, 'signature' | 'run'>,
  requests: readonly (readonly Tensor[])[],
  rows: number,
): Promise<Tensor[][] | undefined> {
  const [first = []] = requests
  const joined = first.map((_, i) => join(requests.map(inputs => inputs[i] as Tensor)))
  try {
    const names = session.signature.outputs.map(({ name }) => name)
    return split(
      await session.run(joined, names),
      requests.map(() => rows),
    )
  } catch (error) {
    if (error instanceof RunTimedOut) throw error
    return undefined
  }
}

/** Returns the first output that differs in any bit. All NaN values count as equal. */
function differing(some: readonly Tensor[], others: readonly Tensor[]): string | undefined {
  return some.find((tensor, i) => !isSame(tensor, others[i] as Tensor))?.name
}

function isSame(a: Tensor, b: Tensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false
  for (let i = 0; i < elementCount(a.shape); i++) if (!Object.is(a.data[i], b.data[i])) return false
  return true
}

/** Magnitudes that no sample has. FP16 numbers are bit patterns. */
type Hostile = Partial<Record<Datatype, readonly number[]>>

const LARGE = [3e6, -3e6, 1e30, 0, 1e-30, -1e30, 1e6]
const FINITE: Hostile = { FP32: LARGE, FP64: LARGE, FP16: [0x7bff, 0xfbff, 0x0001, 0, 0x6400] }
const ODD = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e30, -0]
const NOT_FINITE: Hostile = { FP32: ODD, FP64: ODD, FP16: [0x7e00, 0x7c00, 0xfc00, 0x7bff, 0x8000] }

/**
 * Returns inputs of the same shapes with extreme values. Integers and texts only change places: new
 * integers might be invalid token ids or cause endless iterations.
 */
function hostile(inputs: readonly Tensor[], values: Hostile): readonly Tensor[] {
  return inputs.map(tensor => {
    const odd = values[tensor.datatype]
    const { length } = tensor.data
    const data = DATATYPES[tensor.datatype].allocate(length)
    for (let i = 0; i < length; i++)
      data[i] = (odd === undefined ? tensor.data[length - 1 - i] : odd[i % odd.length]) as never
    return { ...tensor, data }
  })
}
