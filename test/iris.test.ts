import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Server, startServer } from './server.ts'

const folder = fileURLToPath(new URL('../models/iris', import.meta.url))
const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as {
  readonly tolerance: number
  readonly input: readonly number[][]
  readonly versions: Record<
    string,
    { readonly probabilities: readonly number[][]; readonly predicted_class: readonly string[] }
  >
}

const request = (rows: readonly number[][]) =>
  JSON.stringify({
    id: 'req-001',
    inputs: [{ name: 'input', shape: [rows.length, 4], datatype: 'FP32', data: rows.flat() }],
  })

for (const [version, { probabilities, predicted_class: labels }] of Object.entries(
  expected.versions,
)) {
  suite(`iris ${version}`, () => {
    let server: Server
    before(async () => {
      server = await startServer({ MODEL_DIR: `${folder}/${version}` })
    })
    after(() => server.stop())

    const infer = async (rows: readonly number[][]) => {
      const response = await fetch(`${server.url}/v2/models/iris-classifier/infer`, {
        method: 'POST',
        body: Buffer.from(request(rows)),
      })
      return {
        status: response.status,
        ...((await response.json()) as Record<string, unknown>),
      } as {
        status: number
        outputs: [
          { name: string; shape: number[]; data: number[] },
          { name: string; shape: number[]; data: string[] },
        ]
      }
    }

    const assertClose = (actual: readonly number[], wanted: readonly number[]) =>
      actual.forEach((value, i) => {
        assert.ok(
          Math.abs(value - (wanted[i] as number)) <= expected.tolerance,
          `element ${i}: got ${value}, scikit-learn returned ${wanted[i]}`,
        )
      })

    test('one request with all 150 rows gets the predictions of scikit-learn', async () => {
      const { status, outputs } = await infer(expected.input)
      assert.equal(status, 200)
      assert.deepEqual(outputs[1], {
        name: 'predicted_class',
        datatype: 'BYTES',
        shape: [150],
        data: labels,
      })
      assert.deepEqual([outputs[0].name, outputs[0].shape], ['probabilities', [150, 3]])
      assertClose(outputs[0].data, probabilities.flat())
    })

    test('150 concurrent requests with one row each get the same predictions', async () => {
      const answers = await Promise.all(expected.input.map(row => infer([row])))
      answers.forEach(({ outputs }, i) => {
        assert.deepEqual(outputs[1].data, [labels[i]])
        assertClose(outputs[0].data, probabilities[i] as number[])
      })
    })

    test('an empty batch gets an empty response', async () => {
      const { outputs } = await infer([])
      assert.deepEqual(
        [outputs[0].shape, outputs[0].data, outputs[1].shape, outputs[1].data],
        [[0, 3], [], [0], []],
      )
    })

    test('the metadata lists the inputs and outputs on which clients rely', async () => {
      const response = await fetch(`${server.url}/v2/models/iris-classifier/versions/${version}`)
      assert.deepEqual(await response.json(), {
        name: 'iris-classifier',
        versions: [version],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 4] }],
        outputs: [
          { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] },
          { name: 'predicted_class', datatype: 'BYTES', shape: [-1] },
        ],
      })
    })
  })
}

test('the usual example is classified as setosa, in a response with all fields of the protocol', async () => {
  const server = await startServer()
  try {
    const response = await fetch(`${server.url}/v2/models/iris-classifier/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"id":"req-001","inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}',
    })
    const { outputs, ...rest } = (await response.json()) as {
      outputs: { name: string; data: unknown[] }[]
    }
    assert.deepEqual(rest, {
      id: 'req-001',
      model_name: 'iris-classifier',
      model_version: 'v1.0.0',
    })
    assert.deepEqual(
      outputs.map(({ name }) => name),
      ['probabilities', 'predicted_class'],
    )
    assert.deepEqual(outputs[1]?.data, ['setosa'])
  } finally {
    await server.stop()
  }
})
