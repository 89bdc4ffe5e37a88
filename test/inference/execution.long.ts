import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, suite, type TestContext, test } from 'node:test'
import { MessageChannel, type Worker } from 'node:worker_threads'
import { hangUp } from '../../function/answer.ts'
import type { LargeRequest } from '../../function/inference/large.ts'
import { detach } from '../../function/inference/transfer.ts'
import { copiesThatFit, openWorkers } from '../../function/inference/worker-pool.ts'
import { DeadlinePassed, NotReady } from '../../function/protocol/errors.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { until } from '../http/client.ts'
import { type Server, startServer, testModel } from '../server.ts'
import { writeModel } from './batchability/onnx-writer.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

function noteWorkers() {
  const workers: Worker[] = []
  const noted = (message: unknown) => workers.push((message as { worker: Worker }).worker)
  subscribe('worker_threads', noted)
  return { workers, stop: () => unsubscribe('worker_threads', noted) }
}

async function open(env: Record<string, string>) {
  const { workers, stop } = noteWorkers()
  try {
    const server = await startServer({ EXECUTION: 'auto', ...env })
    servers.push(server)
    const name = server.service.model.name
    const infer = (body: unknown) =>
      fetch(`${server.url}/v2/models/${name}/infer`, {
        method: 'POST',
        body: Buffer.from(JSON.stringify(body)),
      })
    return { server, infer, workers }
  } finally {
    // Stop collecting threads only after the test, because replacement threads count, too.
    afterAll.push(stop)
  }
}
/** Opens one worker with the shipped model. */
const openWorker = (onDeath: (reason: string) => void = assert.fail) =>
  openWorkers('models/iris/v1.0.0/model.onnx', {
    runTimeoutMs: 0,
    onStuck: assert.fail,
    threads: 1,
    workers: 1,
    onDeath,
    onLoss: assert.fail,
  })

const afterAll: (() => void)[] = []
afterEach(() => {
  for (const undo of afterAll.splice(0)) undo()
})

const exampleOf = async ({ service }: Server) => ({
  inputs: service.model.loaded?.example.map(({ data, ...tensor }) => ({
    ...tensor,
    data: Array.from(data as ArrayLike<bigint>, Number),
  })),
})

const slow = { MODEL_DIR: testModel('slow') }
const slowRequest = (...data: number[]) => ({
  inputs: [{ name: 'x', datatype: 'FP32', shape: [data.length / 2, 2], data }],
})
const MANY = { MAX_BATCH_ROWS: '1000000', MAX_QUEUE_ROWS: '1000000' }
/** Sends four requests with many rows, each small enough for the main thread. */
async function sendMany(infer: (body: unknown) => Promise<Response>): Promise<void> {
  const rows = 15_000
  const request = {
    inputs: [
      { name: 'input', datatype: 'FP32', shape: [rows, 4], data: new Array(rows * 4).fill(1) },
    ],
    // The main thread writes the response, because its JSON is small.
    parameters: { binary_data_output: true },
  }
  for (const { status } of await Promise.all(Array.from({ length: 4 }, () => infer(request))))
    assert.equal(status, 200)
}
const irisRequest = {
  inputs: [{ name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }],
}

suite('EXECUTION', () => {
  test('auto runs a fast model on the main thread', async () => {
    const { infer, workers } = await open({})
    assert.equal((await infer(irisRequest)).status, 200)
    assert.equal(workers.length, 0)
  })

  test('auto runs a model in worker threads if input values determine run times', async () => {
    const { infer, workers } = await open(slow)
    assert.equal((await infer(slowRequest(1, 2))).status, 200)
    assert.ok(workers.length >= 1)
  })

  test('auto runs larger inputs than before in a worker, and moves a slow model to workers', async () => {
    // The warm-up has one row. A run with very many rows is slow.
    const { server, infer, workers } = await open({ MODEL_DIR: 'models/iris/v2.0.0', ...MANY })
    assert.equal(workers.length, 0)
    for (let runs = 0; workers.length < 2 && runs < 200; runs++) await sendMany(infer)
    // The first worker is for the large runs; the model moves to the others.
    assert.ok(workers.length >= 2)
    await Promise.all(
      Array.from({ length: 20 }, async () => assert.equal((await infer(irisRequest)).status, 200)),
    )
    assert.equal(server.service.model.notReady, undefined)
    await until('the first worker has ended', () => workers[0]?.threadId === -1)
  })

  test('auto loads a model with operators that are not plain in a worker first, and then on the main thread', async () => {
    const { infer, server, workers } = await open({ MODEL_DIR: testModel('two-in-two-out') })
    assert.equal(workers.length, 1)
    const { inputs } = await exampleOf(server)
    assert.equal((await infer({ inputs })).status, 200)
    await workers[0]?.terminate()
    assert.equal((await infer({ inputs })).status, 200)
  })

  test('auto moves a small file to workers if its first run is slow', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'execution-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const shape = { type: 'INT64', shape: [2], values: [6_000, 6_000] } as const
    const file = writeModel({
      opset: 17,
      inputs: { x: { type: 'FP32', dims: [1, 1] } },
      constants: { shape },
      outputs: { y: { type: 'FP32', dims: [1, 1] } },
      nodes: [
        { operator: 'Expand', inputs: ['x', 'shape'], outputs: ['wide'] },
        { operator: 'Sin', inputs: ['wide'], outputs: ['sine'] },
        { operator: 'ReduceMax', inputs: ['sine'], outputs: ['y'] },
      ],
    })
    writeFileSync(join(folder, 'model.onnx'), file)
    const { workers } = await open({ MODEL_DIR: folder })
    // The first worker measured the slow run; the model moved to the others.
    assert.ok(workers.length >= 2)
  })

  test('inline uses no worker threads, and worker uses worker threads', async () => {
    assert.equal((await open({ ...slow, EXECUTION: 'inline' })).workers.length, 0)
    assert.ok((await open({ EXECUTION: 'worker' })).workers.length >= 1)
  })

  test('worker starts one thread per CPU if ORT_THREADS is 1', async () => {
    const { server, workers } = await open({ EXECUTION: 'worker', ORT_THREADS: '1' })
    assert.equal(workers.length, server.config.cpus)
  })

  test('worker lets the server answer probes while the model runs', async () => {
    const { server, infer } = await open(slow)
    let answered = false
    const inference = infer(slowRequest(1, 2)).then(response => {
      answered = true
      return response
    })
    let probes = 0
    while (!answered) {
      assert.equal((await fetch(`${server.url}/v2/health/live`)).status, 200)
      if (!answered) probes++
    }
    assert.equal((await inference).status, 200)
    assert.ok(probes >= 3, `${probes} probes were answered during one run`)
  })
})

test('small and large requests use the only thread alternately, and a waiting request keeps its deadline', async () => {
  const { server } = await open({
    ...slow,
    EXECUTION: 'worker',
    ORT_THREADS: '1024',
    MAX_BATCH_ROWS: '1000000',
  })
  const done: string[] = []
  const send = async (name: string, body: object) => {
    const response = await fetch(`${server.url}/v2/models/slow/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    await response.arrayBuffer()
    done.push(name)
    return response.status
  }
  // Each of these requests has more than 128 KiB of JSON.
  const large = slowRequest(...new Array<number>(40_000).fill(1.25))
  const larges = Array.from({ length: 4 }, () => send('large', large))
  await until('large requests wait', () => server.service.model.queuedRows >= larges.length)
  const small = send('small', slowRequest(1, 2))
  const late = send('late', { ...slowRequest(1, 2), parameters: { timeout: 1_000 } })
  assert.deepEqual(await Promise.all([...larges, small, late]), [200, 200, 200, 200, 200, 504])
  assert.ok(done.indexOf('late') <= 1, `${done}`)
  assert.ok(done.indexOf('small') <= 3, `${done}`)
})

const row: Tensor = {
  name: 'input',
  datatype: 'FP32',
  shape: [1, 4],
  data: Float32Array.of(5.1, 3.5, 1.4, 0.2),
}

test('a large request that waits although its deadline has passed makes Node print no warning', async t => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  const pool = await openWorker()
  t.after(async () => {
    process.off('warning', onWarning)
    await pool.close()
  })
  const running = pool.run([structuredClone(row)], ['predicted_class'])
  const late = pool.inferLarge({} as LargeRequest, { arrived: -2, deadline: -1, gone: false })
  await assert.rejects(late, DeadlinePassed)
  await running
  assert.deepEqual(warnings, [])
})

test('a large request no longer waits for a thread after its client hung up', async t => {
  const pool = await openWorker()
  t.after(() => pool.close())
  const running = pool.run([structuredClone(row)], ['predicted_class'])
  const caller = { arrived: 0, deadline: Number.POSITIVE_INFINITY, gone: false }
  const waiting = pool.inferLarge({} as LargeRequest, caller)
  hangUp(caller)
  const outcome = async (promise: Promise<unknown>) =>
    promise.then(
      () => 'ran',
      () => 'over',
    )
  assert.equal(await Promise.race([outcome(running), outcome(waiting)]), 'over')
  await running
})

test('a pool runs and closes after a request that could not be sent to its thread', async () => {
  const pool = await openWorker()
  const body = new Uint8Array(8)
  body.buffer.transfer()
  const caller = { arrived: 0, deadline: Number.POSITIVE_INFINITY, gone: false }
  await assert.rejects(pool.inferLarge({ bytes: { body } } as LargeRequest, caller), /transfer/)
  await pool.run([structuredClone(row)], ['predicted_class'])
  await assert.rejects(pool.inferLarge({ bytes: { body } } as LargeRequest, caller), /transfer/)
  await pool.close()
})

suite('worker threads that die', () => {
  const oneWorker = { EXECUTION: 'worker', ORT_THREADS: '1024' }

  test('the run of a thread that dies gets an error that allows a retry; the thread is counted and replaced', async t => {
    const deaths: string[] = []
    const { workers, ...noted } = noteWorkers()
    const session = await openWorker(reason => deaths.push(reason))
    t.after(async () => {
      noted.stop()
      await session.close()
    })
    // The thread fails on the invalid command. The command for the run waits in its message queue.
    workers[0]?.postMessage(null)
    const lost = session.run([structuredClone(row)], ['predicted_class'])
    await assert.rejects(
      lost,
      (error: Error) => error instanceof NotReady && /thread .* ended/.test(error.message),
    )
    const { tensors } = await session.run([structuredClone(row)], ['predicted_class'])
    assert.deepEqual(tensors[0]?.data, ['setosa'])
    assert.equal(workers.length, 2)
    assert.equal(deaths.length, 1)
  })

  test('a thread that dies while it is idle is replaced', async () => {
    const { server, infer, workers } = await open(oneWorker)
    for (let deaths = 1; deaths <= 5; deaths++) {
      await (workers.at(-1) as Worker).terminate()
      assert.equal((await infer(irisRequest)).status, 200)
      assert.equal(await metric(server, 'inference_worker_deaths_total'), deaths)
    }
    assert.equal(workers.length, 6)
  })

  test('a thread that dies does not affect other threads', async () => {
    const { server, infer, workers } = await open({ EXECUTION: 'worker', ORT_THREADS: '1' })
    const before = workers.length
    const answers = Promise.all(Array.from({ length: 50 }, () => infer(irisRequest)))
    workers[0]?.postMessage(null)
    const statuses = (await answers).map(({ status }) => status)
    assert.ok(statuses.every(status => status === 200 || status === 503))
    assert.ok(statuses.filter(status => status === 503).length <= server.config.maxBatchRows)
    assert.equal((await infer(irisRequest)).status, 200)
    assert.equal(workers.length, before + 1)
  })
})

suite('worker threads that start later', () => {
  const ONE = { EXECUTION: 'worker', ORT_THREADS: '1024', LOG_LEVEL: 'silent' }
  const readiness = async ({ url }: Server) => (await fetch(`${url}/v2/health/ready`)).status

  /** A copy of the included model, which the test may change. */
  function folder(t: TestContext, modelJson: object = {}): string {
    const folder = mkdtempSync(join(tmpdir(), 'execution-'))
    t.after(() => rmSync(folder, { recursive: true }))
    cpSync('models/iris/v1.0.0/model.onnx', join(folder, 'model.onnx'))
    utimesSync(join(folder, 'model.onnx'), 1, 1)
    writeFileSync(
      join(folder, 'model.json'),
      JSON.stringify({ name: 'iris-classifier', ...modelJson }),
    )
    return folder
  }

  /**
   * Overwrites the file in place and sets a fixed modification time, so that the file seems
   * unchanged.
   */
  function overwrite(file: string, content: Buffer): void {
    writeFileSync(file, content)
    utimesSync(file, 1, 1)
  }

  test('a new thread checks the digests of the files, and the model is not ready until they match', async t => {
    const good = readFileSync('models/iris/v1.0.0/model.onnx')
    const MODEL_DIR = folder(t, { sha256: createHash('sha256').update(good).digest('hex') })
    const { server, infer, workers } = await open({ ...ONE, MODEL_DIR })
    const other = Buffer.from(good)
    other.write('setosb', good.indexOf('setosa'))
    overwrite(join(MODEL_DIR, 'model.onnx'), other)
    await (workers[0] as Worker).terminate()
    await until('the model is not ready', async () => (await readiness(server)) === 503)
    const { status, headers } = await infer(irisRequest)
    assert.deepEqual([status, headers.has('retry-after')], [503, true])
    overwrite(join(MODEL_DIR, 'model.onnx'), good)
    await until('the model is ready again', async () => (await readiness(server)) === 200)
    const answer = (await (await infer(irisRequest)).json()) as { outputs: { data: string[] }[] }
    assert.deepEqual(answer.outputs[1]?.data, ['setosa'])
  })

  test('a new thread does not load a different model, even without digests', async t => {
    const MODEL_DIR = folder(t)
    const { server, infer, workers } = await open({ ...ONE, MODEL_DIR })
    const first = join(MODEL_DIR, 'model.onnx')
    renameSync(first, join(MODEL_DIR, 'kept'))
    cpSync('models/iris/v2.0.0/model.onnx', first)
    await (workers[0] as Worker).terminate()
    await until('the model is not ready', async () => (await readiness(server)) === 503)
    assert.equal((await infer(irisRequest)).status, 503)
    renameSync(join(MODEL_DIR, 'kept'), first)
    await until('the model is ready again', async () => (await readiness(server)) === 200)
    assert.equal((await infer(irisRequest)).status, 200)
  })

  test('threads for a slow model are started later if they cannot start immediately', async t => {
    const MODEL_DIR = folder(t)
    const first = join(MODEL_DIR, 'model.onnx')
    cpSync('models/iris/v2.0.0/model.onnx', first)
    const { server, infer, workers } = await open({ MODEL_DIR, ...MANY })
    const told = t.mock.method(server.service.log, 'error')
    renameSync(first, join(MODEL_DIR, 'kept'))
    for (let runs = 0; told.mock.callCount() === 0 && runs < 200; runs++) await sendMany(infer)
    assert.match(
      String(told.mock.calls[0]?.arguments[0]),
      /worker threads failed to start.*"model\.onnx" has changed/,
    )
    renameSync(join(MODEL_DIR, 'kept'), first)
    for (let runs = 0; workers.length === 0 && runs < 200; runs++) await sendMany(infer)
    assert.ok(workers.length >= 1)
  })
})

test('copies of a model fit if they leave a quarter of the memory free', () => {
  const MiB = 2 ** 20
  assert.equal(copiesThatFit(100 * MiB, 400 * MiB, 512 * MiB), 3)
  assert.equal(copiesThatFit(400 * MiB, 400 * MiB, 512 * MiB), 0)
  assert.ok(copiesThatFit(0) > 1000)
})

test('tensors are transferred with their memory, except data in the pool of small buffers', async () => {
  const { port1, port2 } = new MessageChannel()
  const own = Float32Array.of(1, 2)
  const pooled = Buffer.from([1, 2, 3, 4])
  const { tensors, transfer } = detach([
    { name: 'own', datatype: 'FP32', shape: [2], data: own },
    {
      name: 'pooled',
      datatype: 'UINT8',
      shape: [4],
      data: new Uint8Array(pooled.buffer, pooled.byteOffset, 4),
    },
    { name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] },
  ])
  port1.postMessage(tensors, transfer)
  const [arrived] = (await once(port2, 'message')) as [{ data: Tensor[] } | Tensor[]]
  port1.close()
  assert.deepEqual(
    (Array.isArray(arrived) ? arrived : arrived.data).map(({ data }) =>
      Array.from(data as Iterable<unknown>),
    ),
    [[1, 2], [1, 2, 3, 4], ['a']],
  )
  assert.equal(own.byteLength, 0)
  assert.deepEqual([...pooled], [1, 2, 3, 4])
})

async function metric({ service }: Server, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(await service.metrics.text())?.[1])
}
