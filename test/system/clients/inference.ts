import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { serverMetadata } from '../../../function/inference/metadata.ts'
import { runPython, type Seen } from './run.ts'

const NO_SHARED_MEMORY =
  'this server does not share memory with its callers; send and request binary tensor data (parameters.binary_data_size, binary_data)'

export type Expected = Readonly<Record<string, unknown>>

export const NOTHING_AT = (path: string, why = 'see /docs for all routes') =>
  `not found: ${path} (${why})`

const ONE_MODEL =
  'this server serves one model, which it loads at startup; to serve another model, deploy a new revision'
const NO_REGIONS = 'this server does not share memory with clients; send tensors in the message'

const INFERS = {
  is_server_live: true,
  is_server_ready: true,
  is_model_ready: true,
  'is_model_ready of another model': false,
  'infer, inputs binary, outputs binary': ['setosa'],
  'infer, inputs binary, outputs JSON': ['setosa'],
  'infer, inputs JSON, outputs binary': ['setosa'],
  'infer, inputs JSON, outputs JSON': ['setosa'],
  'infer, all outputs': ['setosa'],
  'infer, request_id': 'seven',
  'INT64, binary': ['9223372036854775807', '-9223372036854775808', '9007199254740993'],
  'INT64, JSON': ['9223372036854775807', '-9223372036854775808', '9007199254740993'],
  'FP16, binary': [1.5, -0.25],
  'BYTES, binary': ['naïve', '日本語', ''],
  'BYTES, JSON': ['naïve', '日本語', ''],
}

/** One test per expected result, and one test that there are no other results. */
function sees(look: () => Promise<Seen>, expected: Expected): void {
  let seen: Seen
  before(async () => {
    seen = await look()
  })
  for (const [what, value] of Object.entries(expected))
    test(what, () => assert.deepEqual(seen[what], value))
  test('there are no other results', t => {
    const { versions, ...rest } = seen
    t.diagnostic(JSON.stringify(versions))
    assert.deepEqual(Object.keys(rest).sort(), Object.keys(expected).sort())
  })
}

/**
 * Triton's and KServe's clients on servers of iris, identity-int64, identity-fp16 and
 * identity-bytes.
 * @param v1 the expected V1 results, if these servers support V1
 */
export function inferenceClients(urls: () => readonly string[], v1: Expected = {}): void {
  describe('tritonclient[http]', () => {
    const refused = (status: number, message: string) => ({
      error: `InferenceServerException: [${status}] ${message}`,
    })
    const nothingAt = (path: string, why: string) => refused(404, NOTHING_AT(path, why))
    sees(() => runPython('inference', 'triton_client.py', ...urls()), {
      ...INFERS,
      'is_model_ready of a version': true,
      get_server_metadata: [...serverMetadata.extensions],
      get_model_metadata: {
        name: 'iris-classifier',
        versions: ['v1.0.0'],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 4] }],
        outputs: [
          { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] },
          { name: 'predicted_class', datatype: 'BYTES', shape: [-1] },
        ],
      },
      'infer of two rows': ['setosa', 'setosa'],
      'infer of a version': ['setosa'],
      'infer, priority and timeout': ['setosa'],
      'infer, gzip in both directions': 'setosa',
      'infer, deflate in both directions': 'setosa',
      async_infer: ['setosa'],
      'error: another model': refused(
        404,
        'model "other" is unknown; this server has "iris-classifier"',
      ),
      'error: a wrong shape': refused(
        400,
        'input "input": shape [1,3] does not fit; the model accepts [-1,4]',
      ),
      'error: an unknown output': refused(
        400,
        'output "other" is unknown; the model returns "probabilities", "predicted_class"',
      ),
      'error: metadata of another model': refused(
        404,
        'model "other" is unknown; this server has "iris-classifier"',
      ),
      get_model_config: {
        max_batch_size: 256,
        input: [{ name: 'input', data_type: 'TYPE_FP32', dims: [4] }],
      },
      get_inference_statistics: true,
      'get_inference_statistics of all': 'iris-classifier',
      get_model_repository_index: [
        { name: 'iris-classifier', version: 'v1.0.0', state: 'READY', reason: '' },
      ],
      'not supported: load_model': nothingAt(
        '/v2/repository/models/iris-classifier/load',
        ONE_MODEL,
      ),
      'not supported: unload_model': nothingAt(
        '/v2/repository/models/iris-classifier/unload',
        ONE_MODEL,
      ),
      'not supported: get_trace_settings': nothingAt(
        '/v2/trace/setting',
        'traces are configured at startup (OTEL_...)',
      ),
      'not supported: get_log_settings': nothingAt(
        '/v2/logging',
        'the log is configured at startup (LOG_LEVEL)',
      ),
      'not supported: get_system_shared_memory_status': nothingAt(
        '/v2/systemsharedmemory/status',
        NO_REGIONS,
      ),
      'not supported: register_system_shared_memory': nothingAt(
        '/v2/systemsharedmemory/region/region/register',
        NO_REGIONS,
      ),
      'not supported: get_cuda_shared_memory_status': nothingAt(
        '/v2/cudasharedmemory/status',
        NO_REGIONS,
      ),
      'not supported: an input in shared memory': refused(
        400,
        `input "input": parameters.shared_memory_region: ${NO_SHARED_MEMORY}`,
      ),
      'not supported: an output in shared memory': refused(
        400,
        `output "probabilities": parameters.shared_memory_region: ${NO_SHARED_MEMORY}`,
      ),
      'infer, class_count': [1, 2],
      'not supported: sequence_id': ['setosa'],
    })
  })

  describe("KServe's InferenceRESTClient", () => {
    const refused = (status: string, message: string) => ({
      error: `HTTPStatusError: ${message}, '${status}'`,
    })
    sees(() => runPython('inference', 'kserve_client.py', ...urls()), {
      ...INFERS,
      // The client omits the version of the response (kserve 0.21.0, InferResponse.from_bytes).
      'infer with a dict': null,
      'error: another model': refused(
        '404 Not Found',
        'model "other" is unknown; this server has "iris-classifier"',
      ),
      'error: a wrong shape': refused(
        '400 Bad Request',
        'input "input": shape [1,3] does not fit; the model accepts [-1,4]',
      ),
      'v1: predict': refused('404 Not Found', NOTHING_AT('/v1/models/iris-classifier:predict')),
      'v1: explain': refused('404 Not Found', NOTHING_AT('/v1/models/iris-classifier:explain')),
      'v1: is_server_live': { error: "AttributeError: 'NoneType' object has no attribute 'lower'" },
      'v1: is_server_ready': { error: 'UnsupportedProtocol: Unsupported protocol v1.' },
      'v1: is_model_ready': refused('404 Not Found', NOTHING_AT('/v1/models/iris-classifier')),
      ...v1,
    })
  })
}
