import { each, type Rule, type Rules, type Step, since } from '../rule.ts'
import { equals, fixed, type Size, unknownSize } from '../size.ts'
import { type Batched, isBatched, Stop, tensor, UNKNOWN } from '../value.ts'

/*
 * Recurrent layers process each row as a separate sequence. With layout 0, the batch is dimension 1
 * of X and of the states, and dimension 2 of Y. With layout 1, the batch is dimension 0 of every
 * tensor. Weights and biases are the same for all rows.
 */

/** Inputs: X, W, R, B, sequence_lens, initial_h, and, for LSTM, initial_c and P. */
const LENGTHS = 4
const STATES = [5, 6]

const recurrent: Rule = step => {
  const x = step.input(0)
  if (!step.inputs.some(isBatched)) return step.node.outputs.map(() => UNKNOWN)
  if (!isBatched(x))
    throw new Stop('input 0 is the same for all rows, but another input depends on rows')
  const at = step.flag('layout', false) ? 0 : 1
  if (x.axis !== at) throw new Stop(`the batch is dimension ${x.axis} of input 0, not ${at}`)
  const rows = x.dims[at] as Size
  for (const [index, value] of step.inputs.entries()) {
    if (index === 0 || value === undefined) continue
    if (index === LENGTHS) checkRows(step, index, 0, rows)
    else if (STATES.includes(index) && isState(step, index)) checkRows(step, index, at, rows)
    else if (isBatched(value))
      throw new Stop(`input ${index} depends on rows; it must be the same for all rows`)
  }
  return outputs(step, x, at)
}

/** Input 6 is a state only for LSTM. */
const isState = ({ node }: Step, index: number) => index === 5 || node.operator === 'LSTM'

/** @throws {Stop} if the input does not have one entry per row in this dimension */
function checkRows(step: Step, index: number, axis: number, rows: Size): void {
  const value = step.batched(index)
  if (value.axis !== axis || !equals(value.dims[axis] as Size, rows))
    throw new Stop(`the batch is not dimension ${axis} of input ${index}`)
}

function outputs(step: Step, x: Batched, at: number) {
  const directions = fixed(step.text('direction', 'forward') === 'bidirectional' ? 2 : 1)
  const hidden = step.attribute('hidden_size')?.number
  const size = hidden === undefined ? unknownSize() : fixed(hidden)
  const [sequence, rows] = [x.dims[1 - at] as Size, x.dims[at] as Size]
  const y =
    at === 1
      ? tensor([sequence, directions, rows, size], 2)
      : tensor([rows, sequence, directions, size], 0)
  const state = at === 1 ? tensor([directions, rows, size], 1) : tensor([rows, directions, size], 0)
  return [y, state, state]
}

export const RECURRENT: Rules = each(['LSTM', 'GRU', 'RNN'], since(7, recurrent))
