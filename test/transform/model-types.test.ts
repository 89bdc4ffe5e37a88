import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openSession } from '../../function/inference/session.ts'
import { modelTypes, modelTypesFile } from '../../function/transform/model-types.ts'

const fileOf = (path: string) => new URL(path, import.meta.url)

test('always writes the same bytes for the types of a model', async () => {
  const model = fileOf('../../models/iris/v2.0.0/model.onnx').pathname
  const written = readFileSync(fileOf('types/iris.d.onnx.ts'), 'utf8')
  for (let time = 0; time < 2; time++) {
    const session = await openSession(model, 1)
    await session.close()
    assert.equal(modelTypes(session.signature, 'iris.onnx'), written)
  }
})

test('the file has the name that TypeScript expects', () => {
  assert.equal(modelTypesFile('model.onnx'), 'model.d.onnx.ts')
  assert.equal(modelTypesFile('a.onnx.b.onnx'), 'a.onnx.b.d.onnx.ts')
})

test('quotes a name that is not an identifier, and labels a dimension if its name can be a label', () => {
  const input = { datatype: 'INT64', anyRank: false } as const
  const inputs = [
    { ...input, name: "it's", shape: [-1, 3, -1], dimensionNames: ['batch', '', 'a b'] },
    { ...input, name: 'any', shape: [-1], dimensionNames: [''], anyRank: true },
  ]
  assert.equal(
    modelTypes({ inputs, outputs: [] }, 'm.onnx').split('\n').slice(2).join('\n'),
    `export interface Model {
  inputs: {
    'it\\'s': { datatype: 'INT64'; shape: [batch: number, 3, number] }
    any: { datatype: 'INT64'; shape: number[] }
  }
  outputs: {}
}
`,
  )
})
