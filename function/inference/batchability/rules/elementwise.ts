import { broadcast } from '../broadcast.ts'
import { each, type Rule, type Rules, since } from '../rule.ts'
import { equals, type Size } from '../size.ts'
import { isBatched, Stop, type Value } from '../value.ts'

/*
 * Element-wise operators: an output element depends only on the input elements at its index. Before
 * opset 7, broadcasting had its own attributes.
 */

/** Returns the value's shape and batch dimension, without its elements and marks. */
export const like = (value: Value): Value => {
  const { dims, axis } = value
  return { ...(dims && { dims }), ...(axis !== undefined && { axis }) }
}

/**
 * For operators with one output element per element of the first input. Other inputs are scalars,
 * such as Clip's bounds.
 */
const pointwise: Rule = step => {
  step.constantsFrom(1)
  step.onlyOutputs(1)
  return [like(step.input(0))]
}

const withBroadcast: Rule = step => [broadcast(step.inputs.map((_, i) => step.input(i)))]

/**
 * ONNX broadcasts PRelu's second input to the shape of the first. ONNX Runtime also broadcasts the
 * first to the shape of the second.
 */
const prelu: Rule = step => {
  const [x, slope] = [step.input(0), step.input(1)]
  const all = broadcast([x, slope])
  if (isBatched(all) && !isBatched(x))
    throw new Stop('the slope depends on rows, but the input does not')
  return [all]
}

/**
 * Accepts only inference mode: in training mode, Dropout replaces random elements with 0. The mask
 * is an output for training.
 */
const dropout: Rule = step => {
  step.onlyOutputs(1)
  if (step.opset >= 12 && step.inputs[2] !== undefined) {
    if (step.numbers(2)?.[0] !== 0) throw new Stop('the node is in training mode')
  }
  return [like(step.input(0))]
}

/** For opsets before 8, in which these operators do not broadcast. */
const sameShape: Rule = step => {
  const values = step.inputs.map((_, i) => step.input(i))
  const [first] = values as [Value]
  const isSame = (size: Size, i: number) => equals(size, first.dims?.[i] as Size)
  for (const { dims, axis } of values)
    if (axis !== first.axis || dims?.length !== first.dims?.length || !dims?.every(isSame))
      throw new Stop('the inputs do not all have the same shape')
  return [like(first)]
}

const castLike: Rule = step => [like(step.input(0))]

const IDENTITY_LIKE = ['Cast', 'Identity']

const UNARY_FROM_7 = [
  ...['Abs', 'Acos', 'Acosh', 'Asin', 'Asinh', 'Atan', 'Atanh', 'Ceil', 'Cos', 'Cosh', 'Elu'],
  ...['Erf', 'Exp', 'Floor', 'HardSigmoid', 'HardSwish', 'IsInf', 'IsNaN', 'LeakyRelu', 'Log'],
  ...['Mish', 'Neg', 'Not', 'Reciprocal', 'Relu', 'Round', 'Selu', 'Shrink', 'Sigmoid', 'Sign'],
  ...['Sin', 'Sinh', 'Softplus', 'Softsign', 'Sqrt', 'Tan', 'Tanh', 'ThresholdedRelu', 'Clip'],
  ...['Celu', 'Gelu', 'Swish', 'BitwiseNot', 'RegexFullMatch', ...IDENTITY_LIKE],
]

const BINARY = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'And', 'Or', 'Xor', 'Equal', 'Greater', 'Less'],
  ...['GreaterOrEqual', 'LessOrEqual', 'BitShift', 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor'],
  ...['Where', 'StringConcat'],
]

export const ELEMENTWISE: Rules = {
  ...each(UNARY_FROM_7, since(7, pointwise)),
  ...each(BINARY, since(7, withBroadcast)),
  ...each(['Max', 'Min', 'Mean', 'Sum'], since(7, sameShape), since(8, withBroadcast)),
  CastLike: [since(15, castLike)],
  PRelu: [since(7, prelu)],
  Dropout: [since(7, dropout)],
}
