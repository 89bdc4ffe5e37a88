import type { Session } from '../../../function/inference/session.ts'
import { DATATYPES } from '../../../function/protocol/datatypes.ts'
import { join, split } from '../../../function/protocol/rows.ts'
import {
  elementCount,
  type Tensor,
  type TensorMetadata,
} from '../../../function/protocol/tensor.ts'

/** Another client may send these extreme numbers. */
const HOSTILE = [
  1e30,
  -1e30,
  1e-30,
  3e6,
  -3e6,
  0,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
]
const WORDS = ['a', 'b', 'a b', 'b a a b', 'x', '', 'c d e f g h']

/**
 * Runs a row as the first and as the last row of batches of 2, 3 and 17 rows, with extreme values
 * in the other rows. Compares the result's bits with those beside copies of the row.
 * @returns a description of the first difference, or undefined
 */
export async function neighboursChange(session: Session): Promise<string | undefined> {
  const { inputs } = session.signature
  const names = session.signature.outputs.map(({ name }) => name)
  const run = async (rows: readonly (readonly Tensor[])[]) =>
    split(
      await session.run(
        inputs.map((_, i) => join(rows.map(row => row[i] as Tensor))),
        names,
      ),
      rows.map(() => 1),
    )
  const row = inputs.map((metadata, i) =>
    rowFor(metadata, i, place => [0.5, -1.25, 2, 0.125][place % 4] ?? 0),
  )
  for (const [kind, value] of HOSTILE.entries()) {
    const other = inputs.map((metadata, i) =>
      rowFor(
        metadata,
        i + kind,
        place => (place % 3 === 2 ? HOSTILE[(place + kind) % HOSTILE.length] : value) ?? 0,
      ),
    )
    for (const count of [2, 3, 17]) {
      const copies = new Array<readonly Tensor[]>(count).fill(row)
      const others = new Array<readonly Tensor[]>(count).fill(other)
      const same = await run(copies)
      for (const place of [0, count - 1]) {
        const beside = await run(others.with(place, row))
        for (const [i, tensor] of (beside[place] ?? []).entries())
          if (!isSame(tensor, same[place]?.[i] as Tensor))
            return `output "${tensor.name}" of row ${place} of ${count} beside ${value}: ${tensor.data}, not ${same[place]?.[i]?.data}`
      }
    }
  }
  return undefined
}

/**
 * A variable dimension other than the batch has size 3. Integers are small, because most are
 * indices.
 */
function rowFor(
  { name, datatype, shape }: TensorMetadata,
  kind: number,
  valueAt: (place: number) => number,
): Tensor {
  const one = shape.map((size, i) => (i === 0 ? 1 : size === -1 ? 3 : size))
  const data = DATATYPES[datatype].allocate(elementCount(one))
  for (let i = 0; i < data.length; i++) {
    const word = WORDS[(i + kind) % WORDS.length]
    if (datatype === 'BYTES') data[i] = word as never
    else if (datatype === 'INT64') data[i] = BigInt((i + kind) % 3) as never
    else data[i] = (datatype === 'FP32' ? valueAt(i) : (i + kind) % 3) as never
  }
  return { name, datatype, shape: one, data }
}

function isSame(a: Tensor, b: Tensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false
  return Array.from(a.data as ArrayLike<unknown>).every((value, i) => Object.is(value, b.data[i]))
}
