import { broadcast } from '../broadcast.ts'
import { each, type Rule, type Rules, since } from '../rule.ts'
import { equals, type Size } from '../size.ts'
import { isBatched, Stop, type Value } from '../value.ts'

/*
 * Element-wise operators: an output element depends on the input elements at the same place. Before
 * opset 7, operators with two operands had their own attributes for broadcasting. The rules begin
 * later.
 */

/** The shape and batch of the first input; all other inputs must be the same for all rows. */
export const like = (value: Value): Value => {
  const { dims, axis } = value
  return { ...(dims && { dims }), ...(axis !== undefined && { axis }) }
}

/**
 * One output element per element of the first input. All other inputs are scalars, such as Clip's
 * bounds.
 */
const pointwise: Rule = step => {
  step.constantsFrom(1)
  step.onlyOutputs(1)
  return [like(step.input(0))]
}

const withBroadcast: Rule = step => [broadcast(step.inputs.map((_, i) => step.input(i)))]

/**
 * The second input is broadcast to the shape of the first (unidirectional), which is also the
 * output's.
 */
const prelu: Rule = step => {
  const [x, slope] = [step.input(0), step.input(1)]
  const all = broadcast([x, slope])
  if (isBatched(all) && !isBatched(x)) throw new Stop('its slope differs from row to row')
  return [like(x)]
}

/** Inference only: training drops elements at random. The mask is an output of training. */
const dropout: Rule = step => {
  step.onlyOutputs(1)
  if (step.opset >= 12 && step.inputs[2] !== undefined) {
    if (step.numbers(2)?.[0] !== 0) throw new Stop('it is in training mode')
  }
  return [like(step.input(0))]
}

/** No broadcasting before opset 8: all shapes are the same. */
const sameShape: Rule = step => {
  const values = step.inputs.map((_, i) => step.input(i))
  const [first] = values as [Value]
  const isSame = (size: Size, i: number) => equals(size, first.dims?.[i] as Size)
  for (const { dims, axis } of values)
    if (axis !== first.axis || dims?.length !== first.dims?.length || !dims?.every(isSame))
      throw new Stop('its inputs are not all of one shape')
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
