import {
  type Graph,
  type ModelFunction,
  type Node,
  type OnnxModel,
  readOnnxModel,
} from './onnx-file.ts'
import { Slices } from './slices.ts'

/** Nodes that make a run's cost depend on input values, not only on input shapes. */
export interface ValueDependence {
  /** The first node whose work or output size may depend on input values, with the reason. */
  readonly byValues: string | undefined
  /**
   * The first node for which input shapes do not limit the memory of a run, with the reason: its
   * iterations or output size depend on input values. Excludes Loops and branches that depend only
   * on shapes, and operators that normalise texts or split them into words.
   */
  readonly sizesByValues: string | undefined
}

/**
 * Finds nodes whose cost depends on input values. Unknown operators count as such nodes.
 * @param file an .onnx file, whose weights are skipped
 * @throws {Error} if the file cannot be read
 */
export async function valueDependence(file: string): Promise<ValueDependence> {
  const model = await readOnnxModel(file)
  for (const [domain, version] of model.opsets) {
    const newest = NEWEST[domain]
    if (newest !== undefined && version > newest) {
      const reason = `opset ${version} of ${domain} is newer than ${newest}, the newest opset whose operators are known`
      return { byValues: reason, sizesByValues: reason }
    }
  }
  return new Walk(model).graph(model.graph)
}

/** The newest opsets that this file covers (onnx 1.23.2). */
const NEWEST: Readonly<Record<string, number>> = { 'ai.onnx': 28, 'ai.onnx.ml': 5 }

const words = (text: string) => text.trim().split(/\s+/)

/**
 * Operators whose work and output sizes depend only on the shapes of their inputs, and on the
 * values of the inputs in SIZES.
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
    RotaryEmbedding Round STFT Scatter ScatterElements ScatterND Selu SequenceConstruct Shape Shrink Sigmoid Sign Sin Sinh Size
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
 * Inputs that are sizes, axes, scales or numbers of steps in any version of the operator. RoiAlign
 * samples more points for larger regions.
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

const ITERATIONS = 'the number of iterations may depend on input values'
const COUNTED = 'the output size depends on input values'

/** Operators whose cost always depends on input values, with the reason. */
export const BY_VALUES: Readonly<Record<string, string>> = {
  Compress: COUNTED,
  If: 'an input value determines which branch runs',
  Loop: ITERATIONS,
  NonMaxSuppression: COUNTED,
  NonZero: COUNTED,
  Scan: ITERATIONS,
  StringNormalizer: COUNTED,
  StringSplit: COUNTED,
  Tokenizer: COUNTED,
  Unique: COUNTED,
}

/**
 * The request's bytes limit the outputs of these operators: at most one text per input text, or one
 * word per character. Requests with long texts do not share a run.
 */
const BOUNDED = ['StringNormalizer', 'Tokenizer']

/** Operators whose results do not depend on input values. */
const OF_SHAPES = ['Shape', 'Size']

/** Prefixes of operators whose results differ in each run. */
const RANDOM = ['Bernoulli', 'Multinomial', 'RandomNormal', 'RandomUniform']

/**
 * Nested function calls could multiply the number of nodes exponentially, so only this many are
 * checked.
 */
const MOST_NODES = 1_000_000
const DEEPEST = 32

interface Place {
  /** Tensors that depend on input values. The walk adds the outputs of nodes. */
  readonly fromValues: Set<string>
  readonly depth: number
}

/** Walks through the nodes in order, up to the first whose output size depends on input values. */
class Walk {
  #byValues: string | undefined
  #sizesByValues: string | undefined
  readonly #functions: ReadonlyMap<string, readonly ModelFunction[]>
  readonly #slices = new Slices()
  #nodes = 0
  /**
   * True after a node whose output size depends on input values: the shapes of later tensors may
   * then depend on input values, too.
   */
  #shapesVary = false

  constructor({ functions }: OnnxModel) {
    this.#functions = Map.groupBy(functions, own => `${own.domain} ${own.name}`)
  }

  async graph({ nodes, inputs, initializers }: Graph): Promise<ValueDependence> {
    const fromValues = new Set(namesOf(inputs))
    // Old files list all weights as inputs. Clients cannot send inputs that have a value in the
    // file.
    for (const { name } of initializers) fromValues.delete(name)
    await this.#walk(nodes, { fromValues, depth: 0 })
    return { byValues: this.#byValues, sizesByValues: this.#sizesByValues }
  }

  #found(node: Node, why: string): void {
    this.#noted(node, why)
    this.#sizesByValues ??= reasonOf(node, why)
  }

  #noted(node: Node, why: string): void {
    this.#byValues ??= reasonOf(node, why)
  }

  async #walk(nodes: readonly Node[], place: Place): Promise<void> {
    for (const node of nodes) {
      if (this.#slices.isOver) await this.#slices.next()
      const [own, overload] = this.#functions.get(`${node.domain} ${node.operator}`) ?? []
      // ONNX Runtime prefers its own operator to a function of the same name.
      const isCall = own !== undefined && overload === undefined && !(node.domain in BY_SHAPES)
      if (isCall) await this.#call(own, node, place)
      else if (node.domain === 'ai.onnx' && CONTROL.includes(node.operator))
        await this.#control(node, place)
      else this.#look(node, place)
      if (this.#sizesByValues !== undefined) return
    }
  }

  async #inside(node: Node, nodes: readonly Node[], place: Place): Promise<void> {
    this.#nodes += nodes.length
    if (place.depth > DEEPEST || this.#nodes > MOST_NODES)
      this.#found(node, 'the inner graphs are nested too deeply to check')
    else await this.#walk(nodes, place)
  }

  async #call(own: ModelFunction, node: Node, { fromValues, depth }: Place): Promise<void> {
    const inside = new Set(own.inputs.filter((_, i) => fromValues.has(node.inputs[i] ?? '')))
    await this.#inside(node, own.nodes, { fromValues: inside, depth: depth + 1 })
    pass(own.outputs, inside, node.outputs, fromValues)
  }

  async #control(node: Node, place: Place): Promise<void> {
    this.#noted(node, BY_VALUES[node.operator] as string)
    const body = node.attributes.get('body')?.graph
    if (node.operator === 'If') await this.#branches(node, place)
    else if (body !== undefined) await this.#repeat(node, body, place)
  }

  async #branches(node: Node, { fromValues, depth }: Place): Promise<void> {
    if (fromValues.has(node.inputs[0] ?? '')) {
      this.#found(node, BY_VALUES.If as string)
      return
    }
    for (const name of ['then_branch', 'else_branch']) {
      const branch = node.attributes.get(name)?.graph
      if (branch === undefined) continue
      const inside = new Set(fromValues)
      await this.#inside(node, branch.nodes, { fromValues: inside, depth: depth + 1 })
      pass(namesOf(branch.outputs), inside, node.outputs, fromValues)
    }
  }

  /**
   * Walks the body of a Loop or Scan until nothing changes, because a state may depend on input
   * values only after a repetition. A Scan iterates once per element of its inputs.
   */
  async #repeat(node: Node, body: Graph, { fromValues, depth }: Place): Promise<void> {
    const isLoop = node.operator === 'Loop'
    const count = isLoop ? node.inputs.slice(0, 2).find(name => fromValues.has(name)) : undefined
    if (count !== undefined)
      this.#found(node, `input "${count}" sets the number of iterations ${COMES}`)
    const [inputs, outputs] = [namesOf(body.inputs), namesOf(body.outputs)]
    const scanned = node.attributes.get('num_scan_inputs')?.number ?? 0
    // A Loop's body has the iteration number as its first input, which is not a state, and the
    // condition to continue as its first output.
    const states = isLoop ? inputs.slice(1) : inputs.slice(0, inputs.length - scanned)
    const given = new Set(inputs.filter((_, i) => fromValues.has(node.inputs[i] ?? '')))
    for (let known = -1; known < given.size && this.#sizesByValues === undefined; ) {
      known = given.size
      const inside = new Set([...fromValues, ...given])
      await this.#inside(node, body.nodes, { fromValues: inside, depth: depth + 1 })
      if (isLoop && inside.has(outputs[0] ?? ''))
        this.#found(node, `"${outputs[0]}" determines when the loop ends ${COMES}`)
      pass(outputs, inside, states, given)
      pass(isLoop ? outputs.slice(1) : outputs, inside, node.outputs, fromValues)
    }
  }

  /** Checks a node, and marks its outputs if they depend on input values or are random. */
  #look(node: Node, { fromValues }: Place): void {
    const { operator, domain, inputs, outputs } = node
    const why = whySize(node, fromValues)
    if (why !== undefined) this.#found(node, why)
    if (BOUNDED.includes(operator)) {
      this.#noted(node, BY_VALUES[operator] as string)
      this.#shapesVary = true
    }
    const isOfShapes = domain === 'ai.onnx' && OF_SHAPES.includes(operator) && !this.#shapesVary
    const isOfValues =
      RANDOM.some(name => operator.startsWith(name)) || inputs.some(name => fromValues.has(name))
    if (isOfValues && !isOfShapes) pass(outputs, new Set(outputs), outputs, fromValues)
  }
}

const CONTROL = ['If', 'Loop', 'Scan']
const COMES = 'and depends on input values'

const isKnown = ({ domain, operator }: Node) =>
  Object.hasOwn(BY_SHAPES, domain) && BY_SHAPES[domain]?.has(operator) === true

/** Why shapes do not limit the node's work or output size; undefined if they do. */
function whySize(node: Node, fromValues: ReadonlySet<string>): string | undefined {
  const { operator, inputs } = node
  if (BOUNDED.includes(operator)) return undefined
  if (Object.hasOwn(BY_VALUES, operator)) return BY_VALUES[operator]
  if (!isKnown(node)) return 'the work of this operator may depend on input values'
  const size = sizesOf(node).find(i => fromValues.has(inputs[i] ?? ''))
  return size === undefined ? undefined : `input "${inputs[size]}" sets a size ${COMES}`
}

const namesOf = (values: Graph['inputs']) => values.map(({ name }) => name)

/** Marks each outer name whose inner name is marked. */
function pass(
  names: readonly string[],
  inside: ReadonlySet<string>,
  outer: readonly string[],
  outside: Set<string>,
): void {
  for (const [i, name] of names.entries()) {
    const other = outer[i] ?? ''
    if (other !== '' && inside.has(name)) outside.add(other)
  }
}

const reasonOf = ({ name, outputs, operator }: Node, why: string) =>
  `node "${name || outputs[0] || ''}" (${operator}): ${why}`
