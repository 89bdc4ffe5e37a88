import { type Operator, readOperators } from './onnx-file.ts'
import type { ValueDependence } from './value-dependence.ts'

/** What the graph says of a run's work, before the model is loaded. */
export interface GraphCheck extends ValueDependence {
  /**
   * Every operator is one of {@link PLAIN}: the work of a run grows with its inputs' elements, and
   * no faster.
   */
  readonly isPlain: boolean
}

/**
 * Reads an .onnx file, without its weights, and loads nothing. Where all operators are plain, it
 * reads their names only: a start of iris can spare no more. A file that only ONNX Runtime can read
 * may hold any operator.
 */
export async function checkGraph(file: string): Promise<GraphCheck> {
  try {
    if ((await readOperators(file)).every(isPlain))
      return { isPlain: true, byValues: undefined, sizesByValues: undefined }
    const { valueDependence } = await import('./value-dependence.ts')
    return { isPlain: false, ...(await valueDependence(file)) }
  } catch (error) {
    const reason = `the graph cannot be read: ${(error as Error).message}`
    return { isPlain: false, byValues: reason, sizesByValues: reason }
  }
}

const isPlain = ({ operator, domain }: Operator) =>
  Object.hasOwn(PLAIN, domain) && PLAIN[domain]?.includes(operator) === true

/**
 * Operators whose outputs hold no more elements than their first input holds rows and their
 * attributes hold numbers, so that neither a load nor a run can make much of a small file.
 */
export const PLAIN: Readonly<Record<string, readonly string[]>> = {
  'ai.onnx':
    'Abs Cast Ceil Clip Elu Erf Exp Floor Identity LeakyRelu Log Neg Reciprocal Relu Round Sigmoid Sign Softmax Sqrt Tanh'.split(
      ' ',
    ),
  'ai.onnx.ml':
    'Binarizer Imputer LinearClassifier LinearRegressor Normalizer Scaler SVMClassifier SVMRegressor TreeEnsembleClassifier TreeEnsembleRegressor ZipMap'.split(
      ' ',
    ),
}
