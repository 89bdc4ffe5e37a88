import { type Rule, type Rules, type Step, since } from '../rule.ts'
import { equals, isOne, type Size, unknownSize } from '../size.ts'
import { type Batched, isBatched, Stop, tensor, UNKNOWN } from '../value.ts'
import { like } from './elementwise.ts'

/*
 * Attention as one operator. A row's queries use only keys and values of the same row, because
 * queries, keys and values have the batch in dimension 0.
 */

/** Inputs: Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen. */
const MASK = 3
const LENGTHS = 6

function checkRows(step: Step, index: number, rows: Size): Batched {
  const value = step.batched(index)
  if (value.axis === 0 && equals(value.dims[0] as Size, rows)) return value
  throw new Stop(`the batch is not dimension 0 of input ${index}`)
}

const attention: Rule = step => {
  if (!step.inputs.some(isBatched)) return step.node.outputs.map(() => UNKNOWN)
  const q = step.batched(0)
  const rows = q.dims[0] as Size
  for (const [index, value] of step.inputs.entries())
    if (value !== undefined && (index !== MASK || isBatched(value))) checkRows(step, index, rows)
  if (step.inputs[LENGTHS] !== undefined)
    throw new Stop('there is no rule for the input nonpad_kv_seqlen')
  checkMask(step)
  const four = tensor([rows, unknownSize(), unknownSize(), unknownSize()], 0)
  if (q.dims.length === 4) {
    const [, heads, length] = q.dims as [Size, Size, Size, Size]
    const width = step.dims(2).at(-1) as Size
    return [tensor([rows, heads, length, width], 0), four, four, four]
  }
  if (q.dims.length !== 3)
    throw new Stop(`the queries have ${q.dims.length} dimensions; they must have 3 or 4`)
  return [tensor([rows, q.dims[1] as Size, unknownSize()], 0), four, four, four]
}

/**
 * Checks the mask, which is broadcast to [N, heads, queries, keys] from the last dimension. A mask
 * with an entry per row must therefore have all four dimensions.
 */
function checkMask(step: Step): void {
  if (step.inputs[MASK] === undefined) return
  const { axis } = step.input(MASK)
  const dims = step.dims(MASK)
  if (axis !== undefined && dims.length !== 4)
    throw new Stop('the mask depends on rows, but its shape is not [N, heads, queries, keys]')
  if (axis === undefined && dims.length === 4 && !isOne(dims[0] as Size))
    throw new Stop('the mask is a constant with several entries in the batch dimension')
}

/**
 * If each row has its own positions, all rows share one cache; otherwise each row has its own
 * cache.
 */
const rotary: Rule = step => {
  const value = step.input(0)
  if (!step.inputs.some(isBatched)) return [like(value)]
  const rows = step.batched(0).dims[0] as Size
  checkRows(step, 0, rows)
  if (step.inputs[3] === undefined) {
    checkRows(step, 1, rows)
    checkRows(step, 2, rows)
  } else {
    checkRows(step, 3, rows)
    for (const index of [1, 2])
      if (isBatched(step.inputs[index]))
        throw new Stop(`input ${index} depends on rows; it must be the same for all rows`)
  }
  return [like(value)]
}

export const ATTENTION: Rules = {
  Attention: [since(23, attention)],
  RotaryEmbedding: [since(23, rotary)],
}
