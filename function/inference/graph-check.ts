import { type Operator, readOperators } from './onnx-file.ts'
import type { ValueDependence } from './value-dependence.ts'

/** The cost of runs, as far as the graph shows it before the model is loaded. */
export interface GraphCheck extends ValueDependence {
  /**
   * True if every operator is in {@link PLAIN}: the work of a run is then at most proportional to
   * the input elements.
   */
  readonly isPlain: boolean
}

/**
 * Checks an .onnx file's graph without its weights. If all operators are plain, reads only their
 * names, to keep startup short. If only ONNX Runtime can read the file, assumes that runs depend on
 * input values.
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
 * Operators with at most R·V output elements, for R rows of the first input and V values in the
 * attributes. Loading and running a small file of these operators is cheap.
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
