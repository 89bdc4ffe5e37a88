import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Server, startServer, testModel } from '../server.ts'
import { binaryOutputs } from '../tensors.ts'

let server: Server
let zipped: Server
before(async () => {
  server = await startServer()
  zipped = await startServer({ MODEL_DIR: testModel('zipmap') })
})
after(() => Promise.all([server.stop(), zipped.stop()]))

// biome-ignore lint/suspicious/noExplicitAny: tests inspect arbitrary JSON
type Json = any

const ROWS = [5.1, 3.5, 1.4, 0.2, 6.7, 3, 5.2, 2.3]
const iris = (rows = 2) => ({
  name: 'input',
  datatype: 'FP32',
  shape: [rows, 4],
  data: Array.from({ length: rows }, (_, row) => ROWS.slice((row % 2) * 4, (row % 2) * 4 + 4)),
})

const post = (body: unknown, of = server) =>
  fetch(`${of.url}/v2/models/${of.service.model.name}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

async function outputs(body: unknown, of = server) {
  const response = await post(body, of)
  const json = (await response.json()) as Json
  assert.equal(response.status, 200, JSON.stringify(json))
  return json.outputs
}

const asked = (parameters: unknown) => [{ name: 'probabilities', parameters }]

const classes = (data: readonly string[]) => data.map(text => text.replace(/^[^:]+:/, ''))

test('the server metadata lists the classification extension', async () => {
  const { extensions } = (await (await fetch(`${server.url}/v2`)).json()) as Json
  assert.ok(extensions.includes('classification'))
})

test('the classification of an output returns its highest values with the labels from model.json', async () => {
  const [output] = await outputs({ inputs: [iris()], outputs: asked({ classification: 2 }) })
  const { name, datatype, shape, data } = output
  assert.deepEqual([name, datatype, shape], ['probabilities', 'BYTES', [2, 2]])
  assert.deepEqual(classes(data), ['0:setosa', '1:versicolor', '2:virginica', '1:versicolor'])
  const [plain] = await outputs({ inputs: [iris()], outputs: asked({}) })
  assert.equal(Math.fround(Number.parseFloat(data[0])), Math.fround(plain.data[0]))
})

test('the classification of a request applies to all numeric outputs without their own classification', async () => {
  const parameters = { classification: 1 }
  const all = await outputs({ parameters, inputs: [iris()] })
  assert.deepEqual(classes(all[0].data), ['0:setosa', '2:virginica'])
  assert.deepEqual(all[1].data, ['setosa', 'virginica'])
  const [own] = await outputs({
    parameters,
    inputs: [iris()],
    outputs: asked({ classification: 3 }),
  })
  assert.deepEqual(own.shape, [2, 3])
})

test('classes can be returned as binary tensor data', async () => {
  const parameters = { classification: 1, binary_data: true }
  const response = await post({ inputs: [iris(1)], outputs: asked(parameters) })
  const body = Buffer.from(await response.arrayBuffer())
  const [output] = binaryOutputs(response.headers, body)
  assert.deepEqual([output?.datatype, output?.shape], ['BYTES', [1, 1]])
  assert.match(String(output?.bytes.subarray(4)), /^0\.97\d+:0:setosa$/)
})

test('a large request, which runs in parts, gets a row of classes for each row', async () => {
  const rows = 8_000
  const [output] = await outputs({ inputs: [iris(rows)], outputs: asked({ classification: 1 }) })
  assert.deepEqual(output.shape, [rows, 1])
  assert.deepEqual(new Set(classes(output.data)), new Set(['0:setosa', '2:virginica']))
  assert.equal(output.data.length, rows)
})

test('the labels of the model’s ZipMap are returned if model.json has no labels', async () => {
  const x = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [0.25, 0.75] }
  const parameters = { classification: 1 }
  const all = await outputs({ inputs: [x], parameters }, zipped)
  assert.deepEqual(all[1], {
    name: 'output_probability',
    datatype: 'BYTES',
    shape: [1, 1],
    data: ['0.75:1:yes'],
  })
})

for (const [what, parameters, says] of [
  ['zero', { classification: 0 }, /classification is 0; it must be a number of classes, 1 or more/],
  ['a fraction', { classification: 1.5 }, /classification is 1\.5/],
  ['text', { classification: '2' }, /classification is "2"/],
] as const)
  test(`a classification that is ${what} gets 400`, async () => {
    const response = await post({ inputs: [iris()], outputs: asked(parameters) })
    assert.equal(response.status, 400)
    assert.match(((await response.json()) as Json).error, says)
  })

test('the classification of a BYTES output gets 400', async () => {
  const wanted = [{ name: 'predicted_class', parameters: { classification: 1 } }]
  const response = await post({ inputs: [iris()], outputs: wanted })
  assert.equal(response.status, 400)
  assert.match(((await response.json()) as Json).error, /BYTES cannot be ranked/)
})
