import { random } from '../random.ts'
import type { AttributeValue, Type, WrittenModel, WrittenNode } from './batchability/onnx-writer.ts'

/*
 * Random classifiers with texts as labels, and random inputs: few different numbers, so that
 * classes often have equal scores, and numbers that are not finite.
 */

export interface RandomClassifier {
  readonly model: WrittenModel
  readonly datatype: 'FP32' | 'FP64' | 'INT32' | 'INT64'
  readonly features: number
  readonly inputs: readonly (readonly number[])[]
}

const TRANSFORMS = ['NONE', 'LOGISTIC', 'SOFTMAX', 'SOFTMAX_ZERO', 'PROBIT']
const KERNELS = ['LINEAR', 'POLY', 'RBF', 'SIGMOID']
const MODES = ['BRANCH_LEQ', 'BRANCH_LT', 'BRANCH_GTE', 'BRANCH_GT', 'BRANCH_EQ', 'BRANCH_NEQ']
const TEXTS = ['', 'a', 'b', 'setosa', 'Café', '😀', '0', '1', 'a', 'x'.repeat(100), '"\\\n']
const ODD = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, -3e38, 1e-40, -0]
/** ONNX Runtime distributes more than 512 rows of an SVM, and more than 50 of a tree, to threads. */
const ROWS = [0, 1, 2, 3, 40, 60, 600]

type Attributes = Readonly<Record<string, AttributeValue>>

class Dice {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = random(seed)
  }

  below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  chance(of: number): boolean {
    return this.below(of) === 0
  }

  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  list<T>(length: number, make: (i: number) => T): T[] {
    return Array.from({ length }, (_, i) => make(i))
  }

  /** @param odd one of this many numbers is not finite, very large or very small */
  number(odd: number): number {
    if (this.chance(odd)) return this.one(ODD)
    return this.chance(3) ? this.#random() * 8 - 4 : this.below(7) - 3
  }

  numbers(length: number, odd: number) {
    return { float: this.list(length, () => this.number(odd)) }
  }
}

export function randomClassifier(seed: number): RandomClassifier {
  const dice = new Dice(seed)
  const classes = dice.one([2, 2, 3, 3, 4, 5, 9])
  const features = 1 + dice.below(4)
  const datatype = dice.one(['FP32', 'FP32', 'FP64', 'INT32', 'INT64'] as const)
  const isInteger = datatype.startsWith('INT')
  const [operator, attributes] = dice.one([linear, svm, tree])(dice, classes, features)
  const labels = dice.list(classes, () => dice.one(TEXTS))
  const node: WrittenNode = {
    operator,
    domain: 'ai.onnx.ml',
    inputs: ['x'],
    outputs: ['label', 'scores'],
    attributes: { ...attributes, classlabels_strings: labels },
  }
  const number = () => (isInteger ? dice.below(7) - 3 : dice.number(8))
  return {
    model: modelOf(node, datatype, features, dice.one([1, 3])),
    datatype,
    features,
    inputs: ROWS.map(rows => dice.list(rows * features, number)),
  }
}

function modelOf(node: WrittenNode, type: Type, features: number, opset: number): WrittenModel {
  return {
    opset: { '': 17, 'ai.onnx.ml': opset },
    nodes: [node],
    inputs: { x: { type, dims: ['n', features] } },
    outputs: {
      label: { type: 'BYTES', dims: ['n'] },
      scores: { type: 'FP32', dims: ['n', 'scores'] },
    },
  }
}

const sometimes = (dice: Dice, name: string, value: AttributeValue): Attributes =>
  dice.chance(2) ? { [name]: value } : {}

function linear(dice: Dice, classes: number, features: number): [string, Attributes] {
  // Two classes may have one score, and there may be more labels than scores.
  const scores =
    classes > 2 && dice.chance(5) ? classes - 1 : classes - (classes === 2 ? dice.below(2) : 0)
  const odd = dice.one([4, 1e9])
  return [
    'LinearClassifier',
    {
      coefficients: dice.numbers(scores * features, odd),
      intercepts: dice.numbers(scores, odd),
      ...sometimes(dice, 'multi_class', dice.below(2)),
      ...sometimes(dice, 'post_transform', dice.one(TRANSFORMS)),
    },
  ]
}

function svm(dice: Dice, classes: number, features: number): [string, Attributes] {
  const pairs = (classes * (classes - 1)) / 2
  const odd = dice.one([6, 1e9])
  const positive = dice.chance(3)
  const weights = (length: number) => {
    const { float } = dice.numbers(length, odd)
    return { float: positive ? float.map(Math.abs) : float }
  }
  const common = {
    ...sometimes(dice, 'post_transform', dice.one(TRANSFORMS)),
    ...sometimes(dice, 'kernel_type', dice.one(KERNELS)),
    kernel_params: { float: [0.5, 1, 2] },
  }
  if (dice.chance(3))
    return [
      'SVMClassifier',
      { ...common, coefficients: weights(classes * features), rho: dice.numbers(1, odd) },
    ]
  const perClass = dice.list(classes, () => 1 + dice.below(3))
  const vectors = perClass.reduce((sum, count) => sum + count, 0)
  const probabilities = dice.chance(2)
    ? { prob_a: dice.numbers(pairs, odd), prob_b: dice.numbers(pairs, odd) }
    : {}
  return [
    'SVMClassifier',
    {
      ...common,
      ...probabilities,
      coefficients: weights((classes - 1) * vectors),
      rho: dice.numbers(pairs, odd),
      support_vectors: dice.numbers(vectors * features, odd),
      vectors_per_class: perClass,
    },
  ]
}

interface TreeNode {
  readonly tree: number
  readonly id: number
  readonly mode: string
  readonly yes: number
  readonly no: number
}

/** A tree of which each node is a leaf or has two later nodes. */
function treeOf(dice: Dice, tree: number, mode: () => string): TreeNode[] {
  const nodes: TreeNode[] = []
  const splits = dice.below(8)
  for (let id = 0; id < 2 * splits + 1; id++) {
    const isSplit = id < splits
    const [yes, no] = isSplit ? [2 * id + 1, 2 * id + 2] : [0, 0]
    nodes.push({ tree, id, mode: isSplit ? mode() : 'LEAF', yes, no })
  }
  return nodes
}

function tree(dice: Dice, classes: number, features: number): [string, Attributes] {
  const odd = dice.one([6, 1e9])
  const fixed = dice.one(MODES)
  const mode = dice.chance(2) ? () => fixed : () => dice.one(MODES)
  const nodes = dice.list(dice.one([1, 2, 5, 90]), i => treeOf(dice, i, mode)).flat()
  // All leaves may have scores for one class, a random class, or all classes.
  const kind = dice.below(3)
  const own = dice.below(classes)
  const leaves = nodes.filter(({ mode }) => mode === 'LEAF')
  const scores = leaves.flatMap(leaf => {
    const ids = kind === 2 ? dice.list(classes, i => i) : [kind === 1 ? dice.below(classes) : own]
    return ids.map(id => ({ leaf, id }))
  })
  const { float } = dice.numbers(scores.length, odd)
  const positive = dice.chance(2)
  const bases = classes === 2 ? dice.one([0, 1, 2]) : dice.one([0, classes])
  return [
    'TreeEnsembleClassifier',
    {
      nodes_treeids: nodes.map(({ tree }) => tree),
      nodes_nodeids: nodes.map(({ id }) => id),
      nodes_modes: nodes.map(({ mode }) => mode),
      nodes_featureids: nodes.map(() => dice.below(features)),
      nodes_values: dice.numbers(nodes.length, odd),
      nodes_truenodeids: nodes.map(({ yes }) => yes),
      nodes_falsenodeids: nodes.map(({ no }) => no),
      ...sometimes(
        dice,
        'nodes_missing_value_tracks_true',
        nodes.map(() => dice.below(2)),
      ),
      class_treeids: scores.map(({ leaf }) => leaf.tree),
      class_nodeids: scores.map(({ leaf }) => leaf.id),
      class_ids: scores.map(({ id }) => id),
      class_weights: { float: positive ? float.map(Math.abs) : float },
      ...(bases > 0 && { base_values: dice.numbers(bases, odd) }),
      ...sometimes(dice, 'post_transform', dice.one(TRANSFORMS)),
    },
  ]
}
