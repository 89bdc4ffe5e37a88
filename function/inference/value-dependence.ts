import {
  type Graph,
  type ModelFunction,
  type Node,
  type OnnxModel,
  readOnnxModel,
} from './onnx-file.ts'
import { Slices } from './slices.ts'

/**
 * The node by which a run's work, or the size of an output, depends on the values of the inputs and
 * not on their shapes alone. What is not known to be bounded by shapes counts as such. Runs of such
 * a model may take any time, whatever a request's size.
 * @param file an .onnx file; its weights are skipped
 * @returns undefined where there is none
 * @throws {Error} of one line, where the file cannot be read
 */
export async function valueDependence(file: string): Promise<string | undefined> {
  const model = await readOnnxModel(file)
  for (const [domain, version] of model.opsets) {
    const newest = NEWEST[domain]
    if (newest !== undefined && version > newest)
      return `opset ${version} of ${domain} is newer than ${newest}, the newest whose operators are known`
  }
  return new Walk(model).graph(model.graph)
}

/** The newest opsets whose operators' inputs were read (onnx 1.23.2). */
const NEWEST: Readonly<Record<string, number>> = { 'ai.onnx': 28, 'ai.onnx.ml': 5 }

const words = (text: string) => text.trim().split(/\s+/)

/**
 * Operators whose work and whose outputs' sizes follow from the shapes of their inputs, but for the
 * inputs of SIZES.
 */
export const BY_SHAPES: Readonly<Record<string, ReadonlySet<string>>> = {
  'ai.onnx': new Set(
    words(`
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
    BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow
    Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Concat Constant ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity InstanceNormalization
    IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool
    MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min
    Mish Mod Mul Multinomial Neg NegativeLogLikelihoodLoss Not OneHot Or PRelu Pad Pow QLinearConv
    QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign
    RotaryEmbedding Round STFT Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size
    Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze StringConcat Sub
    Sum Swish Tan Tanh TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor`),
  ),
  'ai.onnx.ml': new Set(
    words(`
    ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder LinearClassifier
    LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
    TreeEnsembleClassifier TreeEnsembleRegressor ZipMap`),
  ),
  'com.microsoft': new Set(
    words(`
    BiasGelu CDist DynamicQuantizeLSTM DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv
    FusedGemm FusedMatMul Gelu MatMulIntegerToFloat MatMulNBits QAttention QGemm QLinearAdd
    QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid
    QLinearSoftmax QuickGelu SkipLayerNormalization SkipSimplifiedLayerNormalization`),
  ),
}

const range = (from: number, until: number) =>
  Array.from({ length: until - from }, (_, i) => from + i)

/**
 * Inputs that are sizes, axes, scales or numbers of steps, in any version of the operator. RoiAlign
 * samples as many points as its regions are large.
 */
const SIZES: Readonly<Record<string, readonly number[]>> = {
  AffineGrid: [1],
  BlackmanWindow: [0],
  CenterCropPad: [1],
  Col2Im: [1, 2],
  ConstantOfShape: [0],
  CumProd: [1],
  CumSum: [1],
  DFT: [1, 2],
  Expand: [1],
  HammingWindow: [0],
  HannWindow: [0],
  MaxUnpool: [2],
  MelWeightMatrix: range(0, 5),
  OneHot: [1],
  Pad: [1, 3],
  Range: range(0, 3),
  Reshape: [1],
  Resize: range(1, 4),
  RoiAlign: [1],
  STFT: [1, 3],
  Slice: range(1, 5),
  Split: [1],
  Squeeze: [1],
  Tile: [1, 2],
  TopK: [1],
  Trilu: [1],
  Unsqueeze: [1],
  Upsample: [1],
}

const sizesOf = ({ operator, domain }: Node): readonly number[] => {
  if (domain !== 'ai.onnx') return []
  if (Object.hasOwn(SIZES, operator)) return SIZES[operator] as readonly number[]
  return operator.startsWith('Reduce') ? [1] : []
}

const ITERATIONS = 'its steps are not known from the shapes of its inputs'
const COUNTED = 'how much it returns depends on values of its inputs'

/** Operators that are bound to depend on values, and what of them does. */
export const BY_VALUES: Readonly<Record<string, string>> = {
  Compress: COUNTED,
  If: 'a value of its input decides which of its graphs runs',
  Loop: ITERATIONS,
  NonMaxSuppression: COUNTED,
  NonZero: COUNTED,
  Scan: ITERATIONS,
  StringNormalizer: COUNTED,
  StringSplit: COUNTED,
  Tokenizer: COUNTED,
  Unique: COUNTED,
}

/** Their results say nothing of the values of their inputs. */
const OF_SHAPES = ['Shape', 'Size']

/** Their results are other ones in each run. */
const RANDOM = ['Bernoulli', 'Multinomial', 'RandomNormal', 'RandomUniform']

/** Functions that call functions could multiply the nodes to look at without a bound. */
const MOST_NODES = 1_000_000
const DEEPEST = 32

/** One walk through the nodes in their order. */
class Walk {
  readonly #functions: ReadonlyMap<string, readonly ModelFunction[]>
  readonly #slices = new Slices()
  #nodes = 0

  constructor({ functions }: OnnxModel) {
    this.#functions = Map.groupBy(functions, own => `${own.domain} ${own.name}`)
  }

  graph({ nodes, inputs }: Graph): Promise<string | undefined> {
    return this.#walk(nodes, new Set(inputs.map(({ name }) => name)), 0)
  }

  /**
   * @param fromValues names of tensors that depend on values of the inputs; those of the nodes'
   * outputs are added
   */
  async #walk(
    nodes: readonly Node[],
    fromValues: Set<string>,
    depth: number,
  ): Promise<string | undefined> {
    for (const node of nodes) {
      if (this.#slices.isOver) await this.#slices.next()
      const [own, overload] = this.#functions.get(`${node.domain} ${node.operator}`) ?? []
      // ONNX Runtime prefers its own operator to a function of that name.
      const isCall = own !== undefined && overload === undefined && !(node.domain in BY_SHAPES)
      const reason = isCall
        ? await this.#call(own, { node, fromValues, depth })
        : dependence(node, fromValues)
      if (reason !== undefined) return reason
    }
    return undefined
  }

  async #call(
    own: ModelFunction,
    { node, fromValues, depth }: { node: Node; fromValues: Set<string>; depth: number },
  ): Promise<string | undefined> {
    this.#nodes += own.nodes.length
    if (depth === DEEPEST || this.#nodes > MOST_NODES)
      return reasonOf(node, 'its functions call each other too often to be looked at')
    const inside = new Set(own.inputs.filter((_, i) => fromValues.has(node.inputs[i] ?? '')))
    const reason = await this.#walk(own.nodes, inside, depth + 1)
    for (const [i, name] of own.outputs.entries())
      if (inside.has(name)) fromValues.add(node.outputs[i] ?? '')
    return reason
  }
}

/** Why the node's work or outputs' sizes depend on values; adds its outputs where theirs do. */
function dependence(node: Node, fromValues: Set<string>): string | undefined {
  const { operator, domain, inputs, outputs } = node
  if (Object.hasOwn(BY_VALUES, operator)) return reasonOf(node, BY_VALUES[operator] as string)
  const isKnown = Object.hasOwn(BY_SHAPES, domain) && BY_SHAPES[domain]?.has(operator) === true
  if (!isKnown)
    return reasonOf(node, 'its work is not known to follow from the shapes of its inputs')
  const size = sizesOf(node).find(i => fromValues.has(inputs[i] ?? ''))
  if (size !== undefined)
    return reasonOf(node, `its input "${inputs[size]}" says a size, and comes from input values`)
  const isOfValues =
    RANDOM.some(name => operator.startsWith(name)) || inputs.some(name => fromValues.has(name))
  if (isOfValues && !OF_SHAPES.includes(operator))
    for (const name of outputs) if (name !== '') fromValues.add(name)
  return undefined
}

const reasonOf = ({ name, outputs, operator }: Node, why: string) =>
  `node "${name || outputs[0] || ''}" (${operator}): ${why}`
