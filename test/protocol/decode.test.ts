import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { decodeRequest } from '../../function/protocol/decode.ts'
import { BadRequest } from '../../function/protocol/errors.ts'
import type { Signature, TensorMetadata } from '../../function/protocol/tensor.ts'

const tensor = (name: string, dimensionNames: readonly string[]): TensorMetadata => ({
  name,
  datatype: 'FP32',
  shape: dimensionNames.map(() => -1),
  dimensionNames,
  anyRank: false,
})

const MODEL: Signature = { inputs: [tensor('x', ['n'])], outputs: [tensor('y', ['n'])] }

const X = { name: 'x', datatype: 'FP32', shape: [1], data: [1] }

const decode = (value: unknown, signature = MODEL, binary = Buffer.alloc(0)) => {
  const json = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  const jsonLength = binary.length === 0 ? undefined : json.length
  return decodeRequest(Buffer.concat([json, binary]), jsonLength, signature)
}

const refuses = (value: unknown, says: RegExp) =>
  assert.throws(
    () => decode(value),
    (error: Error) => error instanceof BadRequest && says.test(error.message),
  )

suite('null for an optional member', () => {
  const absent = decode({ inputs: [X] })
  for (const [what, request] of [
    ['id', { id: null, inputs: [X] }],
    ['parameters', { parameters: null, inputs: [X] }],
    ['outputs', { outputs: null, inputs: [X] }],
    ['a timeout', { parameters: { timeout: null }, inputs: [X] }],
    ['a flag', { parameters: { binary_data_output: null }, inputs: [X] }],
    ['an unknown parameter', { parameters: { mine: null }, inputs: [X] }],
    ['parameters of an input', { inputs: [{ ...X, parameters: null }] }],
    ['the size of binary data', { inputs: [{ ...X, parameters: { binary_data_size: null } }] }],
    ['parameters of an output', { inputs: [X], outputs: [{ name: 'y', parameters: null }] }],
    [
      'a parameter of an output',
      { inputs: [X], outputs: [{ name: 'y', parameters: { binary_data: null } }] },
    ],
  ] as const)
    test(`treats null as absent for ${what}`, () => assert.deepEqual(decode(request), absent))

  test('treats null as absent for data if the input is binary', () => {
    const input = { ...X, data: null, parameters: { binary_data_size: 4 } }
    const { inputs } = decode({ inputs: [input] }, MODEL, Buffer.from([0, 0, 0x80, 0x3f]))
    assert.deepEqual([...(inputs[0]?.data ?? [])], [1])
  })
})

suite('null for a required member', () => {
  for (const [what, request, says] of [
    ['inputs', { inputs: null }, /^inputs is null; it must be an array/],
    ['an input', { inputs: [null] }, /^inputs\[0\] is null/],
    ['a name', { inputs: [{ ...X, name: null }] }, /name is null/],
    ['a shape', { inputs: [{ ...X, shape: null }] }, /shape is null/],
    ['a datatype', { inputs: [{ ...X, datatype: null }] }, /datatype is null/],
    ['data', { inputs: [{ ...X, data: null }] }, /neither data nor/],
    ['an element', { inputs: [{ ...X, data: [null] }] }, /data\[0\] is null; FP32 accepts .*"NaN"/],
    ['an output', { inputs: [X], outputs: [null] }, /^outputs\[0\] is null/],
  ] as const)
    test(`rejects null for ${what}`, () => refuses(request, says))
})

suite('a bare NaN or infinity in JSON', () => {
  const written = (data: string) =>
    `{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":${data}}]}`
  const WRITE = /not valid JSON.*send the strings "NaN", "Infinity" or "-Infinity"$/
  for (const number of ['NaN', 'Infinity', '-Infinity']) {
    test(`rejects a bare ${number} with an explanation`, () =>
      refuses(written(`[1, ${number}]`), WRITE))
    test(`rejects a bare ${number} in a large body with an explanation`, () =>
      refuses(written(`[1, ${number}]${' '.repeat(200_000)}`), WRITE))
  }
  test('rejects a bare word other than NaN and Infinity without suggesting these strings', () =>
    assert.throws(
      () => decode(written('[1, None]')),
      ({ message }: Error) => /not valid JSON/.test(message) && !/send the strings/.test(message),
    ))
})

suite('a request that this server would misread', () => {
  const region = { shared_memory_region: 'r', shared_memory_byte_size: 4 }
  for (const [what, request, says] of [
    ['an input in shared memory', { inputs: [{ ...X, parameters: region }] }, /binary tensor data/],
    [
      'an output in shared memory',
      { inputs: [X], outputs: [{ name: 'y', parameters: region }] },
      /^output "y": parameters\.shared_memory_region: this server does not share memory/,
    ],
    [
      'data in base64, as some other servers accept it',
      { inputs: [{ ...X, parameters: { content_type: 'base64' } }] },
      /^input "x": parameters\.content_type is "base64", which .*; send and request binary/,
    ],
    [
      'an output requested in base64',
      { inputs: [X], outputs: [{ name: 'y', parameters: { content_type: 'base64' } }] },
      /^output "y": parameters\.content_type is "base64"/,
    ],
  ] as const)
    test(`rejects ${what} and names the alternative`, () => refuses(request, says))
  test('accepts a content_type parameter other than base64', () =>
    assert.equal(
      decode({ inputs: [{ ...X, parameters: { content_type: 'np' } }] }).inputs.length,
      1,
    ))
})

suite('dimensions', () => {
  const both = (first: string, second: string) => {
    const signature = { inputs: [tensor('a', [first]), tensor('b', [second])], outputs: [] }
    const inputs = [
      { ...X, name: 'a' },
      { ...X, name: 'b', shape: [2], data: [1, 2] },
    ]
    return () => decode({ inputs }, signature)
  }
  for (const name of ['?', '', ' ', '\t'])
    test(`accepts dimensions of different sizes that are both called ${JSON.stringify(name)}`, () =>
      assert.equal(both(name, name)().inputs.length, 2))
  test('accepts dimensions of different sizes in one input that are both called "?"', () => {
    const signature = { inputs: [tensor('x', ['?', '?'])], outputs: [] }
    decode({ inputs: [{ ...X, shape: [1, 2], data: [1, 2] }] }, signature)
  })
  for (const name of ['n', '?n', 'unk__1'])
    test(`rejects dimensions of different sizes that are both called ${JSON.stringify(name)}`, () =>
      assert.throws(both(name, name), /must be equal/))
})
