import { each, type Rule, type Rules, type Step, since } from '../rule.ts'
import { equals, fixed, product, type Size, unknownSize } from '../size.ts'
import { type Batched, batched, isBatched, Stop, tensor, UNKNOWN, type Value } from '../value.ts'
import { like } from './elementwise.ts'

/*
 * ONNX-ML's operators on a table [N, features], and text operators. To these operators, the
 * elements of a one-dimensional tensor are features, not rows.
 */

/** @throws {Stop} if the first input is not a table with the batch in dimension 0 */
function tableOf(step: Step): Batched {
  const value = step.batched(0)
  if (value.dims.length !== 2 || value.axis !== 0)
    throw new Stop('the input is not a table [N, features] with the batch in dimension 0')
  return value
}

const columns = ({ dims }: Batched, count?: number) =>
  tensor([dims[0] as Size, count === undefined ? unknownSize() : fixed(count)], 0)

/** A regressor computes a row's outputs from that row's features. */
const regressor =
  (targets: (step: Step) => number | undefined): Rule =>
  step =>
    step.inputs.some(isBatched) ? [columns(tableOf(step), targets(step))] : [UNKNOWN]

const targetsIn = (attribute: string) => (step: Step) => step.attribute(attribute)?.number

/**
 * A classifier returns a label and scores for each row.
 * @param classes returns the number of scores, if known
 */
const classifier =
  (classes: (step: Step) => number | undefined): Rule =>
  step => {
    if (!step.inputs.some(isBatched)) return [UNKNOWN, UNKNOWN]
    checkAllScoresWritten(step)
    const value = tableOf(step)
    return [tensor([value.dims[0] as Size], 0), columns(value, classes(step))]
  }

/**
 * Stops at classifiers of which ONNX Runtime 1.30 returns the second score as uninitialised memory.
 */
function checkAllScoresWritten(step: Step): void {
  if (step.text('post_transform', 'NONE') === 'PROBIT')
    throw new Stop('ONNX Runtime may not write the second score of PROBIT')
  const base = step.node.attributes.get('base_values')?.numbers?.length
  if (base === 1 && new Set(step.integers('class_ids')).size > 1)
    throw new Stop('ONNX Runtime may not write the second score: there is only one of base_values')
}

/**
 * The number of class labels if it is the number of scores, too. Undefined for up to two labels:
 * other attributes then decide whether there are one or two scores.
 */
function classLabels(step: Step): number | undefined {
  const texts = step.attribute('classlabels_strings')?.texts
  const numbers = step.integers('classlabels_int64s') ?? step.integers('classlabels_ints')
  const count = (texts ?? numbers)?.length ?? 0
  return count > 2 ? count : undefined
}

/** ONNX Runtime returns one score per intercept, for any number of labels. */
function linearScores(step: Step): number | undefined {
  const intercepts = step.node.attributes.get('intercepts')?.numbers?.length
  const labels = classLabels(step)
  return labels === intercepts ? labels : undefined
}

/** For operators that keep the number of features. */
const features: Rule = step => (step.inputs.some(isBatched) ? [like(tableOf(step))] : [UNKNOWN])

const pointwise: Rule = step => [like(step.input(0))]

/** Adds a last dimension with one element per category. */
const oneHotEncoder: Rule = step => {
  const { dims, axis } = step.input(0)
  if (dims === undefined) return [UNKNOWN]
  const categories = step.attribute('cats_strings')?.texts ?? step.integers('cats_int64s')
  const count = categories === undefined ? unknownSize() : fixed(categories.length)
  return [tensor([...dims, count], axis)]
}

const featureVectorizer: Rule = step => {
  const values = step.inputs.map((_, i) => step.input(i))
  if (!values.some(isBatched)) return [UNKNOWN]
  const first = tableOf(step)
  for (const { dims, axis } of values)
    if (axis !== 0 || dims?.length !== 2 || !equals(dims[0] as Size, first.dims[0] as Size))
      throw new Stop('the inputs are not all tables with the same number of rows')
  return [columns(first)]
}

/**
 * Selects columns of a table, or selects constants by the values of the rows. The selected
 * constants form a single row.
 */
const arrayFeatureExtractor: Rule = step => {
  const [x, y] = [step.input(0), step.input(1)]
  if (!isBatched(x) && !isBatched(y)) return [UNKNOWN]
  if (isBatched(x) && isBatched(y)) throw new Stop('rows are used as indices into a batched tensor')
  if (isBatched(x)) {
    if (x.axis === x.dims.length - 1) throw new Stop('the node selects some of the rows')
    return [batched([...x.dims.slice(0, -1), product(y.dims ?? []) ?? unknownSize()], x.axis)]
  }
  return [pointedAt(x, y as Batched)]
}

function pointedAt(x: Value, y: Batched): Value {
  if (y.axis !== 0) throw new Stop('the batch is not dimension 0 of the indices')
  const count = product(y.dims)
  const [first] = x.dims ?? []
  if (count === undefined || x.dims === undefined || x.dims.length > 2)
    throw new Stop('the shape of an input is unknown')
  return batched([x.dims.length === 2 ? (first as Size) : fixed(1), count], 1)
}

/**
 * Without stop words, each text is changed independently. With stop words, some texts are removed,
 * and later texts move.
 */
const stringNormalizer: Rule = step => {
  const value = step.input(0)
  if (isBatched(value) && step.node.attributes.has('stopwords'))
    throw new Stop('the node removes stop words, so texts move to other positions')
  return [like(value)]
}

/**
 * Returns each row's words, padded to the longest row. Later operators must not use the padding.
 */
export const tokenizer: Rule = step => {
  const value = step.input(0)
  if (!isBatched(value)) return [UNKNOWN]
  const dims = [...value.dims, unknownSize()]
  return [{ ...batched(dims, value.axis), padding: step.text('pad_value', '') }]
}

/** Needs a table of words: a one-dimensional tensor of rows would be a single document. */
const tfIdf: Rule = step => {
  const value = step.input(0)
  if (!isBatched(value)) return [UNKNOWN]
  const table = tableOf(step)
  const words = step.attribute('pool_strings')?.texts ?? []
  if (value.padding !== undefined && words.includes(value.padding))
    throw new Stop(
      `the vocabulary contains "${value.padding}", the text with which short rows are padded`,
    )
  return [columns(table)]
}

export const ML: Rules = {
  ...each(['TreeEnsembleRegressor', 'TreeEnsemble'], since(1, regressor(targetsIn('n_targets')))),
  LinearRegressor: [since(1, regressor(targetsIn('targets')))],
  SVMRegressor: [
    since(
      1,
      regressor(() => 1),
    ),
  ],
  TreeEnsembleClassifier: [since(1, classifier(classLabels))],
  LinearClassifier: [since(1, classifier(linearScores))],
  SVMClassifier: [
    since(
      1,
      classifier(() => undefined),
    ),
  ],
  ...each(['Scaler', 'Imputer', 'Normalizer'], since(1, features)),
  ...each(['LabelEncoder', 'CategoryMapper', 'Binarizer'], since(1, pointwise)),
  OneHotEncoder: [since(1, oneHotEncoder)],
  FeatureVectorizer: [since(1, featureVectorizer)],
  ArrayFeatureExtractor: [since(1, arrayFeatureExtractor)],
}

export const TEXT: Rules = {
  StringNormalizer: [since(10, stringNormalizer)],
  TfIdfVectorizer: [since(9, tfIdf)],
}
