import { type Operator, readOperators } from './onnx-file.ts'
import type { ValueDependence } from './value-dependence.ts'

/** Facts about a run's work that the graph shows before the model is loaded. */
export interface GraphCheck extends ValueDependence {
  /**
   * Every operator is one of {@link PLAIN}: the work of a run grows at most in proportion to the
   * elements of its inputs.
   */
  readonly isPlain: boolean
}

/**
 * Reads an .onnx file without its weights, and does not load the model. If all operators are plain,
 * reads only their names, to keep startup short. A file that only ONNX Runtime can read may contain
 * any operator.
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
 * Operators whose outputs hold at most as many elements as the rows of their first input times the
 * numbers in their attributes: neither loading nor running a small file can be expensive.
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
