import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { constant, floats, graph, input, int, ints, node, one, open, prove, x } from './models.ts'
import { neighboursChange } from './neighbours.ts'
import type { Declared, WrittenModel } from './onnx-writer.ts'

/*
 * Models that must be proven, grouped like the files in function/inference/batchability/rules. Each
 * also runs: other rows must not change a bit of a row's result.
 */

function proves(name: string, models: Readonly<Record<string, WrittenModel>>): void {
  describe(name, () => {
    for (const [title, model] of Object.entries(models)) {
      test(`proves ${title}`, async () => {
        const proof = await prove(model)
        assert.ok(proof.isProven, proof.isProven ? '' : proof.reason)
        const session = await open(model)
        try {
          assert.equal(await neighboursChange(session), undefined)
        } finally {
          await session.close()
        }
      })
    }
  })
}

/** Opsets of ONNX's own domain and of the others. */
const ML = { '': 17, 'ai.onnx.ml': 3 }
const MS = { '': 17, 'com.microsoft': 1, 'ai.onnx.ml': 3 }

/** Compute N and the size of dimension 1 of a, as scalars and as vectors of one element. */
const SIZES = [
  node('Shape', 'a', 'shape'),
  node('Gather', 'shape zero', 'n'),
  node('Gather', 'shape one', 's'),
  node('Unsqueeze', 'n first', 'n1'),
  node('Unsqueeze', 's first', 's1'),
]
const PLACES = { zero: int(0), one: int(1), first: ints(0), minus: ints(-1) }

proves('element-wise operators', {
  'Add with a constant of one row': one('Add', [x('N', 4), floats([1, 4])]),
  'Mul with a constant without a batch dimension': one('Mul', [x('N', 4), floats([4])]),
  'Add with a constant that adds a dimension before the batch': graph(
    [node('Add', 'a c', 'b'), node('ReduceSum', 'b first', 'out', { keepdims: 0 })],
    { constants: { c: floats([3, 1, 4]), first: ints(0) } },
  ),
  'Sub of two batched inputs': one('Sub', [x('N', 4), x('N', 4)]),
  'a chain of element-wise operators': graph([
    node('Tanh', 'a', 'b'),
    node('Clip', 'b', 'c'),
    node('Erf', 'c', 'd'),
    node('Greater', 'a d', 'isMore'),
    node('Where', 'isMore d a', 'out'),
  ]),
  'PRelu with one slope for all rows': one('PRelu', [x('N', 4), floats([4])]),
  'Max of three inputs that are broadcast': one('Max', [x('N', 4), floats([1]), x('N', 1)]),
})

proves('operators along an axis', {
  'Softmax 12 along all dimensions from axis 1 on': one('Softmax', [x('N', 3, 2)], { opset: 12 }),
  'Softmax 13 along the last axis': one('Softmax', [x('N', 3, 2)]),
  'reductions of each row with and without keepdims': graph(
    [
      node('ReduceMean', 'a', 'mean', { axes: [1] }),
      node('Sub', 'a mean', 'centred'),
      node('ReduceMax', 'centred', 'most', { axes: [-1], keepdims: 0 }),
      node('Unsqueeze', 'most one', 'out'),
    ],
    { constants: { one: ints(1) } },
  ),
  'TopK of each row': one('TopK', [x('N', 5), ints(2)], {
    outputs: [x('N', 2), input('INT64', 'N', 2)],
  }),
  'CumSum of each row': one('CumSum', [x('N', 4), int(1)]),
  'LayerNormalization along the last axis': one('LayerNormalization', [
    x('N', 3, 4),
    floats([4]),
    floats([4]),
  ]),
  'ArgMax of each row': one('ArgMax', [x('N', 4)], {
    attributes: { axis: 1, keepdims: 0 },
    outputs: [input('INT64', 'N')],
  }),
  'BatchNormalization with constant statistics': one('BatchNormalization', [
    x('N', 3, 2),
    floats([3], 1, 2, 3),
    floats([3]),
    floats([3]),
    floats([3], 1, 2, 3),
  ]),
})

proves('shapes', {
  'Reshape to a computed shape [N,-1], as PyTorch writes it': graph(
    [
      ...SIZES.slice(0, 2),
      node('Unsqueeze', 'n first', 'n1'),
      node('Concat', 'n1 minus', 'to', { axis: 0 }),
      node('Reshape', 'a to', 'out'),
    ],
    { constants: PLACES, inputs: { a: x('N', 2, 3) } },
  ),
  'Reshape of rows to tokens, and back to rows': graph(
    [
      node('Reshape', 'a flat', 'tokens'),
      node('MatMul', 'tokens w', 'b'),
      node('Reshape', 'b back', 'out'),
    ],
    {
      inputs: { a: x('N', 3, 4) },
      outputs: { out: x('N', 3, 2) },
      constants: { flat: ints(-1, 4), w: floats([4, 2]), back: ints(-1, 3, 2) },
    },
  ),
  'Expand to a shape in which PyTorch replaces -1 by 1': graph(
    [
      ...SIZES,
      node('Concat', 'n1 minus', 'wanted', { axis: 0 }),
      node('Shape', 'wanted', 'two'),
      node('ConstantOfShape', 'two', 'ones', { value: constant('INT64', [1], [1]) }),
      node('Mul', 'ones minusOne', 'minuses'),
      node('Equal', 'wanted minuses', 'isLeft'),
      node('Where', 'isLeft ones wanted', 'to'),
      node('Expand', 'token to', 'tokens'),
      node('Concat', 'tokens a', 'out', { axis: 1 }),
    ],
    { constants: { ...PLACES, minusOne: int(-1), token: floats([1, 2]) } },
  ),
  'Transpose to the sequence first, flattening, and back (nn.MultiheadAttention)': graph(
    [
      ...SIZES,
      node('Transpose', 'a', 'turned', { perm: [1, 0, 2] }),
      node('Reshape', 'turned flat', 'tokens'),
      node('MatMul', 'tokens w', 'b'),
      node('Concat', 's1 n1 minus', 'to', { axis: 0 }),
      node('Reshape', 'b to', 'c'),
      node('Transpose', 'c', 'out', { perm: [1, 0, 2] }),
    ],
    {
      inputs: { a: x('N', 'S', 4) },
      outputs: { out: x('N', 'S', 2) },
      constants: { ...PLACES, flat: ints(-1, 4), w: floats([4, 2]) },
    },
  ),
  'attention heads that are merged into the batch dimension': graph(
    [
      node('Reshape', 'a heads', 'h'),
      node('Transpose', 'h', 't', { perm: [0, 2, 1, 3] }),
      node('Reshape', 't batch', 'many'),
      node('Transpose', 'many', 'turned', { perm: [0, 2, 1] }),
      node('MatMul', 'many turned', 'scores'),
      node('Softmax', 'scores', 'weights'),
      node('MatMul', 'weights many', 'mixed'),
      node('Reshape', 'mixed split', 'apart'),
      node('Transpose', 'apart', 'back', { perm: [0, 2, 1, 3] }),
      node('Reshape', 'back whole', 'out'),
    ],
    {
      inputs: { a: x('N', 3, 4) },
      outputs: { out: x('N', 3, 4) },
      constants: {
        heads: ints(0, 3, 2, 2),
        batch: ints(-1, 3, 2),
        split: ints(-1, 2, 3, 2),
        whole: ints(0, 0, 4),
      },
    },
  ),
  'a class token for each row (ViT)': graph(
    [
      ...SIZES.slice(0, 2),
      node('Unsqueeze', 'n first', 'n1'),
      node('Concat', 'n1 minus minus', 'wanted', { axis: 0 }),
      node('Max', 'wanted ones', 'to'),
      node('Expand', 'token to', 'tokens'),
      node('Concat', 'tokens a', 'out', { axis: 1 }),
    ],
    {
      inputs: { a: x('N', 2, 4) },
      outputs: { out: x('N', 3, 4) },
      constants: { ...PLACES, ones: ints(1, 1, 1), token: floats([1, 1, 4]) },
    },
  ),
  'Slice whose end is a thousand million (tf2onnx)': one('Slice', [
    x('N', 4),
    ints(0, 1),
    ints(1e9, 1e9),
    ints(0, 1),
    ints(1, 1),
  ]),
  'Split, Concat and Pad along axes other than the batch': graph(
    [
      node('Split', 'a', 'b c', { axis: 1 }),
      node('Concat', 'c b', 'd', { axis: 1 }),
      node('Pad', 'd pads', 'out'),
    ],
    { constants: { pads: ints(0, 1, 0, 2) } },
  ),
  'Resize of height and width': one(
    'Resize',
    [x('N', 1, 2, 2), undefined, floats([4], 1, 1, 2, 2)],
    { outputs: [x('N', 1, 4, 4)] },
  ),
  'Squeeze and Flatten': graph([node('Squeeze', 'a two', 'b'), node('Flatten', 'b', 'out')], {
    inputs: { a: x('N', 3, 1) },
    constants: { two: ints(2) },
  }),
})

proves('indexing', {
  'an embedding': one('Gather', [floats([5, 3]), input('INT64', 'N', 2)], {
    outputs: [x('N', 2, 3)],
  }),
  'Gather of the first entry of each row': one('Gather', [x('N', 3, 4), int(0)], {
    attributes: { axis: 1 },
  }),
  'GatherElements in each row': graph([
    node('ArgMax', 'a', 'at', { axis: 1 }),
    node('GatherElements', 'a at', 'out', { axis: 1 }),
  ]),
  'GatherND by an index that begins with the row number': graph(
    [
      ...SIZES,
      node('Range', 'zero n one', 'numbers'),
      node('Unsqueeze', 'numbers last', 'rows'),
      node('ArgMax', 'a', 'at', { axis: 1 }),
      node('Concat', 'rows at', 'index', { axis: 1 }),
      node('GatherND', 'a index', 'out'),
    ],
    { constants: { ...PLACES, last: ints(1) }, outputs: { out: x('N') } },
  ),
  'Gather from flattened rows by an index within each row': graph(
    [
      ...SIZES,
      node('Range', 'zero n one', 'numbers'),
      node('Unsqueeze', 'numbers last', 'rows'),
      node('Mul', 'rows s', 'starts'),
      node('Range', 'zero s one', 'columns'),
      node('Unsqueeze', 'columns first', 'places'),
      node('Add', 'places starts', 'index'),
      node('Reshape', 'a minus', 'flat'),
      node('Gather', 'flat index', 'out'),
    ],
    { constants: { ...PLACES, last: ints(1) }, inputs: { a: x('N', 'S') } },
  ),
})

proves('products', {
  'a linear layer': one('Gemm', [x('N', 4), floats([3, 4]), floats([3])], {
    attributes: { transB: 1 },
  }),
  'Gemm with a bias of one row': one('Gemm', [x('N', 4), floats([4, 3]), floats([1, 3])]),
  'MatMul with a stack of weights': graph(
    [node('MatMul', 'a w', 'b'), node('Transpose', 'b', 'out', { perm: [1, 0, 2] })],
    { constants: { w: floats([2, 4, 3]) } },
  ),
  'MatMul of two batches of matrices': one('MatMul', [x('N', 3, 4), x('N', 4, 2)], {
    outputs: [x('N', 3, 2)],
  }),
  Einsum: one('Einsum', [x('N', 3, 4), floats([4, 2])], {
    attributes: { equation: 'bij,jk->bki' },
    outputs: [x('N', 2, 3)],
  }),
  'Conv, MaxPool, flattening and Gemm': graph(
    [
      node('Conv', 'a w', 'c', { pads: [1, 1, 1, 1] }),
      node('Relu', 'c', 'r'),
      node('MaxPool', 'r', 'm', { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Reshape', 'm flat', 'f'),
      node('Gemm', 'f v', 'out'),
    ],
    {
      inputs: { a: x('N', 1, 6, 6) },
      constants: { w: floats([2, 1, 3, 3]), flat: ints(-1, 18), v: floats([18, 3]) },
    },
  ),
  'ConvTranspose and GlobalAveragePool': graph(
    [
      node('ConvTranspose', 'a w', 'c', { strides: [2, 2] }),
      node('GlobalAveragePool', 'c', 'g'),
      node('Flatten', 'g', 'out'),
    ],
    { inputs: { a: x('N', 2, 3, 3) }, constants: { w: floats([2, 3, 2, 2]) } },
  ),
})

proves(
  'recurrent layers',
  Object.fromEntries(
    (['LSTM', 'GRU', 'RNN'] as const).map(operator => {
      const gates = { LSTM: 4, GRU: 3, RNN: 1 }[operator]
      return [
        `${operator} with an initial state of zeros for each row`,
        graph(
          [
            ...SIZES.slice(0, 2),
            node('Unsqueeze', 'n first', 'n1'),
            node('Concat', 'one1 n1 three', 'size', { axis: 0 }),
            node('ConstantOfShape', 'size', 'start'),
            node('Transpose', 'a', 't', { perm: [1, 0, 2] }),
            node(operator, 't w r - - start', 'y', { hidden_size: 3 }),
            node('Squeeze', 'y one1', 'states'),
            node('Transpose', 'states', 'out', { perm: [1, 0, 2] }),
          ],
          {
            inputs: { a: x('N', 5, 2) },
            outputs: { out: x('N', 5, 3) },
            constants: {
              ...PLACES,
              one1: ints(1),
              three: ints(3),
              w: floats([1, gates * 3, 2]),
              r: floats([1, gates * 3, 3]),
            },
          },
        ),
      ]
    }),
  ),
)

const branch = (operator: string, out: string) => ({
  nodes: [node(operator, 'a', out)],
  inputs: {},
  outputs: { [out]: x('N', 4) },
})

proves('nodes with inner graphs', {
  'If with a condition on a known size': graph(
    [
      ...SIZES.slice(0, 1),
      node('Gather', 'shape one', 's'),
      node('Equal', 's four', 'isFour'),
      node('If', 'isFour', 'out', {
        then_branch: branch('Neg', 'y'),
        else_branch: {
          nodes: [node('RandomNormalLike', 'a', 'z')],
          inputs: {},
          outputs: { z: x('N', 4) },
        },
      }),
    ],
    { constants: { one: int(1), four: int(4) } },
  ),
  'If with a condition on an unknown size': graph(
    [
      ...SIZES.slice(0, 1),
      node('Gather', 'shape one', 's'),
      node('Equal', 's four', 'isFour'),
      node('If', 'isFour', 'out', {
        then_branch: branch('Neg', 'y'),
        else_branch: branch('Abs', 'z'),
      }),
    ],
    { constants: { one: int(1), four: int(4) }, inputs: { a: x('N', 'S') } },
  ),
  'a Loop that repeats three times, with a state for each row': graph(
    [
      node('Loop', 'times - a', 'out', {
        body: {
          nodes: [
            node('Identity', 'go', 'on'),
            node('MatMul', 'v w', 'm'),
            node('Tanh', 'm', 'next'),
          ],
          inputs: { i: input('INT64'), go: input('BOOL'), v: x('N', 4) },
          outputs: { on: input('BOOL'), next: x('N', 4) },
        },
      }),
    ],
    { constants: { times: int(3), w: floats([4, 4]) } },
  ),
  'a Scan that processes each row separately': graph(
    [
      node('Scan', 'table a', 'same out', {
        body: {
          nodes: [
            node('Identity', 't', 't2'),
            node('Sub', 't row', 'd'),
            node('ReduceSumSquare', 'd', 'distances', { axes: [1], keepdims: 0 }),
          ],
          inputs: { t: x(3, 4), row: x(4) },
          outputs: { t2: x(3, 4), distances: x(3) },
        },
        num_scan_inputs: 1,
      }),
    ],
    { constants: { table: floats([3, 4]) } },
  ),
  'a Scan along a table, with the rows as its state (k-nearest neighbours)': graph(
    [
      node('Scan', 'a table', 'kept scanned', {
        body: {
          nodes: [
            node('Identity', 'rows', 'rows2'),
            node('Sub', 'rows entry', 'd'),
            node('ReduceSumSquare', 'd', 'distances', { axes: [1], keepdims: 0 }),
          ],
          inputs: { rows: x('N', 4), entry: x(4) },
          outputs: { rows2: x('N', 4), distances: x('N') },
        },
        num_scan_inputs: 1,
      }),
      node('Transpose', 'scanned', 'out', { perm: [1, 0] }),
    ],
    { constants: { table: floats([3, 4]) }, outputs: { out: x('N', 3) } },
  ),
  'a function that refers to an attribute of its call': graph(
    [node('Normed@example.com', 'a', 'out', { along: 1 })],
    {
      opset: { '': 17, 'example.com': 1 },
      functions: [
        {
          name: 'Normed',
          domain: 'example.com',
          inputs: ['v'],
          outputs: ['w'],
          attributes: ['along'],
          opset: 17,
          nodes: [node('Softmax', 'v', 'w', { axis: { reference: 'along' } })],
        },
      ],
    },
  ),
})

const quantised = (tensor: string) => [
  node('QuantizeLinear', `${tensor} scale zero`, `${tensor}Q`),
  node('DequantizeLinear', `${tensor}Q scale zero`, `${tensor}D`),
]

proves('quantisation', {
  'static quantisation in QDQ format': graph(
    [
      ...quantised('a'),
      node('DequantizeLinear', 'w scales zeros', 'v', { axis: 1 }),
      node('MatMul', 'aD v', 'b'),
      ...quantised('b'),
      node('Relu', 'bD', 'out'),
    ],
    {
      constants: {
        scale: floats([], 0.05),
        zero: constant('INT8', [], [3]),
        w: constant('INT8', [4, 2], [1, -2, 3, -4, 5, -6, 7, -8]),
        scales: floats([2], 0.1, 0.2),
        zeros: constant('INT8', [2], [0, 0]),
      },
    },
  ),
  QLinearMatMul: one(
    'QLinearMatMul',
    [
      input('UINT8', 'N', 4),
      floats([], 0.1),
      constant('UINT8', [], [3]),
      constant('UINT8', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
      floats([], 0.2),
      constant('UINT8', [], [1]),
      floats([], 0.5),
      constant('UINT8', [], [7]),
    ],
    { outputs: [input('UINT8', 'N', 2)] },
  ),
})

const tfIdf = {
  mode: 'TF',
  min_gram_length: 1,
  max_gram_length: 2,
  max_skip_count: 0,
  ngram_counts: [0, 2],
  ngram_indexes: [0, 1, 2],
  pool_strings: ['a', 'b', 'a', 'b'],
}
const text = (...dims: (number | string)[]): Declared => input('BYTES', ...dims)

proves('text and classic machine learning', {
  'a scaled linear classifier': graph(
    [
      node('Scaler@ai.onnx.ml', 'a', 's', {
        offset: { float: [1, 2, 3, 4] },
        scale: { float: [1, 2, 1, 2] },
      }),
      node('LinearClassifier@ai.onnx.ml', 's', 'label scores', {
        classlabels_ints: [0, 1, 2],
        coefficients: { float: [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1] },
        intercepts: { float: [0.5, 0.25, 0] },
        multi_class: 1,
        post_transform: 'SOFTMAX',
      }),
      node('Normalizer@ai.onnx.ml', 'scores', 'out', { norm: 'L1' }),
    ],
    { opset: ML, outputs: { label: input('INT64', 'N'), out: x('N', 3) } },
  ),
  'ArrayFeatureExtractor of columns of a table': one(
    'ArrayFeatureExtractor@ai.onnx.ml',
    [x('N', 4), ints(2, 0)],
    {
      opset: ML,
    },
  ),
  'labels that are selected by index (k-nearest neighbours)': graph(
    [
      node('ArgMax', 'a', 'nearest', { axis: 1, keepdims: 0 }),
      node('ArrayFeatureExtractor@ai.onnx.ml', 'labels nearest', 'row'),
      node('Reshape', 'row flat', 'out'),
    ],
    {
      opset: ML,
      constants: { labels: ints(7, 5, 3, 1), flat: ints(-1) },
      outputs: { out: input('INT64', 'N') },
    },
  ),
  'OneHotEncoder of a column of text': graph(
    [
      node('OneHotEncoder@ai.onnx.ml', 'a', 'places', { cats_strings: ['x', 'y', 'z'], zeros: 1 }),
      node('Reshape', 'places flat', 'out'),
    ],
    { opset: ML, inputs: { a: text('N', 1) }, constants: { flat: ints(-1, 3) } },
  ),
  'padded words and a vocabulary without the pad value': graph(
    [
      node('Reshape', 'a flat', 'texts'),
      node('Tokenizer@com.microsoft', 'texts', 'words', {
        pad_value: '#',
        mark: 0,
        mincharnum: 1,
        separators: [' '],
      }),
      node('TfIdfVectorizer', 'words', 'out', tfIdf),
    ],
    { opset: MS, inputs: { a: text('N', 1) }, constants: { flat: ints(-1) } },
  ),
})

const HEADS = { q_num_heads: 2, kv_num_heads: 2 }
const sequence = x('N', 3, 4)
const heads = x('N', 2, 3, 4)

proves('operators of transformers', {
  'Attention of [N,S,E] with a causal mask': one('Attention', [sequence, sequence, sequence], {
    opset: 23,
    attributes: { ...HEADS, is_causal: 1 },
    outputs: [x('N', '?', '?')],
  }),
  'Attention with one mask for all rows': one(
    'Attention',
    [heads, heads, heads, floats([1, 1, 3, 3])],
    { opset: 23, outputs: [x('N', '?', '?', '?')] },
  ),
  'Attention with a mask and a past for each row': one(
    'Attention',
    [heads, heads, heads, x('N', 1, 3, 5), x('N', 2, 2, 4), x('N', 2, 2, 4)],
    {
      opset: 23,
      outputs: [x('N', '?', '?', '?'), x('N', '?', '?', '?'), x('N', '?', '?', '?')],
    },
  ),
  'Attention of opset 24': one('Attention', [sequence, sequence, sequence], {
    opset: 24,
    attributes: HEADS,
    outputs: [x('N', '?', '?')],
  }),
  'RotaryEmbedding with positions for each row': one(
    'RotaryEmbedding',
    [heads, floats([5, 2]), floats([5, 2]), input('INT64', 'N', 3)],
    { opset: 23, outputs: [x('N', '?', '?', '?')] },
  ),
  'RotaryEmbedding with caches for each row': one(
    'RotaryEmbedding',
    [heads, x('N', 3, 2), x('N', 3, 2)],
    { opset: 23, outputs: [x('N', '?', '?', '?')] },
  ),
  RMSNormalization: one('RMSNormalization', [x('N', 3, 4), floats([4])], {
    opset: 23,
    outputs: [x('N', '?', '?')],
  }),
  'GatherElements of a constant': one('GatherElements', [floats([3, 2]), input('INT64', 'N', 2)], {
    attributes: { axis: 0 },
  }),
})

const scale = floats([], 0.1)
const zero = constant('UINT8', [], [3])
const bytes = input('UINT8', 'N', 4)
const QUANTIZED = { opset: MS, outputs: [input('UINT8', 'N', '?')] }
const PICTURES = [x('N', '?', '?', '?')]

proves('operators that few models use', {
  DepthToSpace: one('DepthToSpace', [x('N', 4, 2, 2)], {
    attributes: { blocksize: 2 },
    outputs: PICTURES,
  }),
  SpaceToDepth: one('SpaceToDepth', [x('N', 1, 4, 4)], {
    attributes: { blocksize: 2 },
    outputs: PICTURES,
  }),
  'GridSample with a grid for each row': one('GridSample', [x('N', 1, 4, 4), x('N', 3, 3, 2)], {
    outputs: PICTURES,
  }),
  InstanceNormalization: one('InstanceNormalization', [x('N', 3, 4), floats([3]), floats([3])], {
    outputs: [x('N', '?', '?')],
  }),
  'CastLike to the datatype of a constant': one('CastLike', [x('N', 4), ints(0)], {
    outputs: [input('INT64', 'N', '?')],
  }),
  'Sum before opset 8, which does not broadcast': one('Sum', [x('N', 4), x('N', 4)], { opset: 7 }),
  'CDist from rows to constants': one('CDist@com.microsoft', [x('N', 3), floats([2, 3])], {
    opset: MS,
    attributes: { metric: 'euclidean' },
  }),
  FeatureVectorizer: one('FeatureVectorizer@ai.onnx.ml', [x('N', 2), x('N', 1)], {
    opset: ML,
    attributes: { inputdimensions: [2, 1] },
  }),
  QLinearSigmoid: one('QLinearSigmoid@com.microsoft', [bytes, scale, zero, scale, zero], QUANTIZED),
  QLinearConcat: one(
    'QLinearConcat@com.microsoft',
    [scale, zero, bytes, scale, zero, bytes, scale, zero],
    { ...QUANTIZED, attributes: { axis: 1 } },
  ),
})
