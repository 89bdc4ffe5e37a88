import assert from 'node:assert/strict'
import { test } from 'node:test'
import { floats, graph, input, ints, node, one, open, x } from './batchability/models.ts'
import type { WrittenModel } from './batchability/onnx-writer.ts'

async function runEmpty(model: WrittenModel, shape: readonly number[]) {
  const session = await open(model)
  try {
    const names = session.signature.outputs.map(({ name }) => name)
    const empty = { name: 'a', datatype: 'FP32', shape, data: new Float32Array(0) } as const
    const [first] = await session.run([empty], names)
    return first?.shape
  } finally {
    await session.close()
  }
}

const weights = [floats([1, 24, 4]), floats([1, 24, 8])]

/** ONNX Runtime would end this process. */
const CRASHES: Readonly<Record<string, readonly [WrittenModel, number[]]>> = {
  TopK: [
    one('TopK', [x('N', 4), ints(2)], { outputs: [x('N', 2), input('INT64', 'N', 2)] }),
    [0, 4],
  ],
  GRU: [
    one('GRU', [x('T', 'N', 4), ...weights], {
      attributes: { hidden_size: 8 },
      outputs: [x('T', 1, 'N', 8)],
    }),
    [0, 1, 4],
  ],
  ConvTranspose: [
    one('ConvTranspose', [x('N', 1, 'W'), floats([1, 1, 3])], {
      attributes: { strides: [3], dilations: [2] },
      outputs: [x('N', 1, '?')],
    }),
    [1, 1, 0],
  ],
}

for (const [operator, [model, shape]] of Object.entries(CRASHES))
  test(`an empty tensor for ${operator} is refused`, async () => {
    await assert.rejects(runEmpty(model, shape), {
      code: 'BAD_REQUEST',
      message: new RegExp(`^input "a" has shape \\[${shape}\\] .* model's ${operator} may not`),
    })
  })

test('an empty tensor is refused if an inner graph contains such an operator', async () => {
  const branch = (operator: string) => ({
    nodes: [node(operator, 'a', 'inner')],
    inputs: {},
    outputs: { inner: x('N', '?') },
  })
  const model = graph(
    [node('If', 'yes', 'out', { then_branch: branch('Relu'), else_branch: branch('Mish') })],
    { constants: { yes: { type: 'BOOL', shape: [], values: [1] } }, opset: 18 },
  )
  assert.deepEqual(await runEmpty(model, [0, 4]), [0, 4])
  const unsafe = graph(
    [node('If', 'yes', 'out', { then_branch: branch('Relu'), else_branch: branch('Det') })],
    { constants: { yes: { type: 'BOOL', shape: [], values: [1] } }, inputs: { a: x('N', 3, 3) } },
  )
  await assert.rejects(runEmpty(unsafe, [0, 3, 3]), /model's Det may not/)
})

test('an empty batch returns empty outputs from other models', async () => {
  assert.deepEqual(await runEmpty(one('Softmax', [x('N', 4)]), [0, 4]), [0, 4])
})
