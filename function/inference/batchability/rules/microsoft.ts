import { broadcast } from '../broadcast.ts'
import { axisOf, each, notAlong, type Rule, type Rules, type Step, since } from '../rule.ts'
import { asNumber, fixed, type Size, unknownSize } from '../size.ts'
import { isBatched, Stop, tensor, UNKNOWN } from '../value.ts'
import { like } from './elementwise.ts'
import { tokenizer } from './ml.ts'
import { gemmOf, isSingle } from './products.ts'
import { concatenated } from './shapes.ts'
import { checkPictures } from './windows.ts'

/*
 * com.microsoft's operators that scikit-learn's converter and static quantisation (QOperator
 * format) write. All scales and zero points are constants, and each batched tensor has one of each.
 */

/** @throws {Stop} if a scale or zero point has several elements or depends on rows */
function checkScales(step: Step, indices: readonly number[]): void {
  for (const index of indices) {
    const value = step.inputs[index]
    if (value === undefined) continue
    if (isBatched(value) || !isSingle(value))
      throw new Stop(
        `input ${index} has several elements; a batched tensor needs a single scale and zero point`,
      )
  }
}

/** Inputs: A and B, each with its scale and zero point, then the result's. */
const qlinearBinary: Rule = step => {
  checkScales(step, [1, 2, 4, 5, 6, 7])
  return [broadcast([step.input(0), step.input(3)])]
}

const qlinearUnary: Rule = step => {
  checkScales(step, [1, 2, 3, 4])
  return [like(step.input(0))]
}

const qgemm: Rule = step => {
  checkScales(step, [1, 2, 7, 8])
  for (const index of [4, 5])
    if (isBatched(step.inputs[index]))
      throw new Stop(`input ${index} depends on rows; it must be the same for all rows`)
  return [gemmOf(step, { a: 0, b: 3, c: 6 })]
}

/** Inputs: the result's scale and zero point, then three inputs per piece. */
const qlinearConcat: Rule = step => {
  const pieces = step.inputs.flatMap((_, i) => (i >= 2 && (i - 2) % 3 === 0 ? i : []))
  checkScales(
    step,
    step.inputs.flatMap((_, i) => (pieces.includes(i) ? [] : i)),
  )
  return [
    concatenated(
      step,
      pieces.map(i => step.input(i)),
    ),
  ]
}

const qlinearGlobalPool: Rule = step => {
  const value = step.input(0)
  checkScales(step, [1, 2, 3, 4])
  if (value.dims === undefined) return [UNKNOWN]
  checkPictures(value)
  const isLast = step.flag('channels_last', false)
  const channels = isLast ? value.dims.length - 1 : 1
  const dims = value.dims.map((size, i) => (i === 0 || i === channels ? size : fixed(1)))
  return [tensor(dims, value.axis)]
}

/** Like Softmax in the opset that the attribute `opset` names. */
const qlinearSoftmax: Rule = step => {
  const value = step.input(0)
  checkScales(step, [1, 2, 3, 4])
  if (isBatched(value)) {
    const axis = axisOf(step.integer('axis', -1), value.dims.length)
    const isFlattened = step.integer('opset', 0) < 13
    notAlong(isFlattened ? value.dims.map((_, i) => i).filter(i => i >= axis) : [axis], value)
  }
  return [like(value)]
}

/** The distance from each row of A to each row of B. */
const cdist: Rule = step => {
  const [a, b] = [step.input(0), step.input(1)]
  if (isBatched(b)) throw new Stop('the node combines every row with all rows')
  if (!isBatched(a)) return [UNKNOWN]
  if (a.axis !== 0 || a.dims.length !== 2)
    throw new Stop('the input is not a table with the batch in dimension 0')
  const count = b.dims?.[0]
  const known = count !== undefined && asNumber(count) !== undefined ? count : unknownSize()
  return [tensor([a.dims[0] as Size, known], 0)]
}

export const MICROSOFT: Rules = {
  Tokenizer: [since(1, tokenizer)],
  CDist: [since(1, cdist)],
  ...each(['QLinearAdd', 'QLinearMul'], since(1, qlinearBinary)),
  ...each(['QLinearSigmoid', 'QLinearLeakyRelu'], since(1, qlinearUnary)),
  QGemm: [since(1, qgemm)],
  QLinearConcat: [since(1, qlinearConcat)],
  QLinearGlobalAveragePool: [since(1, qlinearGlobalPool)],
  QLinearSoftmax: [since(1, qlinearSoftmax)],
}
