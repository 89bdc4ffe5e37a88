import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { exampleInputs } from '../../function/inference/example.ts'
import { readSample } from '../../function/inference/sample.ts'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import type { Signature } from '../../function/protocol/tensor.ts'

const folder = mkdtempSync(join(tmpdir(), 'sample-'))
after(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'model.json')

const taking = (datatype: Datatype, shape: readonly number[]): Signature => ({
  inputs: [{ name: 'x', datatype, shape, dimensionNames: shape.map(() => ''), anyRank: false }],
  outputs: [],
})

const PICTURE = taking('FP32', [-1, 3, 224, 224])

const inputOf = (x: unknown, signature = PICTURE) =>
  exampleInputs(signature, readSample({ x }, path))[0]

suite('inputs in a sample', () => {
  test('a sample input may be a shape with one value for all elements', () => {
    const x = inputOf({ shape: [1, 3, 224, 224], fill: 0.5 })
    assert.deepEqual(x?.shape, [1, 3, 224, 224])
    assert.deepEqual(x?.data, new Float32Array(3 * 224 * 224).fill(0.5))
  })

  test('a sample input may be a shape with one text for all elements', () =>
    assert.deepEqual(inputOf({ shape: [2], fill: 'good' }, taking('BYTES', [-1]))?.data, [
      'good',
      'good',
    ]))

  test('a sample input may be a shape with a file of little-endian elements beside model.json', () => {
    writeFileSync(join(folder, 'x.bin'), Buffer.from(new Uint16Array([1, 2, 65_535]).buffer))
    const x = inputOf({ shape: [1, 3], file: 'x.bin' }, taking('UINT16', [-1, 3]))
    assert.deepEqual([...(x?.data ?? [])], [1, 2, 65_535])
  })

  test('a sample input may be a shape while another input is JSON data', () => {
    const { inputs } = taking('FP32', [-1])
    const [x] = inputs
    const signature = {
      inputs: [x as never, { ...(x as object), name: 'y' } as never],
      outputs: [],
    }
    const both = exampleInputs(
      signature,
      readSample({ x: [1, 2], y: { shape: [3], fill: 4 } }, path),
    )
    assert.deepEqual(
      both.map(({ data }) => [...data]),
      [
        [1, 2],
        [4, 4, 4],
      ],
    )
  })

  for (const [what, input, says] of [
    ['if the shape is missing', { fill: 1 }, /the sample's "x" has no valid shape/],
    [
      'if the shape contains text',
      { shape: ['1'], fill: 1 },
      /has no valid shape; a shape must be an array of/,
    ],
    ['if fill and file are both missing', { shape: [1] }, /must also have either fill .* or file$/],
    ['if fill and file are both present', { shape: [1], fill: 1, file: 'x' }, /either fill/],
    ['if the file is missing', { shape: [1], file: 'no' }, /is in no, which .*\(ENOENT\)$/],
    [
      'if fill has the wrong type',
      { shape: [1, 3, 224, 224], fill: 'a' },
      /fill is "a"; FP32 accepts/,
    ],
    [
      'if the shape does not match the model',
      { shape: [1, 4], fill: 1 },
      /shape \[1,4\] has the wrong number of dimensions; the model/,
    ],
    [
      'if the shape has too many elements',
      { shape: [2 ** 40], fill: 1 },
      /has 1099511627776 elements/,
    ],
  ] as const)
    test(`a sample input is rejected ${what}`, () => assert.throws(() => inputOf(input), says))

  test('a sample input is rejected if the file does not have the size of the shape', () => {
    writeFileSync(join(folder, 'short.bin'), Buffer.alloc(4))
    const input = { shape: [1, 3, 224, 224], file: 'short.bin' }
    assert.throws(() => inputOf(input), /needs 602112 bytes of binary data; got 4/)
  })
})
