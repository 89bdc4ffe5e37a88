import assert from 'node:assert/strict'
import { test } from 'node:test'
import { detach } from '../../function/inference/transfer.ts'
import { startServer, testModel } from '../server.ts'

const tensor = (data: Float32Array) =>
  ({ name: 'x', datatype: 'FP32', shape: [data.length], data }) as const

test('complete buffers are transferred, and parts of a buffer are copied', () => {
  const whole = new Float32Array([1, 2])
  const part = new Float32Array([3, 4, 5]).subarray(1)
  const { tensors, transfer } = detach([tensor(whole), tensor(part)])
  const moved = structuredClone(tensors, { transfer })
  assert.deepEqual(
    moved.map(({ data }) => data),
    [Float32Array.of(1, 2), Float32Array.of(4, 5)],
  )
  assert.deepEqual([whole.length, part.length], [0, 2])
})

test('empty data is not transferred, because it may be a shared constant', () => {
  const { tensors, transfer } = detach([tensor(new Float32Array())])
  assert.deepEqual(transfer, [])
  assert.deepEqual(structuredClone(tensors)[0]?.data, new Float32Array())
})

test('a request with empty binary tensor data succeeds several times in a row', async () => {
  const server = await startServer({
    EXECUTION: 'worker',
    MODEL_DIR: testModel('identity-fp32'),
  })
  try {
    const input = { name: 'x', datatype: 'FP32', shape: [0], parameters: { binary_data_size: 0 } }
    for (let i = 0; i < 3; i++) {
      const answer = await fetch(`${server.url}/v2/models/identity-fp32/infer`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ inputs: [input] }),
      })
      assert.equal(answer.status, 200)
      assert.deepEqual(((await answer.json()) as { outputs: object[] }).outputs, [
        { name: 'y', datatype: 'FP32', shape: [0], data: [] },
      ])
    }
  } finally {
    await server.stop()
  }
})
