import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Features, featuresByInput } from '../../function/inference/features.ts'
import type { TensorMetadata } from '../../function/protocol/tensor.ts'

const input = (name: string, shape: readonly number[], anyRank = false): TensorMetadata => ({
  name,
  datatype: 'FP32',
  shape,
  dimensionNames: shape.map(() => ''),
  anyRank,
})

describe('features of model.json', () => {
  const FIT: readonly (readonly [
    string,
    Features | undefined,
    readonly TensorMetadata[],
    object,
  ])[] = [
    ['may be absent', undefined, [input('x', [-1, 2])], {}],
    ['may be an array for the only input', ['a', 'b'], [input('x', [-1, 2])], { x: ['a', 'b'] }],
    [
      'may name some of several inputs',
      { y: ['a'] },
      [input('x', [-1, 2]), input('y', [-1, 1])],
      { y: ['a'] },
    ],
    ['may name a vector that has no rows', ['a', 'b'], [input('x', [2])], { x: ['a', 'b'] }],
    [
      'may be of any number where the graph leaves it open',
      ['a'],
      [input('x', [-1, -1])],
      { x: ['a'] },
    ],
    [
      'may be of any number where the graph has no shape',
      ['a'],
      [input('x', [-1], true)],
      { x: ['a'] },
    ],
  ]
  for (const [what, features, inputs, expected] of FIT)
    test(what, () => assert.deepEqual(featuresByInput(features, { inputs }), expected))

  const REFUSED: readonly (readonly [string, Features, readonly TensorMetadata[], string])[] = [
    [
      'more than there are elements',
      ['a', 'b', 'c'],
      [input('x', [-1, 2])],
      'input "x": 3 names, but the last dimension of [-1,2] has 2 elements',
    ],
    [
      'of an input that the model lacks',
      { z: ['a'] },
      [input('x', [-1, 1]), input('y', [-1, 1])],
      '"z" is not an input of the model; its inputs are "x", "y"',
    ],
    [
      'in an array where there are two inputs',
      ['a'],
      [input('x', [-1, 1]), input('y', [-1, 1])],
      'an array is for a model of one input, and this one has 2 ("x", "y"); give an object of input name to names',
    ],
    [
      'of rows',
      ['a'],
      [input('x', [-1])],
      'input "x": shape [-1] has only rows, and a row has no elements to name',
    ],
    [
      'of a scalar',
      ['a'],
      [input('x', [])],
      'input "x": a scalar has no last dimension to name the elements of',
    ],
  ]
  for (const [what, features, inputs, says] of REFUSED)
    test(`${what} are refused in one line`, () => {
      const message = `model.json: the features do not fit the model: ${says}`
      assert.throws(() => featuresByInput(features, { inputs }), { message })
    })
})
