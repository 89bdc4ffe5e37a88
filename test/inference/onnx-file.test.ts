import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type OnnxModel, readOnnxModel } from '../../function/inference/onnx-file.ts'
import { integer, message, text } from './batchability/onnx-writer.ts'

/*
 * Features of ONNX files that the models of other tests lack. Field numbers are those of
 * onnx.proto.
 */

const folder = mkdtempSync(join(tmpdir(), 'onnx-file-'))
after(() => rmSync(folder, { recursive: true }))

async function read(...fields: readonly Buffer[]): Promise<OnnxModel> {
  const path = join(folder, 'model.onnx')
  const bytes = Buffer.concat([integer(1, 10), ...fields])
  writeFileSync(path, bytes)
  const model = await readOnnxModel(path)
  assert.deepEqual(await readOnnxModel(bytes), model)
  return model
}

const [FP32, INT64] = [1, 7]
const tensor = message(1, integer(1, FP32))

for (const [what, type, expected] of [
  ['a tensor', tensor, { tensor: { element: FP32, dims: undefined } }],
  [
    'a sequence',
    message(4, message(1, tensor)),
    { sequence: { tensor: { element: FP32, dims: undefined } } },
  ],
  [
    'an optional',
    message(9, message(1, tensor)),
    { optional: { tensor: { element: FP32, dims: undefined } } },
  ],
  [
    'a map',
    message(5, Buffer.concat([integer(1, INT64), message(2, tensor)])),
    { map: { key: INT64, value: { tensor: { element: FP32, dims: undefined } } } },
  ],
  ['a sparse tensor', message(8, integer(1, FP32)), { sparse: FP32 }],
  ['an unknown type', message(6, Buffer.alloc(0)), {}],
  ['an optional without an element type', message(9, Buffer.alloc(0)), { optional: {} }],
] as const)
  test(`an input may be ${what}`, async () => {
    const input = Buffer.concat([text(1, 'x'), message(2, type)])
    const { graph } = await read(message(7, message(11, input)))
    assert.deepEqual(graph.inputs, [{ name: 'x', type: expected }])
  })

test('a sparse weight has the name of its values tensor, and its own dimensions', async () => {
  const values = Buffer.concat([integer(1, 2), integer(2, FP32), text(8, 'w')])
  const sparse = Buffer.concat([message(1, values), integer(3, 100), integer(3, 4)])
  const { graph } = await read(message(7, message(15, sparse)))
  assert.deepEqual(graph.initializers, [{ name: 'w', type: FP32, dims: [100, 4] }])
})

test("a function's attributes may have defaults", async () => {
  const attribute = Buffer.concat([text(1, 'axis'), integer(3, 2), integer(20, 2)])
  const { functions } = await read(message(7, text(2, 'g')), message(25, message(11, attribute)))
  assert.deepEqual(functions[0]?.defaults, new Map([['axis', { name: 'axis', number: 2 }]]))
})

test('a long list in an attribute is skipped, and the following fields are read', async () => {
  const values = Array.from({ length: 5_000 }, () => integer(8, 1))
  const long = Buffer.concat([text(1, 'nodes_values'), ...values, integer(20, 7)])
  const node = Buffer.concat([message(5, long), text(4, 'TreeEnsemble')])
  const { graph } = await read(message(7, message(1, node)))
  assert.deepEqual(graph.nodes[0]?.attributes.get('nodes_values'), {
    name: 'nodes_values',
    skipped: true,
  })
  assert.equal(graph.nodes[0]?.operator, 'TreeEnsemble')
})

test('truncated bytes are refused like a truncated file', async () => {
  const path = join(folder, 'truncated.onnx')
  const bytes = message(7, text(2, 'graph')).subarray(0, -1)
  writeFileSync(path, bytes)
  await assert.rejects(readOnnxModel(path), { message: 'the file is truncated' })
  await assert.rejects(readOnnxModel(bytes), { message: 'the file is truncated' })
})
