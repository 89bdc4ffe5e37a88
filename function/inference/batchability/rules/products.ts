import { sizeOf } from '../broadcast.ts'
import { type Rule, type Rules, type Step, since } from '../rule.ts'
import { asNumber, equals, isOne, type Size, show, unknownSize } from '../size.ts'
import { type Batched, isBatched, Stop, tensor, UNKNOWN, type Value } from '../value.ts'

/*
 * Matrix products sum over dimensions of both operands, which must not include the batch. Rows of
 * the left operand stay rows, and a batch of matrices stays a batch.
 */

/** @throws {Stop} if rows would be summed or multiplied by other rows */
export function matrixProduct(a: Value, b: Value): Value {
  if (a.dims === undefined || b.dims === undefined) {
    if (isBatched(a) || isBatched(b)) throw new Stop('the shape of an operand is unknown')
    return UNKNOWN
  }
  if (!isBatched(a) && !isBatched(b)) return productOf(a.dims, b.dims, undefined)
  if (a.dims.length < 2 || b.dims.length < 2) checkVectors(a, b)
  const place = isBatched(a)
    ? a.axis - a.dims.length
    : (b as Batched).axis - (b.dims.length as number)
  if (isBatched(a) && place === -1) throw new Stop('the node sums over the batch')
  if (place === -1) throw new Stop('the columns of the right operand are the batch')
  if (!isBatched(a) && place === -2) throw new Stop('the node sums over the batch')
  if (isBatched(b) && place === -2) throw new Stop('the node combines every row with all rows')
  if (place < -2) checkMatrices(a, b, place)
  return productOf(a.dims, b.dims, place)
}

/** A vector has no dimension for rows, so the other operand must be the batched one. */
function checkVectors(a: Value, b: Value): void {
  if (isBatched(a) && (a.dims as readonly Size[]).length < 2)
    throw new Stop('the node sums over the batch')
  if (isBatched(b)) throw new Stop('the right operand of a product of vectors is batched')
}

/**
 * Beside a batch of matrices, the other operand must have the same batch in the same dimension, or
 * one matrix for all rows.
 */
function checkMatrices(a: Value, b: Value, place: number): void {
  const batch = (isBatched(a) ? a : b) as Batched
  const size = batch.dims[batch.axis] as Size
  for (const operand of [a, b]) {
    const dims = operand.dims as readonly Size[]
    const at = dims.length + place
    if (isBatched(operand)) {
      if (operand.axis !== at || !equals(dims[at] as Size, size))
        throw new Stop('the operands have the batch in different dimensions')
    } else if (at >= 0 && !isOne(dims[at] as Size))
      throw new Stop(`an operand has size ${show(dims[at] as Size)} in the batch dimension`)
  }
}

/** @param place the result's batch dimension, counted from the end as a negative number */
function productOf(a: readonly Size[], b: readonly Size[], place: number | undefined): Value {
  const [left, right] = [a.slice(0, -2), b.slice(0, -2)]
  const rank = Math.max(left.length, right.length)
  const stack = Array.from({ length: rank }, (_, i) => {
    const sizes = [left[i - rank + left.length], right[i - rank + right.length]]
    return sizeOf(sizes.filter(size => size !== undefined))
  })
  const rows = a.length > 1 ? [a.at(-2) as Size] : []
  const columns = b.length > 1 ? [b.at(-1) as Size] : []
  const dims = [...stack, ...rows, ...columns]
  if (place === undefined) return tensor(dims, undefined)
  // If the right operand is a vector, the result has no columns, so the rows are the last
  // dimension.
  return tensor(dims, dims.length + place + (b.length > 1 ? 0 : 1))
}

const matMul: Rule = step => [matrixProduct(step.input(0), step.input(1))]

const gemm: Rule = step => [gemmOf(step, { a: 0, b: 1, c: 2 })]

/**
 * Returns a product of two matrices plus a bias.
 * @param at the inputs with the matrices and the bias
 */
export function gemmOf(
  step: Step,
  at: { readonly a: number; readonly b: number; readonly c: number },
): Value {
  const [a, b, c] = [step.input(at.a), step.input(at.b), step.inputs[at.c]]
  const isTurned = step.flag('transA', false)
  if (isBatched(b)) throw new Stop('the weight depends on rows; it must be the same for all rows')
  if (isBatched(c) && !isBatched(a))
    throw new Stop('the bias depends on rows, but the matrices do not')
  if (isBatched(a) && (a.axis !== 0 || isTurned)) throw new Stop('the node sums over the batch')
  if (a.dims === undefined) return UNKNOWN
  const columns = b.dims?.at(step.flag('transB', false) ? -2 : -1) ?? unknownSize()
  if (isBatched(a) && c !== undefined) checkBias(c, a)
  return tensor([a.dims.at(isTurned ? -1 : -2) as Size, columns], a.axis)
}

/**
 * The bias, which is broadcast to the result, must have one row per row of the batch, or one for
 * all.
 */
function checkBias(c: Value, a: Batched): void {
  if (c.dims === undefined) throw new Stop('the shape of the bias is unknown')
  if (isBatched(c)) {
    if (c.dims.length === 2 && c.axis === 0 && equals(c.dims[0] as Size, a.dims[0] as Size)) return
    throw new Stop('the bias is batched, but does not have one row for each row of the batch')
  }
  if (c.dims.length > 1 && !isOne(c.dims[0] as Size))
    throw new Stop(`the bias has size ${show(c.dims[0] as Size)} in the batch dimension`)
}

/**
 * The batch's letter must occur once in the output and in each batched operand, and in no other
 * operand.
 */
const einsum: Rule = step => {
  const equation = step.text('equation', '').replaceAll(' ', '')
  const [left = '', right] = equation.split('->')
  const terms = left.split(',')
  const values = step.inputs.map((_, i) => step.input(i))
  if (!values.some(isBatched)) return [UNKNOWN]
  if (right === undefined || equation.includes('.'))
    throw new Stop('the equation has no output or contains an ellipsis')
  const letters = values.map((value, i) => (isBatched(value) ? terms[i]?.[value.axis] : undefined))
  const letter = letters.find(one => one !== undefined) as string
  const sizes = new Map<string, Size>()
  for (const [i, value] of values.entries()) {
    const term = terms[i] ?? ''
    if (value.dims?.length !== term.length) throw new Stop('the shape of an operand is unknown')
    const times = term.split(letter).length - 1
    if (times !== (isBatched(value) ? 1 : 0) || (isBatched(value) && letters[i] !== letter))
      throw new Stop(
        `the batch letter "${letter}" must occur once in each batched operand and in no other operand`,
      )
    noteSizes(value, term, letter, sizes)
  }
  if (right.split(letter).length !== 2) throw new Stop('the node sums over the batch')
  return [
    tensor(
      [...right].map(one => sizes.get(one) ?? unknownSize()),
      right.indexOf(letter),
    ),
  ]
}

function noteSizes({ dims = [] }: Value, term: string, letter: string, sizes: Map<string, Size>) {
  for (const [at, one] of [...term].entries()) {
    const [known, size] = [sizes.get(one), dims[at] as Size]
    if (one === letter && known !== undefined && !equals(known, size))
      throw new Stop(`the node combines batches of sizes ${show(known)} and ${show(size)}`)
    // Operands of size 1 in this dimension are broadcast.
    sizes.set(one, known === undefined ? size : sizeOf([known, size]))
  }
}

export const PRODUCTS: Rules = {
  MatMul: [since(7, matMul)],
  Gemm: [since(7, gemm)],
  Einsum: [since(12, einsum)],
}

/** Whether a tensor has exactly one element, such as an entire tensor's scale. */
export const isSingle = ({ dims }: Value) => dims?.every(size => asNumber(size) === 1) ?? false
