import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { DOMAINS } from '../../function/inference/batchability/rules/table.ts'
import { checkGraph, PLAIN } from '../../function/inference/graph-check.ts'
import { BY_SHAPES, BY_VALUES } from '../../function/inference/value-dependence.ts'
import { floats, graph, input, int, ints, node, one, write, x } from './batchability/models.ts'
import type { WrittenModel } from './batchability/onnx-writer.ts'

const check = (model: WrittenModel) => checkGraph(write(model))
const sent = input('INT64', 'k')
const body = { nodes: [], inputs: {}, outputs: {} }

suite('run times that depend on input values', () => {
  for (const [name, model, reason] of [
    [
      'Loop',
      one('Loop', [input('INT64'), undefined, x(4)], { attributes: { body } }),
      /iterations/,
    ],
    [
      'Loop with a fixed count',
      one('Loop', [int(3), undefined, x(4)], { attributes: { body } }),
      /iterations/,
    ],
    ['Scan', one('Scan', [x('N', 4)], { attributes: { num_scan_inputs: 1, body } }), /iterations/],
    [
      'If',
      one('If', [input('BOOL')], { attributes: { then_branch: body } }),
      /determines which branch/,
    ],
    ['Tile', one('Tile', [x('N', 4), sent]), /input "b" sets a size/],
    ['Range', one('Range', [int(0), input('INT64'), int(1)]), /input "b"/],
    ['Resize', one('Resize', [x('N', 4), undefined, undefined, sent]), /input "d"/],
    ['Expand', one('Expand', [x('N', 4), sent]), /input "b"/],
    ['ConstantOfShape', one('ConstantOfShape', [sent]), /input "a"/],
    ['Reshape', one('Reshape', [x('N', 4), sent]), /input "b"/],
    ['Pad', one('Pad', [x('N', 4), sent]), /input "b"/],
    ['DFT', one('DFT', [x('N', 4, 1), input('INT64')]), /input "b"/],
    ['ReduceSum', one('ReduceSum', [x('N', 4), sent]), /input "b"/],
    ['RoiAlign', one('RoiAlign', [x(1, 1, 4, 4), x('N', 4), ints(0)]), /input "b"/],
    ['NonZero', one('NonZero', [x('N', 4)]), /output size depends/],
    ['an unknown operator', one('Whatever@com.example', [x('N', 4)]), /may depend on input values/],
  ] as const) {
    test(`finds a run time that depends on input values in ${name}`, async () => {
      const { byValues } = await check(model)
      assert.match(byValues ?? 'undefined', /^node "\w+ of out0" \(/)
      assert.match(byValues ?? '', reason)
    })
  }

  test('finds sizes that depend on values through other nodes, random numbers or functions in the file', async () => {
    const tile = node('Tile', 'a size', 'out')
    const through = [node('Cast', 'a', 'b', { to: 7 }), node('Mul', 'b b', 'size'), tile]
    assert.match((await check(graph(through))).byValues ?? '', /of out" \(Tile\).*"size"/)
    const random = [
      node('RandomUniform', '', 'r', { shape: [2] }),
      node('Cast', 'r', 'size', { to: 7 }),
      tile,
    ]
    assert.match((await check(graph(random))).byValues ?? '', /of out" \(Tile\)/)
    const own = { name: 'Own', domain: 'own', inputs: ['p'], outputs: ['q'], opset: 17 }
    const called = (nodes: readonly ReturnType<typeof node>[], call: ReturnType<typeof node>[]) =>
      check(graph(call, { functions: [{ ...own, nodes }], opset: { '': 17, own: 1 } }))
    const inside = await called([node('Range', 'p p p', 'q')], [node('Own@own', 'a', 'out')])
    assert.match(inside.byValues ?? '', /of q" \(Range\)/)
    const after = await called([node('Abs', 'p', 'q')], [node('Own@own', 'a', 'size'), tile])
    assert.match(after.byValues ?? '', /of out" \(Tile\)/)
    const not = await called([node('Shape', 'p', 'q')], [node('Own@own', 'a', 'size'), tile])
    assert.equal(not.byValues, undefined)
  })

  test('assumes a dependence on values for an unknown opset, and for a file that only ONNX Runtime can read', async () => {
    const newer = one('Abs', [x('N', 4)], { opset: { '': 17, 'ai.onnx.ml': 99 } })
    const nodes = [...newer.nodes, node('Add', 'a a', 'b')]
    assert.match(
      (await check({ ...newer, nodes })).byValues ?? '',
      /opset 99 of ai.onnx.ml is newer/,
    )
    const file = write(one('Abs', [x('N', 4)]))
    // Protobuf readers skip a group (field 100).
    appendFileSync(file, Buffer.from([0xa3, 0x06, 0xa4, 0x06]))
    assert.match((await checkGraph(file)).byValues ?? '', /cannot be read/)
  })
})

suite('run times that depend only on shapes', () => {
  for (const [name, model] of [
    ['sizes are constants', one('Tile', [x('N', 4), ints(1, 2)])],
    ['sizes are shapes of tensors', graph([node('Shape', 'a', 's'), node('Expand', 'a s', 'out')])],
    [
      'sizes are computed from shapes',
      graph([
        node('Shape', 'a', 's'),
        node('Mul', 's s', 't'),
        node('ConstantOfShape', 't', 'out'),
      ]),
    ],
    [
      'sizes are initialisers that old files also list as inputs',
      graph([node('Tile', 'a size', 'out')], {
        constants: { size: ints(1, 2) },
        inputs: { a: x('N', 4), size: input('INT64', 2) },
      }),
    ],
    ['values are only data', one('Gather', [x('N', 4), sent])],
  ] as const) {
    test(`accepts a graph in which ${name}`, async () => {
      assert.deepEqual(await check(model), {
        isPlain: false,
        byValues: undefined,
        sizesByValues: undefined,
      })
    })
  }

  test('marks graphs of plain operators, whose run time is proportional to the number of elements', async () => {
    assert.deepEqual(await checkGraph('models/iris/v1.0.0/model.onnx'), {
      isPlain: true,
      byValues: undefined,
      sizesByValues: undefined,
    })
    assert.equal((await check(one('Abs', [x('N', 4)]))).isPlain, true)
  })
})

/** The body returns the first state as the second, which determines whether the loop continues. */
const endsByState = (first: string) =>
  node('Loop', `times - ${first} table`, 'b out', {
    body: {
      nodes: [
        node('Identity', 'v', 'next'),
        node('ReduceMax', 'w', 'most', { keepdims: 0 }),
        node('Cast', 'most', 'on', { to: 9 }),
      ],
      inputs: { i: input('INT64'), go: input('BOOL'), v: x('N', 4), w: x('N', 4) },
      outputs: { on: input('BOOL'), v: x('N', 4), next: x('N', 4) },
    },
  })
const counts = { constants: { times: int(3), table: floats([4, 4]) } }
const tiling = { nodes: [node('Tile', 'a k', 't')], inputs: {}, outputs: { t: x('N', '?') } }
const texts = { inputs: { a: input('BYTES', 'N') } }
const choice = [
  node('Shape', 'a', 's'),
  node('ReduceMax', 's', 'size', { keepdims: 0 }),
  node('Cast', 'size', 'c', { to: 9 }),
]
const ifElse = node('If', 'c', 'out', { then_branch: tiling, else_branch: tiling })

suite('run memory that shapes limit, although run times depend on values', () => {
  for (const [name, model] of [
    ['a Loop with a fixed count', graph([endsByState('table')], counts)],
    [
      'a Scan',
      graph([
        node('Scan', 'a', 'out', {
          num_scan_inputs: 1,
          body: { nodes: [node('Abs', 'v', 'w')], inputs: { v: x(4) }, outputs: { w: x(4) } },
        }),
      ]),
    ],
    [
      'an If with a condition on a shape',
      graph([...choice, ifElse], { constants: { k: ints(1, 2) } }),
    ],
    ['normalised texts', graph([node('StringNormalizer', 'a', 'out')], texts)],
    ['words of texts', graph([node('Tokenizer@com.microsoft', 'a', 'out')], texts)],
  ] as const) {
    test(`accepts the run memory of ${name}`, async () => {
      const { byValues, sizesByValues } = await check(model)
      assert.match(byValues ?? 'undefined', /^node "/)
      assert.equal(sizesByValues, undefined)
    })
  }
})

suite('run memory that depends on input values', () => {
  for (const [name, model, reason] of [
    [
      'a Loop whose count is an input value',
      one('Loop', [input('INT64'), undefined, x(4)], { attributes: { body } }),
      /\(Loop\): input "a" sets the number of iterations/,
    ],
    [
      'a Loop that ends because of a state that contained an input value two iterations before',
      graph([endsByState('a')], counts),
      /\(Loop\): "on" determines when the loop ends/,
    ],
    [
      'a Tile in a branch that depends on a shape',
      graph([...choice, ifElse], { inputs: { a: x('N', 4), k: input('INT64', 2) } }),
      /of t" \(Tile\)/,
    ],
    [
      'an If with a condition on an input value',
      graph([ifElse], {
        constants: { k: ints(1, 2) },
        inputs: { a: x('N', 4), c: input('BOOL') },
      }),
      /\(If\)/,
    ],
    [
      'a size that is the number of remaining texts',
      graph(
        [
          node('StringNormalizer', 'a', 'b'),
          node('Shape', 'b', 's'),
          node('ConstantOfShape', 's', 'out'),
        ],
        texts,
      ),
      /\(ConstantOfShape\): input "s"/,
    ],
    ['NonZero', one('NonZero', [x('N', 4)]), /output size depends/],
  ] as const) {
    test(`finds run memory that depends on input values in ${name}`, async () => {
      assert.match((await check(model)).sizesByValues ?? 'undefined', reason)
    })
  }
})

test('the graph check covers every operator for which the batch proof has a rule', () => {
  for (const [domain, { rules }] of Object.entries(DOMAINS))
    for (const operator of Object.keys(rules))
      assert.ok(
        BY_SHAPES[domain]?.has(operator) || operator in BY_VALUES,
        `${domain}.${operator} is neither in BY_SHAPES nor in BY_VALUES`,
      )
  for (const [domain, operators] of Object.entries(PLAIN))
    for (const operator of operators) assert.ok(BY_SHAPES[domain]?.has(operator), operator)
})
