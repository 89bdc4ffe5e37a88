import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type ServerProcess, startProcess, testModel } from '../server.ts'
import { goTool, runPython, type Seen } from './clients/run.ts'

/** The servers of iris, identity-int64, identity-fp16 and identity-bytes. */
let servers: ServerProcess[] = []
before(async () => {
  servers = await Promise.all(
    [
      {},
      ...['identity-int64', 'identity-fp16', 'identity-bytes'].map(name => ({
        MODEL_DIR: testModel(name),
      })),
    ].map(env => startProcess(env, [], 15 * 60_000)),
  )
})
after(() => {
  for (const { process } of servers) process.kill()
})

/** One test per expected result, and one test that there are no other results. */
function sees(program: string, expected: Readonly<Record<string, unknown>>): void {
  let seen: Seen
  before(async () => {
    seen = await runPython('inference', program, ...servers.map(({ url }) => url))
  })
  for (const [what, value] of Object.entries(expected))
    test(what, () => assert.deepEqual(seen[what], value))
  test('there are no other results', t => {
    const { versions, ...rest } = seen
    t.diagnostic(JSON.stringify(versions))
    assert.deepEqual(Object.keys(rest).sort(), Object.keys(expected).sort())
  })
}

const OTHER = 'model "other" is unknown; this server has "iris-classifier"'
const SHAPE = 'input "input": shape [1,3] does not fit; the model accepts [-1,4]'
const LARGEST = ['9223372036854775807', '-9223372036854775808', '9007199254740993']

describe('tritonclient[grpc]', () => {
  const refused = (status: string, message: string) => ({
    error: `InferenceServerException: [StatusCode.${status}] ${message}`,
  })
  const lacks = (method: string, why: string) =>
    refused(
      'UNIMPLEMENTED',
      `"/inference.GRPCInferenceService/${method}" is not implemented: ${why}`,
    )
  const ONE_MODEL =
    'this server serves one model, which it loads at startup; to serve another model, deploy a new revision'
  const NO_MEMORY = 'this server does not share memory with clients; send tensors in the message'
  sees('triton_grpc_client.py', {
    is_server_live: true,
    is_server_ready: true,
    is_model_ready: true,
    'is_model_ready of a version': true,
    'is_model_ready of another model': refused('NOT_FOUND', OTHER),
    get_server_metadata: 'onnx-function',
    get_model_metadata: {
      name: 'iris-classifier',
      versions: ['v1.0.0'],
      platform: 'onnx_onnxv1',
      inputs: [{ name: 'input', datatype: 'FP32', shape: ['-1', '4'] }],
      outputs: [
        { name: 'probabilities', datatype: 'FP32', shape: ['-1', '3'] },
        { name: 'predicted_class', datatype: 'BYTES', shape: ['-1'] },
      ],
    },
    get_model_config: [{ name: 'input', data_type: 'TYPE_FP32', dims: ['4'] }],
    get_model_repository_index: {
      models: [{ name: 'iris-classifier', version: 'v1.0.0', state: 'READY' }],
    },
    get_inference_statistics: true,
    infer: ['setosa'],
    'infer of two rows': ['setosa', 'setosa'],
    'infer of a version': ['setosa'],
    'infer, request_id': 'seven',
    'infer, priority and timeout': ['setosa'],
    'infer, one output': ['predicted_class'],
    'infer, gzip in both directions': 'setosa',
    'infer, deflate in both directions': 'setosa',
    'infer, 4.8 MB': ['setosa'],
    async_infer: ['setosa'],
    async_stream_infer: [['1', true], OTHER, ['3', true]],
    aio: ['setosa'],
    INT64: LARGEST,
    FP16: [1.5, -0.25],
    BYTES: ['naïve', '日本語', ''],
    'error: another model': refused('NOT_FOUND', OTHER),
    'error: a wrong shape': refused('INVALID_ARGUMENT', SHAPE),
    'not supported: load_model': lacks('RepositoryModelLoad', ONE_MODEL),
    'not supported: unload_model': lacks('RepositoryModelUnload', ONE_MODEL),
    'not supported: get_trace_settings': lacks(
      'TraceSetting',
      'traces are configured at startup (OTEL_...)',
    ),
    'not supported: get_log_settings': lacks(
      'LogSettings',
      'the log is configured at startup (LOG_LEVEL)',
    ),
    'not supported: get_system_shared_memory_status': lacks('SystemSharedMemoryStatus', NO_MEMORY),
    'not supported: get_cuda_shared_memory_status': lacks('CudaSharedMemoryStatus', NO_MEMORY),
    'health: Check': 1,
    'health: Watch': 1,
    'reflection: services': [
      'inference.GRPCInferenceService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ],
    'reflection: a message': [
      'bool_param',
      'int64_param',
      'string_param',
      'double_param',
      'uint64_param',
    ],
  })
})

describe("KServe's InferenceGRPCClient", () => {
  const refused = (status: string, message: string) => ({
    error: `StatusCode.${status}: ${message}`,
  })
  sees('kserve_grpc_client.py', {
    is_server_live: true,
    is_server_ready: true,
    is_model_ready: true,
    'is_model_ready of another model': refused('NOT_FOUND', OTHER),
    'infer, raw': ['setosa'],
    'infer, typed': ['setosa'],
    'infer, typed: its data': true,
    'INT64, raw': LARGEST,
    'INT64, typed': LARGEST,
    'FP16, raw': [1.5, -0.25],
    'error: a wrong shape': refused('INVALID_ARGUMENT', SHAPE),
    'error: another model': refused('NOT_FOUND', OTHER),
  })
})

describe('open-inference-grpc', () => {
  const refused = (status: string, message: string) => ({
    error: `StatusCode.${status}: ${message}`,
  })
  sees('open_inference_grpc_client.py', {
    ServerLive: true,
    ServerReady: true,
    ServerMetadata: 'onnx-function',
    ModelReady: true,
    'ModelReady of another model': refused('NOT_FOUND', OTHER),
    ModelMetadata: ['iris-classifier', ['v1.0.0'], 'onnx_onnxv1', [['input', 'FP32', [-1, 4]]]],
    'ModelInfer, typed': ['setosa'],
    'ModelInfer, id': 'seven',
    'ModelInfer, raw': 1,
    'INT64, typed': LARGEST,
    'FP16, raw': [1.5, -0.25],
    'BYTES, typed': ['naïve', '日本語', ''],
    'error: a wrong shape': refused('INVALID_ARGUMENT', SHAPE),
    'error: another model': refused('NOT_FOUND', OTHER),
    '4.8 MB, with grpcio’s default limit': refused(
      'RESOURCE_EXHAUSTED',
      'Stream removed (CLIENT: Received message larger than max (4800059 vs. 4194304))',
    ),
    '4.8 MB, without grpcio’s limit': 4_800_000,
  })
})

describe('grpc-health-probe', () => {
  let probe: (...options: string[]) => Promise<string>
  before(async () => {
    const run = await goTool('github.com/grpc-ecosystem/grpc-health-probe@v0.4.63')
    probe = (...options) => run(`-addr=${new URL(servers[0]?.url ?? '').host}`, ...options)
  })

  for (const service of ['', 'iris-classifier', 'inference.GRPCInferenceService']) {
    test(`reports ${service || 'the server'} as serving`, async () => {
      await probe(`-service=${service}`)
    })
  }

  test('exits with 3, its code for a failed call, if the service is unknown', () =>
    assert.rejects(probe('-service=other'), { code: 3, stderr: /service "other" is unknown/ }))
})

describe('grpcurl', () => {
  let grpcurl: (options: string, method: string) => Promise<string>
  before(async () => {
    const run = await goTool('github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3')
    grpcurl = (options, method) =>
      run(...options.split(' '), new URL(servers[0]?.url ?? '').host, ...method.split(' '))
  })

  test('lists the services by reflection', async () => {
    const services = await grpcurl('-plaintext', 'list')
    assert.match(services, /^inference\.GRPCInferenceService$/m)
  })

  test('describes a message by reflection', async () => {
    assert.match(
      await grpcurl('-plaintext', 'describe inference.ModelInferRequest'),
      /repeated bytes raw_input_contents = 7;/,
    )
  })

  const CALL =
    '{"model_name":"iris-classifier","inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"contents":{"fp32_contents":[5.1,3.5,1.4,0.2]}}]}'
  for (const [what, options] of [
    ['by reflection', ''],
    ['with docs/inference.proto', '-import-path ../../docs -proto inference.proto '],
  ] as const) {
    test(`calls ModelInfer ${what}`, async () => {
      const answer = JSON.parse(
        await grpcurl(
          `-plaintext ${options}-d ${CALL}`,
          'inference.GRPCInferenceService/ModelInfer',
        ),
      )
      assert.equal(atob(answer.outputs[1].contents.bytesContents[0]), 'setosa')
    })
  }
})
