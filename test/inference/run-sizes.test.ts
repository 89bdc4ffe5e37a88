import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { RunSizes } from '../../function/inference/run-sizes.ts'
import type { Signature, Tensor } from '../../function/protocol/tensor.ts'

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

/** With a budget of 100 MiB. The test sets the native memory. */
function open(input: Dimensions, output: Dimensions, areRowsIndependent = true) {
  const native = { bytes: 0 }
  const sizes = new RunSizes(signatureOf(input, output), 100 * MIB, () => native.bytes)
  sizes.areRowsIndependent = areRowsIndependent
  const ran = (inputs: Tensor, outputs: Tensor, mebibytes = 0) => {
    native.bytes = mebibytes * MIB
    sizes.ran([inputs], [outputs])
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
