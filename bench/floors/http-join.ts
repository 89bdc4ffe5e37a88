import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import {
  createNativeSession,
  type NativeTensor,
  setEnvironment,
} from '../../function/inference/onnxruntime.ts'

/*
 * Bare `node:http` and the native half of ONNX Runtime. Waiting requests share a run, without
 * checks, limits or metrics.
 */

const folder = process.env.MODEL_DIR as string
const { name, version } = JSON.parse(readFileSync(`${folder}/model.json`, 'utf8'))
setEnvironment()
const session = createNativeSession()
session.loadModel(`${folder}/model.onnx`, { intraOpNumThreads: 1, interOpNumThreads: 1 })

interface Waiting {
  readonly id: string | undefined
  readonly data: readonly number[]
  readonly response: ServerResponse
}

let waiting: Waiting[] = []

function runAll(): void {
  const batch = waiting
  waiting = []
  const rows = batch.reduce((sum, { data }) => sum + data.length / 4, 0)
  const joined = new Float32Array(rows * 4)
  let at = 0
  for (const { data } of batch) {
    joined.set(data, at)
    at += data.length
  }
  const input: NativeTensor = { type: 'float32', data: joined, dims: [rows, 4], location: 'cpu' }
  const outputs = session.run({ input }, { probabilities: null, predicted_class: null }, {})
  const probabilities = outputs.probabilities?.data as Float32Array
  const labels = outputs.predicted_class?.data as readonly string[]
  let row = 0
  for (const { id, data, response } of batch) {
    const end = row + data.length / 4
    answer(response, id, probabilities.subarray(row * 3, end * 3), labels.slice(row, end))
    row = end
  }
}

function answer(
  response: ServerResponse,
  id: string | undefined,
  probabilities: Float32Array,
  labels: readonly string[],
): void {
  const { length } = labels
  const text = JSON.stringify({
    model_name: name,
    model_version: version,
    id,
    outputs: [
      {
        name: 'probabilities',
        datatype: 'FP32',
        shape: [length, 3],
        data: Array.from(probabilities),
      },
      { name: 'predicted_class', datatype: 'BYTES', shape: [length], data: labels },
    ],
  })
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    const { id, inputs } = JSON.parse(Buffer.concat(chunks).toString())
    if (waiting.length === 0) setImmediate(runAll)
    waiting.push({ id, data: inputs[0].data, response })
  })
}).listen(Number(process.env.PORT), '127.0.0.1')
