import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import type { Caller } from '../../function/answer.ts'
import { BytesCodec } from '../../function/protocol/codec.ts'
import { type Server, startServer, testModel } from '../server.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

async function open(env: Record<string, string> = {}) {
  const server = await startServer(env)
  servers.push(server)
  const { dataPlane } = server.service
  return {
    ...dataPlane,
    ask: (body: Uint8Array) =>
      dataPlane.infer(
        () => new BytesCodec({ body, jsonLength: undefined, responseData: 'json' }),
        'http',
        caller(),
      ),
    only: () => dataPlane.statistics().model_stats[0] as Statistics,
  }
}

type Statistics = ReturnType<Server['service']['dataPlane']['statistics']>['model_stats'][number]

const caller = (): Caller => ({
  arrived: performance.now(),
  deadline: performance.now() + 30_000,
  gone: false,
})

/** A body in its own memory, which can be transferred to another thread. */
const flowers = (rows: number): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({
      inputs: [
        {
          name: 'input',
          datatype: 'FP32',
          shape: [rows, 4],
          data: Array.from({ length: rows }, () => [5.1, 3.5, 1.4, 0.2]),
        },
      ],
    }),
  )

const counts = ({ inference_stats }: Statistics) =>
  Object.fromEntries(Object.entries(inference_stats).map(([name, { count }]) => [name, count]))

suite('statistics', () => {
  test('all statistics are zero before the first request', async () => {
    const { only } = await open()
    const { name, version, last_inference, inference_count, batch_stats } = only()
    assert.deepEqual(
      [name, version, last_inference, inference_count, batch_stats],
      ['iris-classifier', '1', 0, 0, []],
    )
  })

  test('if requests share a run, the statistics count every request and row, but only one run', async () => {
    const { ask, only } = await open()
    await Promise.all([ask(flowers(1)), ask(flowers(2))])
    await assert.rejects(ask(Buffer.from('{}')))
    const statistics = only()
    assert.deepEqual(counts(statistics), {
      success: 2,
      fail: 1,
      queue: 2,
      compute_input: 2,
      compute_infer: 2,
      compute_output: 2,
      cache_hit: 0,
      cache_miss: 0,
    })
    assert.deepEqual([statistics.inference_count, statistics.execution_count], [3, 1])
    assert.deepEqual(
      statistics.batch_stats.map(({ batch_size, compute_infer }) => [
        batch_size,
        compute_infer.count,
      ]),
      [[3, 1]],
    )
  })

  test('the parts of a request do not exceed its total time, in nanoseconds', async () => {
    const { ask, only } = await open()
    const began = performance.now()
    await ask(flowers(1))
    const { success, queue, compute_input, compute_infer, compute_output } = only().inference_stats
    const parts = [queue, compute_input, compute_infer, compute_output].map(({ ns }) => ns)
    assert.ok(Math.min(...parts) >= 0 && compute_infer.ns > 0, String(parts))
    assert.ok(
      parts.reduce((sum, ns) => sum + ns, 0) <= success.ns,
      `${parts} are more than ${success.ns}`,
    )
    assert.ok(success.ns <= (performance.now() - began) * 1e6)
  })

  test('statistics count each run of a large request', async () => {
    const { ask, only } = await open({ EXECUTION: 'inline', MAX_BATCH_ROWS: '16384' })
    await ask(flowers(20_000))
    const { inference_count, execution_count, batch_stats, inference_stats } = only()
    assert.deepEqual([inference_count, execution_count], [20_000, 2])
    assert.deepEqual(
      batch_stats.map(({ batch_size }) => batch_size),
      [20_000 - 16_384, 16_384],
    )
    assert.equal(inference_stats.success.count, 1)
  })

  test('statistics list at most 1,000 batch sizes', async () => {
    const { ask, only } = await open()
    for (let rows = 1; rows <= 1_002; rows++) await ask(flowers(rows))
    const { batch_stats, execution_count } = only()
    assert.deepEqual([batch_stats.length, execution_count], [1_000, 1_002])
  })
})

suite('the model configuration', () => {
  test('the configuration omits the first dimension if it is the number of rows', async () => {
    const { configuration } = await open({ MAX_BATCH_ROWS: '32' })
    assert.deepEqual(await configuration(caller()), {
      name: 'iris-classifier',
      platform: 'onnxruntime_onnx',
      backend: 'onnxruntime',
      version_policy: { latest: { num_versions: 1 } },
      max_batch_size: 32,
      input: [{ name: 'input', data_type: 'TYPE_FP32', dims: [4] }],
      output: [
        { name: 'probabilities', data_type: 'TYPE_FP32', dims: [3] },
        { name: 'predicted_class', data_type: 'TYPE_STRING', dims: [] },
      ],
      instance_group: [{ name: 'iris-classifier', kind: 'KIND_CPU', count: 1 }],
      default_model_filename: 'model.onnx',
      model_transaction_policy: { decoupled: false },
      dynamic_batching: {},
    })
  })

  test('the configuration contains all dimensions and no batching if the first dimension is fixed', async () => {
    const { configuration } = await open({ MODEL_DIR: testModel('fixed') })
    const { max_batch_size, input, dynamic_batching } = await configuration(caller())
    assert.deepEqual([max_batch_size, dynamic_batching], [0, undefined])
    assert.ok((input[0]?.dims[0] as number) > 0)
  })
})
