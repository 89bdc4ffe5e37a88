import type { Reply, Send, Sent } from '../connection.ts'
import { parseJson } from '../json.ts'
import { isInference, type Json, json } from './wrong-server.ts'

/** The extensions that `extended` implements, so that their points can pass. */
export const EXTENSIONS = [
  'binary_tensor_data',
  'classification',
  'statistics',
  'model_configuration',
  'model_repository',
  'logging',
  'parameters',
  'schedule_policy',
]

export function extended(send: Send): Send {
  let inferences = 0

  async function answer(sent: Sent): Promise<Reply> {
    const { path } = sent
    const verb = /^(\/v2\/models(?:\/.+)?)\/(stats|config)$/.exec(path)
    if (path === '/v2') return json(200, { ...read(await send(sent)), extensions: EXTENSIONS })
    if (path === '/v2/logging')
      return json(200, { log_file: '', log_info: true, log_warnings: true, log_errors: true })
    if (path === '/v2/repository/index')
      return json(200, [{ name: 'iris-classifier', version: 'v1.0.0', state: 'READY' }])
    if (verb?.[1] === '/v2/models')
      return json(200, { model_stats: [statistics('iris-classifier', inferences)] })
    if (verb !== null) {
      const metadata = await send({ method: 'GET', path: verb[1] as string })
      if (metadata.status !== 200) return metadata
      const { name, inputs, outputs } = read(metadata)
      return verb[2] === 'stats'
        ? json(200, { model_stats: [statistics(name, inferences)] })
        : json(200, { name, platform: 'onnxruntime_onnx', input: inputs, output: outputs })
    }
    if (!isInference(sent)) return send(sent)
    inferences++
    return send(sent)
  }

  return answer
}

const read = ({ body }: Reply) => parseJson(body.toString()) as Json

const statistics = (name: string, count: number) => {
  const duration = { count, ns: count * 1000 }
  const durations = ['success', 'queue', 'compute_input', 'compute_infer', 'compute_output'].map(
    what => [what, duration],
  )
  return {
    name,
    version: 'v1.0.0',
    last_inference: 1,
    inference_count: count,
    execution_count: count,
    inference_stats: { ...Object.fromEntries(durations), fail: { count: 0, ns: 0 } },
    batch_stats: [],
  }
}
