import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeTransform } from '../../function/transform/described.ts'

test('describes the schemas and functions of a transform as plain data', () => {
  const input = { type: 'object', examples: [new Date(0)] } as const
  const described = describeTransform({ input, output: true, postprocess: () => 1 })
  assert.deepEqual(structuredClone(described), {
    input: { type: 'object', examples: ['1970-01-01T00:00:00.000Z'] },
    output: true,
    preprocess: false,
    postprocess: true,
  })
  assert.deepEqual(describeTransform({}), { preprocess: false, postprocess: false })
})

test('rejects a schema that is not JSON with a one-line error', () => {
  const loop: { properties?: object } = {}
  loop.properties = { loop }
  assert.throws(() => describeTransform({ input: loop as object }), {
    message: 'the schema "input" is not valid JSON: Converting circular structure to JSON',
  })
  assert.throws(() => describeTransform({ output: { default: 1n } }), /^Error: the schema "output"/)
})
