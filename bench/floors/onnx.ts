import { readFileSync } from 'node:fs'

// Also set in function/: otherwise, ONNX Runtime for Linux writes a device id, and startup takes 5
// ms longer.
process.env.ORT_DISABLE_TELEMETRY = '1'
const { InferenceSession, Tensor } = await import('onnxruntime-node')

/*
 * The shortest path from a parsed V2 request to its response: no validation, one run per request,
 * on the calling thread. The minimal servers differ only in their HTTP framework.
 */

const folder = process.env.MODEL_DIR as string
const { name, version } = JSON.parse(readFileSync(`${folder}/model.json`, 'utf8'))
const session = await InferenceSession.create(`${folder}/model.onnx`, {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
})
await classify([5.1, 3.5, 1.4, 0.2])

async function classify(data: readonly number[]) {
  const input = new Tensor('float32', Float32Array.from(data), [data.length / 4, 4])
  return session.run({ input })
}

interface Request {
  readonly id?: string
  readonly inputs: readonly [{ readonly data: readonly number[] }]
}

export async function infer({ id, inputs }: Request): Promise<object> {
  const outputs = await classify(inputs[0].data)
  return {
    model_name: name,
    model_version: version,
    id,
    outputs: session.outputNames.map(output => {
      const { type, dims, data } = outputs[output] as InstanceType<typeof Tensor>
      return {
        name: output,
        datatype: type === 'string' ? 'BYTES' : 'FP32',
        shape: dims,
        data: Array.from(data as Iterable<unknown>),
      }
    }),
  }
}
