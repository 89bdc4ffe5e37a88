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

describe('features in model.json', () => {
  const FIT: readonly (readonly [
    string,
    Features | undefined,
    readonly TensorMetadata[],
    object,
  ])[] = [
    ['features may be absent', undefined, [input('x', [-1, 2])], {}],
    [
      'features may be an array if the model has one input',
      ['a', 'b'],
      [input('x', [-1, 2])],
      { x: ['a', 'b'] },
    ],
    [
      'features may be defined for only some inputs',
      { y: ['a'] },
      [input('x', [-1, 2]), input('y', [-1, 1])],
      { y: ['a'] },
    ],
    [
      'features may name the elements of a vector without rows',
      ['a', 'b'],
      [input('x', [2])],
      { x: ['a', 'b'] },
    ],
    [
      'features may have any number of names for a variable dimension',
      ['a'],
      [input('x', [-1, -1])],
      { x: ['a'] },
    ],
    [
      'features may have any number of names for an input without a shape',
      ['a'],
      [input('x', [-1], true)],
      { x: ['a'] },
    ],
  ]
  for (const [what, features, inputs, expected] of FIT)
    test(`features ${what}`, () =>
      assert.deepEqual(featuresByInput(features, { inputs }), expected))

  const REFUSED: readonly (readonly [string, Features, readonly TensorMetadata[], string])[] = [
    [
      'with more names than elements',
      ['a', 'b', 'c'],
      [input('x', [-1, 2])],
      'input "x": there are 3 names, but the last dimension of [-1,2] has 2 elements',
    ],
    [
      'for an unknown input',
      { z: ['a'] },
      [input('x', [-1, 1]), input('y', [-1, 1])],
      '"z" is not an input of the model; its inputs are "x", "y"',
    ],
    [
      'in an array for a model with two inputs',
      ['a'],
      [input('x', [-1, 1]), input('y', [-1, 1])],
      'an array requires a model with one input, but this model has 2 inputs ("x", "y"); use an object that maps input names to arrays',
    ],
    [
      'for an input of rows without elements',
      ['a'],
      [input('x', [-1])],
      'input "x": shape [-1] has no dimension besides the rows, so there are no elements to name',
    ],
    [
      'for a scalar',
      ['a'],
      [input('x', [])],
      'input "x": the input is a scalar, which has no last dimension',
    ],
  ]
  for (const [what, features, inputs, says] of REFUSED)
    test(`features ${what} are rejected with a one-line message`, () => {
      const message = `model.json: the features do not match the model: ${says}`
      assert.throws(() => featuresByInput(features, { inputs }), { message })
    })
})
