import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { constant, floats, graph, input, int, ints, node, one, prove, x } from './models.ts'
import type { WrittenModel, WrittenNode } from './onnx-writer.ts'

/** Each model, and the expected reason for its refusal. */
type Refused = Readonly<Record<string, readonly [model: WrittenModel, reason: RegExp]>>

function refuses(name: string, models: Refused): void {
  describe(name, () => {
    for (const [title, [model, reason]] of Object.entries(models)) {
      test(`refuses ${title}`, async () => {
        const proof = await prove(model)
        assert.ok(!proof.isProven, 'the prover accepted the model')
        assert.match(proof.reason, reason)
      })
    }
  })
}

const ML = { '': 17, 'ai.onnx.ml': 3 }
const MS = { '': 17, 'com.microsoft': 1 }
const ALONG = /works along dimension 0, which is the batch/

refuses('element-wise operators', {
  'Add with a constant of two rows': [
    one('Add', [x('N', 2), floats([2, 2], 1, 1, 100, 100)]),
    /input 1 has size 2 in the batch dimension/,
  ],
  'Add with the broadcasting attributes of opset 6': [
    one('Add', [x('N', 4), x('N')], { attributes: { broadcast: 1, axis: 0 }, opset: 6 }),
    /opset 6 is older than 7/,
  ],
  'Add whose inputs have the batch in different dimensions': [
    one('Add', [x('N', 4), x('N')]),
    /two dimensions/,
  ],
  'differences between the rows of two inputs': [
    graph(
      [
        node('Unsqueeze', 'a one', 'queries'),
        node('Unsqueeze', 'b zero', 'candidates'),
        node('Sub', 'queries candidates', 'differences'),
        node('ReduceSumSquare', 'differences two', 'distances', { keepdims: 0 }),
        node('ArgMin', 'distances', 'out', { axis: 1, keepdims: 0 }),
      ],
      {
        inputs: { a: x('N', 2), b: x('M', 2) },
        constants: { zero: ints(0), one: ints(1), two: ints(2) },
        opset: 18,
      },
    ),
    /two dimensions/,
  ],
  'division by the number of rows': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Cast', 'n', 'count', { to: 1 }),
        node('Div', 'a count', 'out'),
      ],
      { constants: { zero: int(0) } },
    ),
    /number of rows/,
  ],
  "adding a row's own number": [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Range', 'zero n one', 'numbers'),
        node('Cast', 'numbers', 'places', { to: 1 }),
        node('Unsqueeze', 'places axis', 'column'),
        node('Add', 'a column', 'out'),
      ],
      { constants: { zero: int(0), one: int(1), axis: ints(1) } },
    ),
    /depends on a row's number/,
  ],
})

refuses('operators along an axis', {
  'Softmax 12 with axis 0, which flattens all dimensions': [
    one('Softmax', [x('N', 3)], { attributes: { axis: 0 }, opset: 12 }),
    /all dimensions from 0 on/,
  ],
  'LogSoftmax 12 of [3,N] with the default axis 1': [
    graph(
      [node('Transpose', 'a', 't'), node('LogSoftmax', 't', 's'), node('Transpose', 's', 'out')],
      { opset: 12 },
    ),
    /all dimensions from 1 on/,
  ],
  'Hardmax 12 along axis 0': [
    one('Hardmax', [x('N', 3)], { attributes: { axis: 0 }, opset: 12 }),
    /all dimensions from 0 on/,
  ],
  'Softmax 13 of [N] along the default last axis': [
    one('Softmax', [x('N')], { outputs: [x('N')] }),
    ALONG,
  ],
  'Softmax 13 along axis -2': [one('Softmax', [x('N', 3)], { attributes: { axis: -2 } }), ALONG],
  'CumSum along the batch': [one('CumSum', [x('N', 3), int(0)]), ALONG],
  'TopK along the batch': [
    one('TopK', [x('N', 3), ints(1)], {
      attributes: { axis: 0 },
      outputs: [x('N', 3), input('INT64', 'N', 3)],
    }),
    ALONG,
  ],
  'ArgMax along the default axis 0': [
    one('ArgMax', [x('N', 3)], { outputs: [input('INT64', 'N', 3)] }),
    ALONG,
  ],
  'ReduceSum without axes': [one('ReduceSum', [x('N', 3)]), ALONG],
  'ReduceMax of opset 18 without axes': [one('ReduceMax', [x('N', 3)], { opset: 18 }), ALONG],
  'LpNormalization along the batch': [
    one('LpNormalization', [x('N', 3)], { attributes: { axis: 0 } }),
    ALONG,
  ],
  'LayerNormalization along all dimensions': [
    one('LayerNormalization', [x('N', 3), floats([1, 3])], { attributes: { axis: 0 } }),
    ALONG,
  ],
  'MeanVarianceNormalization with default axes': [
    one('MeanVarianceNormalization', [x('N', 3, 4, 4)]),
    ALONG,
  ],
  'Trilu of [N,3], which treats the batch as matrix rows': [one('Trilu', [x('N', 3)]), ALONG],
  'OneHot that moves the batch to the last axis': [
    graph([node('OneHot', 'a n values', 'out', { axis: 0 })], {
      inputs: { a: x('N') },
      constants: { n: ints(3), values: floats([2], 0, 1) },
      outputs: { out: x('?', 'N') },
    }),
    /the batch in dimension 1/,
  ],
  'OneHot whose depth is the number of rows': [
    graph([node('Shape', 'a', 'n'), node('OneHot', 'a n values', 'out')], {
      inputs: { a: x('N') },
      constants: { values: floats([2], 0, 1) },
    }),
    /contains the number of rows as a value/,
  ],
  'ReverseSequence whose time axis is the batch': [
    one('ReverseSequence', [x('N', 3), ints(1, 2, 3)], {
      attributes: { time_axis: 0, batch_axis: 1 },
    }),
    /not batched|batch_axis/,
  ],
  'EyeLike of a batched tensor': [one('EyeLike', [x('N', 3)]), /uses all rows/],
})

refuses('training mode and random operators', {
  'BatchNormalization in training mode': [
    one('BatchNormalization', [x('N', 3), floats([3]), floats([3]), floats([3]), floats([3])], {
      attributes: { training_mode: 1 },
      outputs: [x('N', 3), x(3), x(3)],
    }),
    /training mode/,
  ],
  'BatchNormalization 9 with five outputs': [
    one('BatchNormalization', [x('N', 3), floats([3]), floats([3]), floats([3]), floats([3])], {
      opset: 9,
      outputs: [x('N', 3), x(3), x(3), x(3), x(3)],
    }),
    /training mode/,
  ],
  'BatchNormalization 7 with statistics for each position': [
    one('BatchNormalization', [x('N', 3), floats([3]), floats([3]), floats([3]), floats([3])], {
      attributes: { spatial: 0 },
      opset: 7,
    }),
    /spatial/,
  ],
  'BatchNormalization of opset 6 with is_test': [
    one('BatchNormalization', [x('N', 3), floats([3]), floats([3]), floats([3]), floats([3])], {
      attributes: { is_test: 0 },
      opset: 6,
    }),
    /older than 7/,
  ],
  'BatchNormalization whose channels are the batch': [
    graph(
      [
        node('Transpose', 'a', 't'),
        node('BatchNormalization', 't s s s s', 'b'),
        node('Transpose', 'b', 'out'),
      ],
      { constants: { s: floats([4]) } },
    ),
    /the channels are the batch/,
  ],
  'Dropout in training mode': [
    one('Dropout', [x('N', 3), floats([], 0.5), constant('BOOL', [], [1])]),
    /training mode/,
  ],
  ...Object.fromEntries(
    ['RandomNormalLike', 'RandomUniformLike', 'Bernoulli', 'Multinomial'].map(operator => [
      operator,
      [one(operator, [x('N', 3)]), /no rule/] as const,
    ]),
  ),
  'a random constant': [
    graph([node('RandomNormal', '', 'noise', { shape: [1, 4] }), node('Add', 'a noise', 'out')]),
    /RandomNormal.*no rule/,
  ],
})

refuses('shapes', {
  'Squeeze without axes': [one('Squeeze', [x('N', 1, 3)], { opset: 11 }), /has no axes/],
  'Squeeze of the batch dimension': [one('Squeeze', [x('N', 1, 3), ints(0)]), ALONG],
  'Reshape to [1,-1]': [one('Reshape', [x('N', 12), ints(1, -1)]), /batch in dimension 1/],
  'Reshape to [2,-1]': [one('Reshape', [x('N', 12), ints(2, -1)]), /does not keep the rows/],
  'Reshape of [N,12] to [-1,6]': [
    one('Reshape', [x('N', 12), ints(-1, 6)]),
    /2·N rows for N input rows/,
  ],
  'Reshape to a dimension of size 0': [
    one('Reshape', [x('N', 12), ints(0, 12)], { attributes: { allowzero: 1 } }),
    /size 0/,
  ],
  'Flatten with axis 0': [one('Flatten', [x('N', 3)], { attributes: { axis: 0 } }), /dimension 1/],
  'Flatten with axis 2': [
    one('Flatten', [x('N', 3, 2)], { attributes: { axis: 2 } }),
    /3·N rows for N input rows/,
  ],
  'Expand of dimension 0': [
    one('Expand', [x('N', 3), ints(2, 3)]),
    /expands the batch of size N to 2/,
  ],
  'Tile of dimension 0': [one('Tile', [x('N', 3), ints(2, 1)]), /repeats the batch/],
  'Slice with a negative step along the batch': [
    one('Slice', [x('N', 3), ints(-1), ints(-1000), ints(0), ints(-1)]),
    /some of the rows/,
  ],
  'Slice of the first two rows': [
    one('Slice', [x('N', 3), ints(0), ints(2), ints(0)]),
    /some of the rows/,
  ],
  'Slice 9 of the first two rows': [
    one('Slice', [x('N', 3)], { attributes: { starts: [0], ends: [2] }, opset: 9 }),
    /some of the rows/,
  ],
  'Pad of dimension 0': [one('Pad', [x('N', 3), ints(1, 0, 0, 0)]), /pads the batch/],
  'Resize of dimension 0': [
    one('Resize', [x('N', 3), undefined, floats([2], 2, 1)]),
    /resizes the batch/,
  ],
  'Resize that crops': [
    one('Resize', [x('N', 3), floats([4]), floats([2], 1, 2)], {
      attributes: { coordinate_transformation_mode: 'tf_crop_and_resize' },
    }),
    /crops/,
  ],
  'Upsample of dimension 0': [
    one('Upsample', [x('N', 3), floats([2], 2, 1)], { opset: 9 }),
    /resizes the batch/,
  ],
  'Transpose, followed by a Reshape that mixes the rows': [
    graph([node('Transpose', 'a', 't'), node('Reshape', 't shape', 'out')], {
      constants: { shape: ints(-1, 4) },
    }),
    /does not keep the rows|rows for N/,
  ],
  'Concat along axis 0': [
    one('Concat', [x('N', 3), x('N', 3)], { attributes: { axis: 0 } }),
    ALONG,
  ],
  'Concat of rows and a constant': [
    one('Concat', [x('N', 3), floats([1, 3])], { attributes: { axis: 1 } }),
    /a different batch/,
  ],
  'Split along the default axis 0': [
    one('Split', [x('N', 3)], { outputs: [x('N', 3), x('N', 3)] }),
    ALONG,
  ],
  'Expand of a constant of two rows to N rows': [
    graph([
      node('Constant', '', 'c', { value: floats([2, 4]) }),
      node('Shape', 'a', 'shape'),
      node('Expand', 'c shape', 'out'),
    ]),
    /expands size 2 to N/,
  ],
})

refuses('indexing', {
  'Gather of row 0': [one('Gather', [x('N', 3), int(0)], { outputs: [x(3)] }), ALONG],
  'Gather from rows by indices that depend on rows': [
    one('Gather', [x('N', 3), input('INT64', 'N')], { attributes: { axis: 1 } }),
    /rows are used as indices into a batched tensor/,
  ],
  'GatherND of rows by index': [
    one('GatherND', [x('N', 3), input('INT64', 'N', 1)]),
    /rows are used as indices into a batched tensor/,
  ],
  'GatherElements along the batch': [
    one('GatherElements', [x('N', 3), input('INT64', 'N', 3)]),
    ALONG,
  ],
  'GatherElements of a constant that is indexed by row number': [
    one('GatherElements', [floats([4, 3]), input('INT64', 'N', 3)], { attributes: { axis: 1 } }),
    /indexed by row number/,
  ],
  'ScatterElements along the batch': [
    one('ScatterElements', [x('N', 3), input('INT64', 'N', 3), x('N', 3)]),
    ALONG,
  ],
  'ScatterElements with reduction "add"': [
    one('ScatterElements', [x('N', 3), input('INT64', 'N', 3), x('N', 3)], {
      attributes: { axis: 1, reduction: 'add' },
    }),
    /reduction" is not "none"/,
  ],
  'ScatterND to row indices': [
    one('ScatterND', [x('N', 3), input('INT64', 'N', 1), x('N', 3)]),
    /all rows/,
  ],
  'an index that selects an element of the next row': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Range', 'zero n one', 'numbers'),
        node('Mul', 'numbers four', 'starts'),
        node('Unsqueeze', 'starts axis', 'column'),
        node('Add', 'column places', 'index'),
        node('Reshape', 'a flat', 'elements'),
        node('Gather', 'elements index', 'out'),
      ],
      {
        constants: {
          zero: int(0),
          one: int(1),
          four: int(4),
          axis: ints(1),
          flat: ints(-1),
          // Element 4 is the first element of the next row.
          places: constant('INT64', [1, 2], [0, 4]),
        },
      },
    ),
    /rows are used as indices into a batched tensor/,
  ],
  'Compress of rows': [
    one('Compress', [x('N', 3), constant('BOOL', [2], [1, 0])], { attributes: { axis: 0 } }),
    /all rows/,
  ],
  'NonZero of a batched tensor': [one('NonZero', [x('N', 3)]), /all rows/],
  'Unique of rows': [one('Unique', [x('N', 3)], { attributes: { axis: 0 } }), /all rows/],
  'NonMaxSuppression of batched boxes': [
    one('NonMaxSuppression', [x('N', 6, 4), x('N', 1, 6)]),
    /all rows/,
  ],
  'RoiAlign of batched images': [
    one('RoiAlign', [x('N', 1, 8, 8), floats([1, 4]), ints(0)]),
    /all rows/,
  ],
  'MaxRoiPool, which has no rule': [
    one('MaxRoiPool', [x('N', 1, 8, 8), floats([1, 5])]),
    /no rule/,
  ],
  'MaxUnpool, which has no rule': [
    one('MaxUnpool', [x('N', 1, 4, 4), input('INT64', 'N', 1, 4, 4)]),
    /no rule/,
  ],
  'indices from MaxPool, which count across the batch': [
    one('MaxPool', [x('N', 1, 4, 4)], {
      attributes: { kernel_shape: [2, 2] },
      outputs: [x('N', 1, 3, 3), input('INT64', 'N', 1, 3, 3)],
    }),
    /output 1/,
  ],
})

refuses('products', {
  'MatMul of a vector [N]': [
    one('MatMul', [x('N'), floats([3])], { outputs: [x()] }),
    /sums over the batch/,
  ],
  'MatMul with the weight on the left': [
    one('MatMul', [floats([3, 4]), x('N', 3)]),
    /sums over the batch/,
  ],
  'MatMul of rows with rows': [
    graph([node('Transpose', 'a', 't'), node('MatMul', 'a t', 'out')]),
    /columns of the right operand|combines every row/,
  ],
  'Gemm with transA': [
    one('Gemm', [x('N', 3), floats([5, 4])], { attributes: { transA: 1 } }),
    /sums over the batch/,
  ],
  'Gemm with a bias of shape [N]': [
    one('Gemm', [x('N', 3), floats([3, 4]), x('N')]),
    /bias is batched/,
  ],
  'Gemm with a bias of two rows': [
    one('Gemm', [x('N', 3), floats([3, 4]), floats([2, 4])]),
    /bias has size 2/,
  ],
  ...Object.fromEntries(
    Object.entries({
      'a sum over the batch': 'ij,jk->jk',
      'an output without the batch': 'ij,jk->k',
      'an equation without an output': 'ij,jk',
      'an ellipsis': '...j,jk->...k',
      'a repeated batch letter': 'ii,ik->ik',
    }).map(([title, equation]) => [
      `Einsum with ${title}`,
      [
        one('Einsum', [x('N', 3), floats([3, 4])], { attributes: { equation } }),
        /sums over the batch|the equation has|batch letter/,
      ] as const,
    ]),
  ),
  'Conv whose channels are the batch': [
    graph(
      [
        node('Transpose', 'a', 't', { perm: [1, 0, 2] }),
        node('Conv', 't w', 'c'),
        node('Transpose', 'c', 'out', { perm: [1, 0, 2] }),
      ],
      { inputs: { a: x('N', 1, 8) }, constants: { w: floats([2, 2, 3]) } },
    ),
    /the batch is dimension 1, not 0/,
  ],
  'Conv along the batch': [
    graph(
      [
        node('Transpose', 'a', 't'),
        node('Unsqueeze', 't first', 'pictures'),
        node('Conv', 'pictures w', 'c', { pads: [2, 0] }),
        node('Squeeze', 'c first', 's'),
        node('Transpose', 's', 'out'),
      ],
      { constants: { first: ints(0), w: floats([4, 4, 3]) } },
    ),
    /the batch is dimension 2, not 0/,
  ],
  'Conv with a weight that depends on rows': [
    one('Conv', [x('N', 1, 8), x('N', 1, 3)]),
    /input 1 depends on rows/,
  ],
})

refuses('recurrent layers', {
  ...Object.fromEntries(
    (['LSTM', 'GRU', 'RNN'] as const).map(operator => {
      const gates = { LSTM: 4, GRU: 3, RNN: 1 }[operator]
      return [
        `${operator} whose time dimension is the batch`,
        [
          one(operator, [x('N', 1, 2), floats([1, gates * 3, 2]), floats([1, gates * 3, 3])], {
            attributes: { hidden_size: 3 },
            outputs: [x('N', 1, 1, 3)],
          }),
          /batch is dimension 0 of input 0, not 1/,
        ] as const,
      ]
    }),
  ),
  'LSTM with one initial state for all rows': [
    graph(
      [
        node('Transpose', 'a', 't', { perm: [1, 0, 2] }),
        node('LSTM', 't w r - - h', 'y', { hidden_size: 3 }),
        node('Transpose', 'y', 'out', { perm: [2, 0, 1, 3] }),
      ],
      {
        inputs: { a: x('N', 5, 2) },
        constants: { w: floats([1, 12, 2]), r: floats([1, 12, 3]), h: floats([1, 1, 3]) },
      },
    ),
    /input 5 is not batched/,
  ],
})

const branch = (nodes: WrittenModel['nodes'], out: string) => ({
  nodes,
  inputs: {},
  outputs: { [out]: x('N', '?') },
})

const adding = {
  nodes: [node('Add', 'sum row', 'next'), node('Identity', 'next', 'given')],
  inputs: { sum: x(4), row: x(4) },
  outputs: { next: x(4), given: x(4) },
}

refuses('nodes with inner graphs', {
  'If with a condition on the number of rows': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Equal', 'n one', 'single'),
        node('If', 'single', 'out', {
          then_branch: branch([node('Neg', 'a', 'y')], 'y'),
          else_branch: branch([node('Abs', 'a', 'z')], 'z'),
        }),
      ],
      { constants: { zero: int(0), one: int(1) } },
    ),
    /number of rows/,
  ],
  'If with a condition that depends on rows': [
    graph(
      [
        node('If', 'c', 'out', {
          then_branch: branch([node('Neg', 'a', 'y')], 'y'),
          else_branch: branch([node('Abs', 'a', 'z')], 'z'),
        }),
      ],
      { inputs: { a: x('N', 4), c: input('BOOL', 'N') } },
    ),
    /the condition depends on rows/,
  ],
  'a Loop that is repeated once per row': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Loop', 'n - a', 'out', {
          body: {
            nodes: [node('Identity', 'go', 'on'), node('Add', 'v v', 'w')],
            inputs: { i: input('INT64'), go: input('BOOL'), v: x('N', 4) },
            outputs: { on: input('BOOL'), w: x('N', 4) },
          },
        }),
      ],
      { constants: { zero: int(0) } },
    ),
    /number of repetitions depends on the rows/,
  ],
  'a Loop whose condition depends on rows': [
    graph(
      [
        node('Loop', 'times - a', 'out', {
          body: {
            nodes: [
              node('ReduceMax', 'v', 'most', { keepdims: 0 }),
              node('Cast', 'most', 'on', { to: 9 }),
              node('Identity', 'v', 'w'),
            ],
            inputs: { i: input('INT64'), go: input('BOOL'), v: x('N', 4) },
            outputs: { on: input('BOOL'), w: x('N', 4) },
          },
        }),
      ],
      { constants: { times: int(3) } },
    ),
    ALONG,
  ],
  'a Loop that moves the batch of its state to another dimension': [
    graph(
      [
        node('Loop', 'times - a', 'out', {
          body: {
            nodes: [node('Identity', 'go', 'on'), node('Transpose', 'v', 'w')],
            inputs: { i: input('INT64'), go: input('BOOL'), v: x('?', '?') },
            outputs: { on: input('BOOL'), w: x('?', '?') },
          },
        }),
      ],
      { constants: { times: int(3) } },
    ),
    /a repetition changes/,
  ],
  'a Scan over the batch that passes a sum to the next row': [
    graph([node('Scan', 'start a', '- out', { body: adding, num_scan_inputs: 1 })], {
      constants: { start: floats([4]) },
    }),
    /from one row to the next/,
  ],
  'a Scan that iterates backwards over the batch': [
    graph([
      node('Scan', 'a', 'out', {
        body: {
          nodes: [node('Neg', 'row', 'given')],
          inputs: { row: x(4) },
          outputs: { given: x(4) },
        },
        num_scan_inputs: 1,
        scan_input_directions: [1],
      }),
    ]),
    /backwards/,
  ],
  'a Scan whose outputs are stacked along dimension 1': [
    graph([
      node('Scan', 'a', 'out', {
        body: {
          nodes: [node('Neg', 'row', 'given')],
          inputs: { row: x(4) },
          outputs: { given: x(4) },
        },
        num_scan_inputs: 1,
        scan_output_axes: [1],
      }),
    ]),
    /batch in dimension 1/,
  ],
  'a Scan over the batch whose body uses all rows': [
    graph([
      node('Scan', 'a', 'out', {
        body: {
          nodes: [node('Add', 'row a', 'given')],
          inputs: { row: x(4) },
          outputs: { given: x('N', 4) },
        },
        num_scan_inputs: 1,
      }),
    ]),
    /uses "a", which depends on rows/,
  ],
})

refuses('quantisation', {
  'DynamicQuantizeLinear of a batched tensor': [
    one('DynamicQuantizeLinear', [x('N', 4)], {
      outputs: [input('UINT8', 'N', 4), x(), input('UINT8')],
    }),
    /largest value in the entire batch/,
  ],
  ...Object.fromEntries(
    ['DynamicQuantizeMatMul', 'DynamicQuantizeLSTM', 'MatMulIntegerToFloat'].map(operator => [
      operator,
      [one(`${operator}@com.microsoft`, [x('N', 4)], { opset: MS }), /no rule/] as const,
    ]),
  ),
  'QuantizeLinear with a scale that depends on rows': [
    one('QuantizeLinear', [x('N', 4), x('N')], { outputs: [input('UINT8', 'N', 4)] }),
    /input 1 depends on rows/,
  ],
  'QuantizeLinear with a scale for each row': [
    one('QuantizeLinear', [x('N', 4), floats([3])], { attributes: { axis: 0 } }),
    /a scale for each row/,
  ],
  'MatMulInteger with a zero point that depends on rows': [
    one('MatMulInteger', [
      input('UINT8', 'N', 4),
      constant('UINT8', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
      input('UINT8', 'N'),
    ]),
    /input 2 depends on rows/,
  ],
  'MatMulInteger with two constant zero points for the rows': [
    one('MatMulInteger', [
      input('UINT8', 'N', 4),
      constant('UINT8', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
      constant('UINT8', [2], [1, 2]),
    ]),
    /input 2 has several elements/,
  ],
  'QLinearMatMul with a scale that depends on rows': [
    one('QLinearMatMul', [
      input('UINT8', 'N', 4),
      x('N', 1),
      constant('UINT8', [], [0]),
      constant('UINT8', [4, 1], [1, 2, 3, 4]),
      floats([], 1),
      constant('UINT8', [], [0]),
      floats([], 1),
      constant('UINT8', [], [0]),
    ]),
    /input 1 depends on rows/,
  ],
})

refuses('text and classic machine learning', {
  'StringSplit, whose output width depends on the longest row': [
    one('StringSplit', [input('BYTES', 'N')], {
      opset: 20,
      outputs: [input('BYTES', 'N', '?'), input('INT64', 'N')],
    }),
    /all rows/,
  ],
  'StringNormalizer with stop words': [
    one('StringNormalizer', [input('BYTES', 'N')], { attributes: { stopwords: ['the'] } }),
    /stop words/,
  ],
  'TfIdfVectorizer of [N], which it treats as one document': [
    one('TfIdfVectorizer', [input('BYTES', 'N')], {
      attributes: {
        mode: 'TF',
        min_gram_length: 1,
        max_gram_length: 1,
        max_skip_count: 0,
        ngram_counts: [0],
        ngram_indexes: [0],
        pool_strings: ['a'],
      },
    }),
    /not a table/,
  ],
  'a padded Tokenizer result as an output': [
    one('Tokenizer@com.microsoft', [input('BYTES', 'N')], {
      opset: MS,
      attributes: { pad_value: '#', mark: 0, mincharnum: 1, separators: [' '] },
      outputs: [input('BYTES', 'N', '?')],
    }),
    /width that depends on the longest row/,
  ],
  'a vocabulary that contains the pad value of a Tokenizer': [
    graph(
      [
        node('Tokenizer@com.microsoft', 'a', 'words', {
          pad_value: '#',
          mark: 0,
          mincharnum: 1,
          separators: [' '],
        }),
        node('TfIdfVectorizer', 'words', 'out', {
          mode: 'TF',
          min_gram_length: 1,
          max_gram_length: 1,
          max_skip_count: 0,
          ngram_counts: [0],
          ngram_indexes: [0, 1],
          pool_strings: ['a', '#'],
        }),
      ],
      { inputs: { a: input('BYTES', 'N') }, opset: MS },
    ),
    /"#", the text with which short rows are padded/,
  ],
  ...Object.fromEntries(
    ['Scaler', 'Normalizer', 'LinearRegressor', 'TreeEnsembleClassifier', 'SVMRegressor'].map(
      operator => [
        `${operator} of [N]`,
        [one(`${operator}@ai.onnx.ml`, [x('N')], { opset: ML }), /not a table/] as const,
      ],
    ),
  ),
  'ArrayFeatureExtractor of a batched [N]': [
    one('ArrayFeatureExtractor@ai.onnx.ml', [x('N'), ints(0)], { opset: ML }),
    /selects some of the rows/,
  ],
  ...Object.fromEntries(
    ['SequenceConstruct', 'SplitToSequence', 'Optional', 'DictVectorizer@ai.onnx.ml'].map(
      operator => [operator, [one(operator, [x('N', 3)], { opset: ML }), /no rule/] as const],
    ),
  ),
})

const calling = (
  { domain = 'example.com', opset = 17, operators = ['Relu'] },
  call = 'Own',
): WrittenModel => ({
  ...graph([node(`${call}@${domain}`, 'a', 'out')], {
    opset: { '': 17, [domain]: 1 },
    functions: operators.map(operator => ({
      name: call,
      domain,
      inputs: ['v'],
      outputs: ['w'],
      opset,
      nodes: [node(operator, 'v', 'w')],
    })),
  }),
})

const TO_FLOAT = 1
const TO_INT32 = 6
const TO_INT64 = 7

/** Sums pairs of neighbouring elements of w: those of one row, if w has one column. */
const SUMMED = [
  node('Shape', 'a', 'shape'),
  node('Gather', 'shape first', 'n'),
  node('Concat', 'minus n', 'to', { axis: 0 }),
  node('Reshape', 'w to', 'table'),
  node('ReduceSum', 'table first', 'out', { keepdims: 0 }),
]

/** The sum of the first k of two columns mixes rows, unless k is 1. */
const summed = (
  nodes: readonly WrittenNode[],
  constants: WrittenModel['constants'],
  columns = 2,
): WrittenModel =>
  graph([...nodes, ...(columns === 1 ? [] : [node('Slice', 'a first k one', 'w')]), ...SUMMED], {
    inputs: { a: x('N', columns) },
    outputs: { out: x('N') },
    constants: { first: ints(0), one: ints(1), minus: ints(-1), ...constants },
  })

const APART = /does not keep the rows of .* together/

refuses('graphs that ONNX Runtime does not read as ONNX defines', {
  'a Gather of texts along a dimension before the batch, which copies only texts of row 0': [
    graph(
      [
        node('Transpose', 'a', 'columns'),
        node('Gather', 'columns order', 'ordered'),
        node('Transpose', 'ordered', 'out'),
      ],
      {
        inputs: { a: input('BYTES', 'N', 2) },
        outputs: { out: input('BYTES', 'N', 2) },
        constants: { order: ints(1, 0) },
      },
    ),
    /the model contains texts/,
  ],
  'a Gather of texts behind a Transpose, which ONNX Runtime moves behind the Gather': [
    graph(
      [
        node('Unsqueeze', 'a ends', 'u'),
        node('Transpose', 'u', 't', { perm: [2, 1, 0] }),
        node('Gather', 't zero', 'g', { axis: 2 }),
        node('Squeeze', 'g first', 'out'),
      ],
      {
        inputs: { a: input('BYTES', 'N') },
        outputs: { out: input('BYTES', 'N') },
        constants: { ends: ints(0, 2), zero: int(0), first: ints(0) },
      },
    ),
    /the model contains texts/,
  ],
  'a MaxPool whose kernel is larger than its input, which returns an element': [
    summed(
      [
        node('Unsqueeze', 'a one', 'u'),
        node('MaxPool', 'u', 'pooled', { kernel_shape: [2], strides: [2] }),
        node('Concat', 'u pooled', 'w', { axis: 2 }),
      ],
      {},
      1,
    ),
    APART,
  ],
  'the size of a MaxPool with auto_pad and dilations': [
    summed(
      [
        node('MaxPool', 'image', 'pooled', {
          kernel_shape: [2],
          dilations: [2],
          auto_pad: 'SAME_UPPER',
        }),
        node('Shape', 'pooled', 'sizes'),
        node('Gather', 'sizes two', 'size'),
        node('Sub', 'three size', 'k'),
      ],
      { image: floats([1, 1, 2]), two: ints(2), three: ints(3) },
    ),
    APART,
  ],
  'a PRelu whose slope is wider than its input': [
    summed([node('PRelu', 'a slopes', 'w')], { slopes: floats([1, 2], 2, 3) }, 1),
    APART,
  ],
  'a Slice with step -1 to the largest INT32, which means the beginning': [
    summed(
      [
        node('Slice', 'two one most first minus', 'reversed'),
        node('Shape', 'reversed', 'count'),
        node('Add', 'count one', 'k'),
      ],
      { two: ints(5, 6), most: ints(2 ** 31 - 1) },
    ),
    APART,
  ],
  'the negative of the least INT8': [
    summed(
      [
        node('Neg', 'least', 'negative'),
        node('Cast', 'negative', 'integer', { to: TO_INT64 }),
        node('Sub', 'most integer', 'k'),
      ],
      { least: constant('INT8', [1], [-128]), most: ints(129) },
    ),
    APART,
  ],
  'the size of a reduced empty tensor': [
    summed(
      [
        node('Slice', 'first first first', 'empty'),
        node('ReduceMin', 'empty', 'least', { axes: [0] }),
        node('Shape', 'least', 'count'),
        node('Sub', 'two count', 'k'),
      ],
      { two: ints(2) },
    ),
    APART,
  ],
  'the number of constants that row numbers select, which is at most that of the constants': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape zero', 'n'),
        node('Range', 'zero n one', 'numbers'),
        node('Gather', 'table numbers', 'selected'),
        node('Shape', 'selected', 'count'),
        node('Concat', 'count minus', 'to', { axis: 0 }),
        node('Reshape', 'a to', 'folded'),
        node('Softmax', 'folded', 'normal'),
        node('Gather', 'shape first', 'rows'),
        node('Concat', 'rows minus', 'back', { axis: 0 }),
        node('Reshape', 'normal back', 'out'),
      ],
      {
        inputs: { a: x('N', 2) },
        constants: {
          zero: int(0),
          one: int(1),
          first: ints(0),
          minus: ints(-1),
          table: floats([3]),
        },
      },
    ),
    /a constant that is indexed by row number/,
  ],
  'Unsqueeze 10 with a negative axis': [
    one('Unsqueeze', [x('N')], { attributes: { axes: [-1] }, opset: 10 }),
    /an axis is negative/,
  ],
  'LinearClassifier with PROBIT, which returns uninitialised memory': [
    one('LinearClassifier@ai.onnx.ml', [x('N', 2)], {
      attributes: {
        coefficients: { float: [1, 2] },
        classlabels_ints: [0, 1],
        post_transform: 'PROBIT',
      },
      outputs: [input('INT64', 'N'), x('N', 2)],
      opset: ML,
    }),
    /may not write the second score/,
  ],
  'TreeEnsembleClassifier with one base value for two classes': [
    one('TreeEnsembleClassifier@ai.onnx.ml', [x('N', 2)], {
      attributes: {
        base_values: { float: [0.5] },
        class_ids: [0, 1],
        classlabels_int64s: [0, 1],
      },
      outputs: [input('INT64', 'N'), x('N', 2)],
      opset: ML,
    }),
    /may not write the second score/,
  ],
  'noop_with_empty_axes of 2': [
    one('ReduceMax', [x('N', 3)], { attributes: { noop_with_empty_axes: 2 }, opset: 18 }),
    /noop_with_empty_axes is 2; it must be 0 or 1/,
  ],
  'keepdims of 2': [
    one('ArgMax', [x('N', 3, 2)], { attributes: { axis: 1, keepdims: 2 } }),
    /keepdims is 2; it must be 0 or 1/,
  ],
  'a function that the file defines twice': [
    calling({ operators: ['Relu', 'Softmax'] }),
    /several functions of this name/,
  ],
  'a function with the name of an ONNX Runtime operator': [
    calling({ domain: 'ai.onnx.ml', operators: ['Identity'] }, 'Normalizer'),
    /a function in a domain of ONNX Runtime/,
  ],
  'a function whose opset differs from that of the model': [
    calling({ opset: 12, operators: ['Softmax'] }),
    /uses opset 12 of domain "ai\.onnx", and the model uses 17/,
  ],
})

const COUNTED = [
  node('Shape', 'a', 'shape'),
  node('Gather', 'shape zero', 'n'),
  node('Gather', 'shape first', 'n1'),
]

refuses('inputs that rules do not examine', {
  'a reduction whose axes depend on rows': [
    graph(
      [
        node('NonZero', 'c', 'places'),
        node('Cast', 'places', 'table', { to: TO_FLOAT }),
        node('ReduceSum', 'table b', 'weight'),
        node('Gemm', 'a weight', 'out'),
      ],
      { inputs: { a: x('N', 1), b: input('INT64', 'N') }, constants: { c: floats([2, 3]) } },
    ),
    /batch dimension of output 0 \("weight"\) is unknown/,
  ],
  'a Slice of a constant whose length is the number of rows': [
    graph(
      [
        ...COUNTED,
        node('NonZero', 'c', 'places'),
        node('Cast', 'places', 'table', { to: TO_FLOAT }),
        node('Slice', 'table first n1 one', 'part'),
        node('ReduceSum', 'part', 'sum', { keepdims: 0 }),
        node('Clip', 'a - sum', 'out'),
      ],
      { constants: { c: floats([4, 3]), zero: int(0), first: ints(0), one: ints(1) } },
    ),
    /batch dimension of output 0 \("part"\) is unknown/,
  ],
  'CumSum whose axis depends on rows': [
    graph([node('CumSum', 'c b', 'weight'), node('Gemm', 'a weight', 'out')], {
      inputs: { a: x('N', 2), b: input('INT64', 'N') },
      constants: { c: floats([2, 3]) },
    }),
    /batch dimension of output 0 \("weight"\) is unknown/,
  ],
  'the last word of each row, which may be padding': [
    graph(
      [
        ...COUNTED,
        node('Tokenizer@com.microsoft', 'a', 'words', {
          pad_value: '#',
          mark: 0,
          mincharnum: 1,
          separators: [' '],
        }),
        node('Range', 'zero n one', 'numbers'),
        node('Unsqueeze', 'numbers axis', 'column'),
        node('Shape', 'column', 'size'),
        node('Expand', 'last size', 'lasts'),
        node('Concat', 'column lasts', 'places', { axis: 1 }),
        node('GatherND', 'words places', 'out'),
      ],
      {
        inputs: { a: input('BYTES', 'N') },
        outputs: { out: input('BYTES', 'N') },
        opset: MS,
        constants: {
          zero: int(0),
          first: ints(0),
          one: int(1),
          axis: ints(1),
          last: constant('INT64', [1, 1], [-1]),
        },
      },
    ),
    /rows are used as indices into a batched tensor/,
  ],
  'a node output with the name of an initialiser': [
    graph([node('Constant', '', 'c', { value: ints(1, -1) }), node('Reshape', 'a c', 'out')], {
      constants: { c: ints(-1, 4) },
    }),
    /"c" is defined twice/,
  ],
})

refuses('sizes that are hard to compute', {
  'the number of rows after eight squarings': [
    graph(
      [
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape first', 'square0'),
        ...Array.from({ length: 8 }, (_, i) =>
          node('Mul', `square${i} square${i}`, `square${i + 1}`),
        ),
        node('Expand', 'square8 shape', 'out'),
      ],
      { constants: { first: int(0) } },
    ),
    /node "Mul of square6" .* input 0 contains the number of rows as a value/,
  ],
  'Squeeze with an empty list of axes, which removes all dimensions of size 1': [
    graph(
      [
        node('Squeeze', 'a none', 's'),
        node('Softmax', 's', 'p', { axis: 1 }),
        node('Reshape', 'p rows', 'out'),
      ],
      {
        inputs: { a: x('N', 2, 4) },
        constants: { none: constant('INT64', [0], []), rows: ints(-1, 8) },
      },
    ),
    /has no axes/,
  ],
  'Unsqueeze that names an axis twice': [
    one('Unsqueeze', [x('N', 4)], { opset: 11, attributes: { axes: [0, 0] } }),
    /an axis occurs twice/,
  ],
  'a Slice whose end is truncated to INT32': [
    graph(
      [node('Cast', 'far', 'end', { to: TO_INT32 }), node('Slice', 'a start end start', 'out')],
      {
        constants: {
          far: constant('INT64', [1], [2 ** 62 + 2 ** 31]),
          start: constant('INT32', [1], [0]),
        },
      },
    ),
    /cannot be determined|selects some of the rows/,
  ],
  'a Reshape to a size that is computed from a datatype that the reader skips': [
    graph(
      [
        node('ConstantOfShape', 'one', 'twos', { value: constant('FP64', [1], [2]) }),
        node('Cast', 'twos', 'two', { to: TO_INT64 }),
        node('Concat', 'two rest', 'target', { axis: 0 }),
        node('Reshape', 'a target', 'out'),
      ],
      { constants: { one: ints(1), rest: ints(-1) } },
    ),
    /batch dimension of .* is unknown/,
  ],
  'AveragePool whose auto_pad overrides its pads': [
    graph(
      [
        node('AveragePool', 'a', 'p', { kernel_shape: [2], auto_pad: 'VALID', pads: [1, 1] }),
        node('Reshape', 'p five', 'out'),
      ],
      { inputs: { a: x('N', 1, 4) }, constants: { five: ints(-1, 5) } },
    ),
    /batch dimension of .* is unknown/,
  ],
  'LinearClassifier with fewer scores than labels': [
    graph(
      [
        node('LinearClassifier@ai.onnx.ml', 'a', 'label scores', {
          coefficients: { float: [1, 2, 3, 4, 5, 6, 7, 8] },
          intercepts: { float: [1, 2] },
          classlabels_ints: [0, 1, 2, 3],
        }),
        node('Reshape', 'scores four', 'out'),
      ],
      { opset: ML, constants: { four: ints(-1, 4) } },
    ),
    /batch dimension of .* is unknown/,
  ],
  'Einsum with a dimension that is broadcast': [
    graph(
      [
        node('Einsum', 'a c', 'e', { equation: 'ns,s->ns' }),
        node('Shape', 'a', 'shape'),
        node('Gather', 'shape second', 's1'),
        node('Concat', 'minus s1', 'target', { axis: 0 }),
        node('Reshape', 'e target', 'out'),
      ],
      {
        inputs: { a: x('N', 'S') },
        constants: { c: floats([3]), second: ints(1), minus: ints(-1) },
      },
    ),
    /batch dimension of .* is unknown/,
  ],
  ...Object.fromEntries(
    ['linear', 'cubic'].map(mode => [
      `Resize of [N,W] (${mode}), which adds 0 times the next row`,
      [
        one('Resize', [x('N', 4), undefined, floats([2], 1, 2)], { attributes: { mode } }),
        /may interpolate between rows/,
      ] as const,
    ]),
  ),
  'Resize of [N,C,W], which is processed as one three-dimensional image': [
    one('Resize', [x('N', 2, 4), undefined, floats([3], 1, 1, 2)], {
      attributes: { mode: 'linear' },
    }),
    /may interpolate between rows/,
  ],
  'Upsample of [N,W]': [
    one('Upsample', [x('N', 4), floats([2], 1, 2)], { opset: 9, attributes: { mode: 'linear' } }),
    /may interpolate between rows/,
  ],
})

refuses('operators of transformers', {
  'Attention with the keys of one sequence for all rows': [
    one('Attention', [x('N', 2, 3, 4), floats([1, 2, 3, 4]), floats([1, 2, 3, 4])], { opset: 23 }),
    /input 1 is not batched/,
  ],
  'Attention whose heads are the batch': [
    graph(
      [node('Transpose', 'a', 't', { perm: [1, 0, 2, 3] }), node('Attention', 't t t', 'out')],
      { inputs: { a: x('N', 2, 3, 4) }, opset: 23 },
    ),
    /not dimension 0 of input 0/,
  ],
  'Attention with a mask [N,keys], whose first dimension is the queries': [
    one('Attention', [x('N', 2, 3, 4), x('N', 2, 3, 4), x('N', 2, 3, 4), x('N', 3)], { opset: 23 }),
    /mask depends on rows, but its shape/,
  ],
  'Attention with a constant mask for two rows': [
    one('Attention', [x('N', 2, 3, 4), x('N', 2, 3, 4), x('N', 2, 3, 4), floats([2, 1, 3, 3])], {
      opset: 23,
    }),
    /mask is a constant with several entries/,
  ],
  'RotaryEmbedding with the caches of one row': [
    one('RotaryEmbedding', [x('N', 2, 3, 4), floats([1, 3, 2]), floats([1, 3, 2])], { opset: 23 }),
    /input 1 is not batched/,
  ],
  'RotaryEmbedding with the positions of one row': [
    one(
      'RotaryEmbedding',
      [x('N', 2, 3, 4), floats([5, 2]), floats([5, 2]), constant('INT64', [1, 3], [0, 1, 2])],
      { opset: 23 },
    ),
    /input 3 is not batched/,
  ],
  'RMSNormalization along all dimensions': [
    one('RMSNormalization', [x('N', 3), floats([3])], { opset: 23, attributes: { axis: 0 } }),
    ALONG,
  ],
})

refuses('operators and shapes without a rule', {
  'an operator of com.microsoft without a rule': [
    one('FusedMatMul@com.microsoft', [x('N', 3), floats([3, 3])], { opset: MS }),
    /FusedMatMul, com\.microsoft 1\): there is no rule for this operator/,
  ],
  'an operator of another domain': [
    one('Relu@example.com', [x('N', 3)], { opset: { '': 17, 'example.com': 1 } }),
    /no rule/,
  ],
  'an opset that is newer than the rules': [
    one('Relu', [x('N', 3)], { opset: 99 }),
    /newer than 28/,
  ],
  'a domain whose opset is missing from the file': [
    one('Relu@example.com', [x('N', 3)]),
    /does not state the opset of this domain/,
  ],
  'an input with a fixed first dimension': [one('Relu', [x(1, 3)]), /fixed first dimension 1/],
  'an input without dimensions': [one('Relu', [x()]), /no first dimension/],
  'an output that is the same for all rows': [
    graph([node('Identity', 'c', 'out')], { constants: { c: floats([1, 4]) } }),
    /does not depend on rows/,
  ],
})
