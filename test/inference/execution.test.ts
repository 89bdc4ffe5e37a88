import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { afterEach, suite, test } from 'node:test'
import { MessageChannel, type Worker } from 'node:worker_threads'
import { detach } from '../../function/inference/transfer.ts'
import { copiesThatFit, openWorkers } from '../../function/inference/workers.ts'
import { NotReady } from '../../function/protocol/errors.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { type Server, startServer, testModel } from '../server.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

/** The worker threads that are started from now on. */
function noteWorkers() {
  const workers: Worker[] = []
  const noted = (message: unknown) => workers.push((message as { worker: Worker }).worker)
  subscribe('worker_threads', noted)
  return { workers, stop: () => unsubscribe('worker_threads', noted) }
}

/** A server, and the worker threads it started. */
async function open(env: Record<string, string>) {
  const { workers, stop } = noteWorkers()
  try {
    const server = await startServer({ EXECUTION: 'auto', ...env })
    servers.push(server)
    const name = server.service.model.name
    const infer = (body: unknown) =>
      fetch(`${server.url}/v2/models/${name}/infer`, { method: 'POST', body: Buffer.from(JSON.stringify(body)) })
    return { server, infer, workers }
  } finally {
    // Replacements are started later, and are wanted too.
    afterAll.push(stop)
  }
}
const afterAll: (() => void)[] = []
afterEach(() => {
  for (const undo of afterAll.splice(0)) undo()
})

const slow = { MODEL_DIR: testModel('slow') }
const slowRequest = (...data: number[]) => ({ inputs: [{ name: 'x', datatype: 'FP32', shape: [data.length / 2, 2], data }] })
const irisRequest = { inputs: [{ name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }] }

suite('EXECUTION', () => {
  test('auto keeps a fast model on the main thread', async () => {
    const { infer, workers } = await open({})
    assert.equal((await infer(irisRequest)).status, 200)
    assert.equal(workers.length, 0)
  })

  test('auto moves a model whose warm-up is slow to a worker thread', async () => {
    const { infer, workers } = await open(slow)
    assert.equal((await infer(slowRequest(1, 2))).status, 200)
    assert.ok(workers.length >= 1)
  })

  test('auto moves a model that turns out slow after the start', async () => {
    // The warm-up has one row; a run of very many rows takes long.
    const { server, infer, workers } = await open({ MODEL_DIR: 'models/iris/v2.0.0', MAX_BATCH_ROWS: '1' })
    assert.equal(workers.length, 0)
    const rows = 20_000
    const many = { inputs: [{ name: 'input', datatype: 'FP32', shape: [rows, 4], data: new Array(rows * 4).fill(1) }] }
    for (let runs = 0; workers.length === 0 && runs < 200; runs++) assert.equal((await infer(many)).status, 200)
    assert.equal(workers.length, 1)
    await Promise.all(Array.from({ length: 20 }, async () => assert.equal((await infer(irisRequest)).status, 200)))
    assert.equal(server.service.model.notReady, undefined)
  })

  test('inline and worker are done as told', async () => {
    assert.equal((await open({ ...slow, EXECUTION: 'inline' })).workers.length, 0)
    assert.ok((await open({ EXECUTION: 'worker' })).workers.length >= 1)
  })

  test('worker starts as many threads as the CPUs hold, of ORT_THREADS each', async () => {
    const { server, workers } = await open({ EXECUTION: 'worker', ORT_THREADS: '1' })
    assert.equal(workers.length, server.config.cpus)
  })

  test('worker answers probes while the model runs', async () => {
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

suite('a worker thread that dies', () => {
  const oneWorker = { EXECUTION: 'worker', ORT_THREADS: '1024' }
  const row: Tensor = { name: 'input', datatype: 'FP32', shape: [1, 4], data: Float32Array.of(5.1, 3.5, 1.4, 0.2) }

  test('fails the run it was at, as something to try again, is counted, and replaced', async t => {
    const deaths: string[] = []
    const { workers, ...noted } = noteWorkers()
    const session = await openWorkers('models/iris/v1.0.0/model.onnx', {
      threads: 1,
      workers: 1,
      onDeath: reason => deaths.push(reason),
      onLoss: assert.fail,
    })
    t.after(async () => {
      noted.stop()
      await session.close()
    })
    // The thread fails on what is no command, and the command of the run lies behind it.
    workers[0]?.postMessage(null)
    const lost = session.run([structuredClone(row)], ['predicted_class'])
    await assert.rejects(lost, (error: Error) => error instanceof NotReady && /thread .* ended/.test(error.message))
    assert.deepEqual((await session.run([structuredClone(row)], ['predicted_class']))[0]?.data, ['setosa'])
    assert.equal(workers.length, 2)
    assert.equal(deaths.length, 1)
  })

  test('while it has nothing to do is replaced all the same', async () => {
    const { server, infer, workers } = await open(oneWorker)
    for (let deaths = 1; deaths <= 5; deaths++) {
      await (workers.at(-1) as Worker).terminate()
      assert.equal((await infer(irisRequest)).status, 200)
      assert.equal(await metric(server, 'inference_worker_deaths_total'), deaths)
    }
    assert.equal(workers.length, 6)
  })

  test('leaves the others at their work', async () => {
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

test('copies of a model fit where they leave a quarter of the memory free', () => {
  const MiB = 2 ** 20
  assert.equal(copiesThatFit(100 * MiB, 400 * MiB, 512 * MiB), 3)
  assert.equal(copiesThatFit(400 * MiB, 400 * MiB, 512 * MiB), 0)
  assert.ok(copiesThatFit(0) > 1000)
})

test('tensors change threads with their memory, and leave the pool of small buffers where it is', async () => {
  const { port1, port2 } = new MessageChannel()
  const own = Float32Array.of(1, 2)
  const pooled = Buffer.from([1, 2, 3, 4])
  const { tensors, transfer } = detach([
    { name: 'own', datatype: 'FP32', shape: [2], data: own },
    { name: 'pooled', datatype: 'UINT8', shape: [4], data: new Uint8Array(pooled.buffer, pooled.byteOffset, 4) },
    { name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] },
  ])
  port1.postMessage(tensors, transfer)
  const [arrived] = (await once(port2, 'message')) as [{ data: Tensor[] } | Tensor[]]
  port1.close()
  assert.deepEqual(
    (Array.isArray(arrived) ? arrived : arrived.data).map(({ data }) => Array.from(data as Iterable<unknown>)),
    [[1, 2], [1, 2, 3, 4], ['a']],
  )
  assert.equal(own.byteLength, 0)
  assert.deepEqual([...pooled], [1, 2, 3, 4])
})

async function metric({ service }: Server, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(await service.metrics.text())?.[1])
}
