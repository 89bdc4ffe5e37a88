import { join } from '../protocol/rows.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { RunSizes } from './run-sizes.ts'
import type { Session } from './session.ts'

type TriedSession = Pick<Session, 'signature' | 'run'>

/**
 * After a run longer than this, more rows are not tried: the result would not be worth the time.
 */
const LONG_RUN_MS = 1

const TIMES_MORE_ROWS = 4
const MOST_ROWS = 4096

/**
 * Runs the example to measure its outputs and the memory of a run.
 * @returns whether the memory allows a run with twice as many rows
 */
export async function learnExample(
  session: TriedSession,
  sizes: RunSizes,
  example: readonly Tensor[],
): Promise<boolean> {
  await tryRun(session, sizes, example)
  return sizes.mostRows(example) >= 2 * sizes.rowsOf(example)
}

/**
 * If rows are independent, runs the example with more and more rows while the runs are short. Most
 * of a small run's memory is ONNX Runtime's overhead, so a row needs less memory in a large run.
 */
export async function learnRows(
  session: TriedSession,
  sizes: RunSizes,
  example: readonly Tensor[],
): Promise<void> {
  if (!sizes.areRowsIndependent) return
  const own = sizes.rowsOf(example)
  for (let times = TIMES_MORE_ROWS; times * own <= MOST_ROWS; times *= TIMES_MORE_ROWS) {
    if (times * own > sizes.mostRows(example)) return
    const more = example.map(tensor => join(new Array<Tensor>(times).fill(tensor)))
    if ((await tryRun(session, sizes, more)) > LONG_RUN_MS) return
  }
}

/** Runs the inputs once. @returns milliseconds; infinite if the run failed */
async function tryRun(
  session: TriedSession,
  sizes: RunSizes,
  inputs: readonly Tensor[],
): Promise<number> {
  const names = session.signature.outputs.map(({ name }) => name)
  // A run may transfer the memory of its inputs to another thread, so run a copy.
  const own = structuredClone(inputs)
  const began = performance.now()
  try {
    const outputs = await session.run(own, names)
    const ms = performance.now() - began
    sizes.ran(inputs, outputs)
    return ms
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
