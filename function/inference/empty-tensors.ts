import { BadRequest } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import { nodesWithin, type OnnxModel, readOnnxModel } from './onnx-file.ts'

/*
 * ONNX Runtime 1.30 crashes if an LSTM, a GRU, a TopK, a ConvTranspose or one of some other operators
 * gets a tensor without elements. A request with an empty batch would end the process.
 */

const words = (text: string) => new Set(text.trim().split(/\s+/))

/** Operators that returned, or refused, empty tensors in runs of random graphs. */
const SAFE: Readonly<Record<string, ReadonlySet<string>>> = {
  'ai.onnx': words(`
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv Cos Cosh
    CumSum DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Hardmax
    Identity If IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization
    LpPool MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearMatMul QuantizeLinear
    Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign Split Sqrt Squeeze StringConcat StringNormalizer Sub Sum Tan Tanh TfIdfVectorizer
    ThresholdedRelu Tile Transpose Trilu Unsqueeze Where Xor`),
  'ai.onnx.ml': words(`
    ArrayFeatureExtractor Binarizer CategoryMapper Imputer LabelEncoder LinearClassifier LinearRegressor
    Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsembleClassifier TreeEnsembleRegressor
    ZipMap`),
  'com.microsoft': words('CDist QLinearAdd QLinearLeakyRelu QLinearSigmoid Tokenizer'),
}

export const isEmpty = ({ data }: Tensor): boolean => data.length === 0

/** Checks requests with empty tensors. Reads the file when the first of them arrives. */
export class EmptyTensors {
  readonly #file: string
  #unsafe: Promise<string | undefined> | undefined

  constructor(file: string) {
    this.#file = file
  }

  /** @throws {BadRequest} if ONNX Runtime might crash */
  async check(empty: Tensor): Promise<void> {
    this.#unsafe ??= readOnnxModel(this.#file).then(unsafeOperator, () => 'graph')
    const unsafe = await this.#unsafe
    if (unsafe !== undefined)
      throw new BadRequest(
        `input "${empty.name}" has shape [${empty.shape}] without elements; the model's ${unsafe} may not accept empty tensors, so each dimension must be at least 1`,
      )
  }
}

/** The first operator that is not known to accept empty tensors. */
function unsafeOperator({ graph, functions }: OnnxModel): string | undefined {
  const own = new Set(functions.map(({ domain, name }) => `${domain} ${name}`))
  const nodes = [graph, ...functions].flatMap(({ nodes }) => nodes)
  return nodesWithin(nodes).find(
    ({ operator, domain }) =>
      !own.has(`${domain} ${operator}`) && SAFE[domain]?.has(operator) !== true,
  )?.operator
}
