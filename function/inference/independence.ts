import { elementCount, isBatched, type Tensor } from '../protocol/tensor.ts'
import { variedInputs } from './example.ts'
import { join, split } from './rows.ts'
import type { Session } from './session.ts'

/** Kernels add in another order at another batch size, so the last bits may differ; dependent rows differ by far more. Relative to the output's largest value. */
const TOLERANCE = 1e-4

/**
 * Whether rows of the model are independent, so that requests may be joined: two different rows, run joined, give what they give alone.
 * Dimension names cannot decide this: they may be empty, and a model that subtracts the batch's mean has the same ones.
 * @returns undefined where they are, else the reason why not
 */
export async function whyNotJoined(
  session: Session,
  example: readonly Tensor[],
): Promise<string | undefined> {
  if (!isBatched(session.signature)) return 'an input or output has no variable first dimension'
  if (example.some(({ shape }) => shape[0] !== example[0]?.shape[0]))
    return 'the inputs of the sample differ in their first dimension'
  const outputs = session.signature.outputs.map(({ name }) => name)
  const varied = variedInputs(example)
  // A run may take its inputs' memory along to another thread.
  const run = (inputs: readonly Tensor[]) => session.run(structuredClone(inputs), outputs)
  try {
    const alone = [await run(example), await run(varied)]
    const joinedInputs = example.map((tensor, i) => join([tensor, varied[i] as Tensor]))
    const rows = example[0]?.shape[0] ?? 1
    const joined = split(await run(joinedInputs), [rows, rows])
    return alone.every((tensors, i) =>
      tensors.every((tensor, o) => isClose(tensor, joined[i]?.[o] as Tensor)),
    )
      ? undefined
      : 'two rows in one run gave something else than each alone'
  } catch (error) {
    return `two made-up rows cannot be run: ${(error as Error).message}`
  }
}

function isClose(a: Tensor, b: Tensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false
  const floats = a.datatype === 'FP32' || a.datatype === 'FP64'
  const tolerance = floats ? TOLERANCE * largest(a.data as Float32Array) : 0
  for (let i = 0; i < elementCount(a.shape); i++) {
    const [x, y] = [a.data[i], b.data[i]]
    if (Object.is(x, y) || x === y) continue
    if (!floats || !(Math.abs((x as number) - (y as number)) <= tolerance)) return false
  }
  return true
}

const largest = (data: Float32Array) =>
  data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
