import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { nativeBytes, PLAIN_BYTES, RunSizes } from '../../function/inference/run-sizes.ts'
import type { Signature, Tensor } from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'

const MIB = 2 ** 20
const wanted = [{ name: 'y', binary: true }]

type Dimensions = readonly (number | string)[]

function signatureOf(input: Dimensions, output: Dimensions): Signature {
  const describe = (name: string, dims: Dimensions) => ({
    name,
    datatype: 'FP32' as const,
    shape: dims.map(dim => (typeof dim === 'number' ? dim : -1)),
    dimensionNames: dims.map(dim => (typeof dim === 'number' ? '' : dim)),
    anyRank: false,
  })
  return { inputs: [describe('x', input)], outputs: [describe('y', output)] }
}

const tensor = (name: string, ...shape: number[]): Tensor => ({
  name,
  datatype: 'FP32',
  shape,
  data: new Float32Array(shape.reduce((product, size) => product * size, 1)),
})

/** Creates run sizes with a budget of 100 MiB. The test sets the native memory. */
function open(input: Dimensions, output: Dimensions, areRowsIndependent = true) {
  const native = { bytes: 0 }
  const sizes = new RunSizes(signatureOf(input, output), 100 * MIB, () => native.bytes)
  sizes.areRowsIndependent = areRowsIndependent
  const ran = (inputs: Tensor, outputs: Tensor, mebibytes = 0, threadMs = Infinity) => {
    native.bytes = mebibytes * MIB
    sizes.ran([inputs], [outputs], threadMs)
  }
  return { sizes, ran }
}

suite('sizes of outputs', () => {
  test('before any run, the output size is the size that the graph declares', () => {
    const { sizes } = open(['N', 4], ['N', 3, 1024, 1024])
    const size = 3 * 1024 * 1024
    assert.deepEqual(sizes.outputsOf([tensor('x', 2, 4)], wanted), [
      { elements: 2 * size, bytes: 8 * size },
    ])
  })

  test('the output size depends on every symbolic dimension of the inputs', () => {
    const { sizes } = open(['N', 'height', 'width'], ['N', 'width', 'height', 2])
    assert.deepEqual(sizes.outputsOf([tensor('x', 1, 3, 5)], wanted), [
      { elements: 30, bytes: 120 },
    ])
  })

  for (const symbol of ['other', '?', '', ' ']) {
    test(`the output size is unknown for the symbolic dimension "${symbol}" until a run has ended`, () => {
      const { sizes, ran } = open(['N', symbol === 'other' ? 4 : symbol], ['N', symbol])
      assert.equal(sizes.outputsOf([tensor('x', 3, 4)], wanted), undefined)
      ran(tensor('x', 1, 4), tensor('y', 1, 7))
      assert.deepEqual(sizes.outputsOf([tensor('x', 3, 4)], wanted), [{ elements: 21, bytes: 84 }])
    })
  }

  test('the output size is learned for each shape of a row', () => {
    const { sizes, ran } = open(['N', 'a'], ['N', 'b'])
    ran(tensor('x', 1, 4), tensor('y', 1, 7))
    assert.equal(sizes.outputsOf([tensor('x', 1, 5)], wanted), undefined)
  })

  test('the output size is known only for the same number of rows if rows may depend on each other', () => {
    const { sizes, ran } = open(['N', 4], ['M', 4], false)
    ran(tensor('x', 2, 4), tensor('y', 4, 4))
    assert.deepEqual(sizes.outputsOf([tensor('x', 2, 4)], wanted), [{ elements: 16, bytes: 64 }])
    assert.equal(sizes.outputsOf([tensor('x', 3, 4)], wanted), undefined)
  })

  test('the output size is no longer read from the graph after an output exceeded its declared size', () => {
    const { sizes, ran } = open(['N', 'a'], ['N', 2])
    ran(tensor('x', 1, 4), tensor('y', 1, 3))
    assert.deepEqual(sizes.outputsOf([tensor('x', 1, 4)], wanted), [{ elements: 3, bytes: 12 }])
    assert.equal(sizes.outputsOf([tensor('x', 1, 5)], wanted), undefined)
  })
})

suite('sizes of outputs that depend on values', () => {
  const text = (length: number): Tensor => ({
    name: 'y',
    datatype: 'BYTES',
    shape: [1, 1],
    data: ['a'.repeat(length)],
  })
  for (const [what, large, small, followShapes] of [
    ['a large output', tensor('y', 1, MIB), tensor('y', 1, 1), false],
    ['a long text', text(MIB), text(1), true],
  ] as const)
    for (const areRowsIndependent of [true, false])
      test(`${what} of one caller is no longer expected after 20 small outputs, if rows are ${areRowsIndependent ? '' : 'not '}independent`, () => {
        const { inputs, outputs } = signatureOf(['N', 4], ['N', 'a'])
        const { datatype } = large
        const signature = { inputs, outputs: outputs.map(output => ({ ...output, datatype })) }
        const sizes = new RunSizes(signature, 100 * MIB, () => 0)
        Object.assign(sizes, { areRowsIndependent, followShapes })
        const row = [tensor('x', 1, 4)]
        sizes.ran(row, [large])
        assert.ok((sizes.outputsOf(row, wanted)?.[0]?.bytes as number) >= 2 * MIB)
        assert.equal(sizes.isPlain(row), false)
        for (let i = 0; i < 20; i++) sizes.ran(row, [small])
        assert.ok((sizes.outputsOf(row, wanted)?.[0]?.bytes as number) <= PLAIN_BYTES)
        assert.equal(sizes.isPlain(row), true)
      })
})

suite('numbers of rows', () => {
  test('a run has one row until a run with rows of this shape has ended', () => {
    const { sizes } = open(['N', 4], ['N', 4])
    assert.equal(sizes.mostRows([tensor('x', 9, 4)]), 1)
  })

  test('the number of rows is limited by the memory for two copies of the outputs', () => {
    const { sizes, ran } = open(['N', 4], ['N', MIB])
    ran(tensor('x', 1, 4), tensor('y', 1, MIB))
    // Each row has an output of 4 MiB.
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), Math.floor(100 / 8))
  })

  test('the number of rows is limited by native memory, which larger runs measure more precisely', () => {
    const { sizes, ran } = open(['N', 4], ['N', 1])
    // ONNX Runtime's overhead is 20 of these 30 MiB.
    ran(tensor('x', 1, 4), tensor('y', 1, 1), 30)
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), 3)
    ran(tensor('x', 3, 4), tensor('y', 3, 1), 50)
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), 6)
    ran(tensor('x', 6, 4), tensor('y', 6, 1), 80)
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), 7)
  })

  test('the number of rows increases after native memory has been released', () => {
    const { sizes, ran } = open(['N', 4], ['N', 1])
    ran(tensor('x', 1, 4), tensor('y', 1, 1), 90)
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), 1)
    ran(tensor('x', 1, 4), tensor('y', 1, 1), 10)
    assert.equal(sizes.mostRows([tensor('x', 1, 4)]), 10)
  })

  test('a run never exceeds the budget, whatever the memory per row and the order of runs', () => {
    for (const [fixed, row] of [
      [0, 1],
      [20, 1],
      [5, 33],
      [60, 13],
    ] as const) {
      const { sizes, ran } = open(['N', 4], ['N', 1])
      let arena = 0
      for (const asked of [1, 2, 500, 3, 500, 40, 500, 500]) {
        const rows = Math.min(asked, sizes.mostRows([tensor('x', 1, 4)]))
        const takes = fixed + row * rows
        if (rows > 1) assert.ok(takes <= 100, `${takes} MiB with ${rows} rows`)
        arena = Math.max(arena, takes)
        ran(tensor('x', rows, 4), tensor('y', rows, 1), arena)
      }
    }
  })
})

/** Returns a function that runs rows of the shape [d] in native memory that has grown to 300 MiB. */
function afterLargeCaller() {
  const { sizes, ran } = open(['N', 'd'], ['N', 1])
  ran(tensor('x', 1, 16), tensor('y', 1, 1), 2)
  ran(tensor('x', 50, 16), tensor('y', 50, 1), 10)
  ran(tensor('x', 1, 4000), tensor('y', 1, 1), 300)
  return (d: number, threadMs?: number) => {
    const rows = sizes.mostRows([tensor('x', 1, d)])
    ran(tensor('x', rows, d), tensor('y', rows, 1), 300, threadMs)
    return sizes.mostRows([tensor('x', 1, d)])
  }
}

suite('numbers of rows after another caller’s large requests', () => {
  test('a shape that is at most as large as a known shape may have as many rows', () => {
    assert.equal(afterLargeCaller()(9), 500)
  })

  test('a shape that is a little larger than a known shape may have almost as many rows', () => {
    assert.equal(afterLargeCaller()(17), Math.floor(500 / (17 / 16) ** 4))
  })

  test('a much larger shape has one row, because it may need all the memory of the large run', () => {
    assert.equal(afterLargeCaller()(64), 1)
  })

  test('short runs of a shape raise its number of rows, because they cannot have written much', () => {
    const run = afterLargeCaller()
    const short = [run(64, 0.02), run(64, 0.04), run(64, 0.05)]
    assert.ok((short[0] as number) > 1 && (short[2] as number) > 100, short.join())
  })

  test('a bound that allows only one row does not replace a useful bound', () => {
    const { sizes, ran } = open(['N', 'd'], ['N', 1])
    ran(tensor('x', 1, 16), tensor('y', 1, 1), 2)
    for (let d = 1_001; d <= 2_100; d++) ran(tensor('x', 1, d), tensor('y', 1, 1), 300)
    assert.equal(sizes.mostRows([tensor('x', 1, 16)]), 50)
  })
})

test('a run with several rows never exceeds the budget, whatever other callers send', () => {
  const upTo = (max: number) => fc.integer({ min: 1, max })
  const exponents = [0, 1, 2, 3, 4].flatMap(a => [0, 1, 2, 3, 4].map(b => [a, b] as const))
  const term = fc.record({
    per: fc.constantFrom('run', 'row'),
    bytes: fc.oneof(upTo(10), upTo(4_000)),
    powers: fc.constantFrom(...exponents.filter(([a, b]) => a + b <= 4)),
  })
  const step = fc.record({
    dims: fc.tuple(upTo(40), upTo(40)),
    rows: upTo(300),
    // Memory of bodies and V8, which never falls.
    others: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, MIB, 300 * MIB),
    slowness: fc.constantFrom(1, 10, 1_000),
  })
  const fixed = fc.oneof(upTo(MIB), upTo(150 * MIB))
  const model = fc.record({ fixed, terms: fc.array(term, { maxLength: 3 }) })
  const property = fc.property(model, fc.array(step, { maxLength: 60 }), (graph, steps) => {
    const { sizes, ran } = open(['N', 'a', 'b'], ['N', 1])
    let arena = 0
    let others = 0
    for (const { dims, rows, slowness, ...step } of steps) {
      const [a, b] = dims
      others += step.others
      const size = { run: graph.fixed, row: 0 }
      for (const { per, bytes, powers } of graph.terms)
        size[per] += bytes * a ** powers[0] * b ** powers[1]
      for (let left = rows; left > 0; ) {
        const now = Math.min(left, sizes.mostRows([tensor('x', 1, a, b)]))
        const used = size.run + now * size.row
        if (now > 1) assert.ok(used <= 100 * MIB, `${used} bytes with ${now} rows of ${dims}`)
        arena = Math.max(arena, used)
        const threadMs = (slowness * used) / 160e6
        ran(tensor('x', now, a, b), tensor('y', now, 1), (arena + others) / MIB, threadMs)
        left -= now
      }
    }
  })
  fc.assert(property, runs(1_000))
})

test('memory that is allocated for a body that has not arrived yet does not hide a run’s memory', () => {
  const before = nativeBytes()
  const buffer = Buffer.allocUnsafeSlow(256 * MIB)
  buffer.fill(1, 0, 128 * MIB)
  const after = nativeBytes()
  assert.ok(after > before - 32 * MIB, `${after} bytes after ${before} bytes`)
})
