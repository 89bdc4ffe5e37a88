import { type Operator, readOperators } from './onnx-file.ts'
import type { ValueDependence } from './value-dependence.ts'

/** Properties of a run's cost that the graph shows before the model is loaded. */
export interface GraphCheck extends ValueDependence {
  /**
   * True if every operator is in {@link PLAIN}. The work of a run is then at most proportional to
   * the number of input elements.
   */
  readonly isPlain: boolean
}

/**
 * Checks the graph in an .onnx file without reading its weights and without loading the model. If
 * all operators are plain, the check reads only their names, to keep startup short. A file that
 * only ONNX Runtime can read may contain any operator, so its runs may depend on input values.
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
 * Operators whose number of output elements is at most the number of rows of their first input
 * times the number of values in their attributes. Loading or running a small file of such operators
 * is never expensive.
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
