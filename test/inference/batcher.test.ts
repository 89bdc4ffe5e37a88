import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, suite, test } from 'node:test'
import fc from 'fast-check'
import type { Caller } from '../../function/answer.ts'
import { readConfig } from '../../function/config/config.ts'
import type { Codec } from '../../function/protocol/codec.ts'
import { DeadlinePassed, ModelError, Overloaded } from '../../function/protocol/errors.ts'
import type { InferenceRequest } from '../../function/protocol/request.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { createService } from '../../function/service.ts'
import { runs } from '../seed.ts'
import { type Server, startServer, testModel } from '../server.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

async function open(env: Record<string, string> = {}) {
  const server = await startServer(env)
  servers.push(server)
  const { model, metrics } = server.service
  const loaded = await model.whenLoaded(caller())
  const { signature } = loaded
  const outputs = signature.outputs.map(({ name }) => ({ name, binary: false }))
  return {
    model,
    infer: async (
      inputs: readonly Tensor[],
      who = caller(),
      request: Partial<InferenceRequest> = {},
    ) => loaded.infer(decoded({ inputs, outputs, ...request }), who),
    runs: async () => {
      const text = await metrics.text()
      return ['count', 'sum'].map(part =>
        Number(new RegExp(`^inference_batch_rows_${part} (\\d+)`, 'm').exec(text)?.[1]),
      )
    },
  }
}

/** A codec for a request that is already decoded. It returns the outputs unchanged. */
const decoded = (request: InferenceRequest): Codec<readonly Tensor[]> => ({
  decode: () => request,
  encoder() {
    let outputs: readonly Tensor[] = []
    return {
      add(tensors) {
        outputs = tensors
      },
      finish: () => outputs,
    }
  },
})

const caller = (): Caller => ({
  arrived: performance.now(),
  deadline: performance.now() + 30_000,
  gone: false,
})

const irisRows = (...rows: number[][]): Tensor[] => [
  {
    name: 'input',
    datatype: 'FP32',
    shape: [rows.length, 4],
    data: Float32Array.from(rows.flat()),
  },
]
const numbers = (...data: number[]): Tensor[] => [
  { name: 'x', datatype: 'FP32', shape: [data.length], data: Float32Array.from(data) },
]
const indices = (...data: number[]): Tensor[] => [
  {
    name: 'index',
    datatype: 'INT64',
    shape: [data.length],
    data: BigInt64Array.from(data, BigInt),
  },
]

const SETOSA = [5.1, 3.5, 1.4, 0.2]

suite('requests that wait at the same time', () => {
  test('waiting requests share one run', async () => {
    const { infer, runs } = await open()
    const answers = await Promise.all([
      infer(irisRows(SETOSA)),
      infer(irisRows(SETOSA, SETOSA)),
      infer(irisRows(SETOSA)),
    ])
    assert.deepEqual(
      answers.map(([probabilities]) => probabilities?.shape),
      [
        [1, 3],
        [2, 3],
        [1, 3],
      ],
    )
    assert.deepEqual(await runs(), [1, 4])
  })

  test('requests do not share a run with a request that contains U+FFFD', async () => {
    const { infer, runs } = await open({ MODEL_DIR: testModel('identity-bytes') })
    const text = (...data: string[]): Tensor[] => [
      { name: 'x', datatype: 'BYTES', shape: [data.length], data },
    ]
    await Promise.all(['a', '\ufffd', 'b', 'x\ufffd'].map(one => infer(text(one))))
    assert.deepEqual(await runs(), [3, 4])
  })

  test('requests share runs of at most MAX_BATCH_ROWS, and a larger request runs alone', async () => {
    const { infer, runs } = await open({ MAX_BATCH_ROWS: '2' })
    await Promise.all([
      infer(irisRows(SETOSA, SETOSA, SETOSA)),
      ...Array.from({ length: 4 }, () => infer(irisRows(SETOSA))),
    ])
    assert.deepEqual(await runs(), [3, 7])
  })

  test('requests are refused beyond MAX_QUEUE_ROWS, and accepted again afterwards', async () => {
    const { infer } = await open({ MAX_QUEUE_ROWS: '2' })
    const answers = await Promise.allSettled(
      [SETOSA, SETOSA, SETOSA].map(row => infer(irisRows(row))),
    )
    assert.deepEqual(
      answers.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    assert.ok((answers[2] as PromiseRejectedResult).reason instanceof Overloaded)
    assert.equal((await infer(irisRows(SETOSA))).length, 2)
  })

  test('a single request may exceed MAX_QUEUE_ROWS while the queue is empty', async () => {
    const { infer } = await open({ MAX_QUEUE_ROWS: '2' })
    assert.deepEqual((await infer(irisRows(SETOSA, SETOSA, SETOSA)))[0]?.shape, [3, 3])
  })

  test('each request receives the outputs that it requested', async () => {
    const { infer } = await open()
    const [classes, all] = await Promise.all([
      infer(irisRows(SETOSA), caller(), { outputs: [{ name: 'predicted_class', binary: false }] }),
      infer(irisRows(SETOSA)),
    ])
    assert.deepEqual(
      [classes, all].map(outputs => outputs.map(({ name }) => name)),
      [['predicted_class'], ['probabilities', 'predicted_class']],
    )
  })

  test('only the request with a bad row fails', async () => {
    const { infer } = await open({ MODEL_DIR: testModel('failing') })
    const answers = await Promise.allSettled([
      infer(indices(0)),
      infer(indices(99)),
      infer(indices(2)),
    ])
    assert.ok((answers[1] as PromiseRejectedResult).reason instanceof ModelError)
    assert.deepEqual(
      [answers[0], answers[2]].map(answer =>
        Array.from((answer as PromiseFulfilledResult<[Tensor]>).value[0].data as Float32Array),
      ),
      [[10], [30]],
    )
  })

  test('a request is not run if its caller hung up', async () => {
    const { infer, runs } = await open()
    const gone = caller()
    const answer = infer(irisRows(SETOSA), gone)
    gone.gone = true
    await assert.rejects(answer)
    assert.deepEqual(await runs(), [0, 0])
  })

  test('a request is not run after its deadline, or after its own timeout', async () => {
    const { infer, runs } = await open()
    await assert.rejects(
      infer(irisRows(SETOSA), { ...caller(), deadline: performance.now() }),
      DeadlinePassed,
    )
    await assert.rejects(
      infer(
        irisRows(SETOSA),
        { ...caller(), arrived: performance.now() - 10 },
        { timeoutMicroseconds: 5_000 },
      ),
      DeadlinePassed,
    )
    assert.deepEqual(await runs(), [0, 0])
  })
})

test('a request with many rows waits until it is known whether the request may be divided', async () => {
  const config = readConfig({ MODEL_DIR: testModel('identity-fp32'), LOG_LEVEL: 'silent' })
  const { model } = createService(config)
  await model.load()
  const loaded = await model.whenLoaded(caller())
  const outputs = [{ name: 'y', binary: false }]
  const infer = (rows: number, who = caller()) =>
    loaded.infer(decoded({ inputs: numbers(...new Array(rows).fill(1)), outputs }), who)
  assert.equal(model.batching.reason, 'undecided')
  const late = { ...caller(), deadline: performance.now() }
  const [many, tooLate] = await Promise.allSettled([infer(64), infer(64, late)])
  assert.equal(model.batching.reason, 'proven')
  assert.equal(many.status === 'fulfilled' && many.value[0]?.data.length, 64)
  assert.ok(tooLate.status === 'rejected' && tooLate.reason instanceof DeadlinePassed)
  assert.equal(loaded.queuedRows, 0)
  await model.close()
})

suite('requests that are never joined', () => {
  const apart = async (
    env: Record<string, string>,
    inputs: readonly Tensor[][],
    expected: number[][],
  ) => {
    const { infer, runs } = await open(env)
    const answers = await Promise.all(inputs.map(input => infer(input)))
    assert.deepEqual(
      answers.map(outputs => Array.from((outputs as [Tensor])[0].data as Float32Array)),
      expected,
    )
    assert.equal((await runs())[0], inputs.length)
  }

  test('requests run alone if rows depend on each other, although the shapes suggest independent rows', async () => {
    const rows = (...data: number[]): Tensor[] => [
      { name: 'x', datatype: 'FP32', shape: [data.length / 3, 3], data: Float32Array.from(data) },
    ]
    await apart(
      { MODEL_DIR: testModel('rows-dependent') },
      [rows(1, 2, 3), rows(1, 2, 3, 3, 4, 5)],
      [
        [0, 0, 0],
        [-1, -1, -1, 1, 1, 1],
      ],
    )
  })

  test('requests run alone if an output has no rows', async () => {
    await apart({ MODEL_DIR: testModel('vector-sum') }, [numbers(1, 2), numbers(3)], [[3], [3]])
  })

  test('a request with a long text runs alone, because other rows would be padded to its length', async () => {
    const { infer, runs } = await open({ MODEL_DIR: testModel('identity-bytes') })
    const text = (data: string[]): Tensor[] => [
      { name: 'x', datatype: 'BYTES', shape: [data.length], data },
    ]
    await Promise.all([infer(text(['a'])), infer(text(['b'])), infer(text(['c'.repeat(4_096)]))])
    assert.deepEqual(await runs(), [1, 3])
    await Promise.all([infer(text(['a'])), infer(text(['b'])), infer(text(['c'.repeat(4_097)]))])
    assert.deepEqual(await runs(), [3, 6])
  })

  test('requests run alone if model.json sets "batch": false', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'model-'))
    t.after(() => rmSync(folder, { recursive: true }))
    cpSync(testModel('identity-fp32'), folder, { recursive: true })
    writeFileSync(join(folder, 'model.json'), '{"batch": false}')
    await apart({ MODEL_DIR: folder }, [numbers(1), numbers(2)], [[1], [2]])
  })

  test('a request without rows runs alone', async () => {
    const { infer } = await open()
    const [none, one] = await Promise.all([infer(irisRows()), infer(irisRows(SETOSA))])
    assert.deepEqual(
      [none[0]?.shape, one[0]?.shape],
      [
        [0, 3],
        [1, 3],
      ],
    )
  })
})

suite('results of joined and separate runs', () => {
  /** After some requests, the test waits for one turn of the event loop. */
  const interleavings = <T>(row: fc.Arbitrary<T>) =>
    fc.array(
      fc.record({ rows: fc.array(row, { minLength: 1, maxLength: 4 }), pause: fc.boolean() }),
      { minLength: 1, maxLength: 12 },
    )

  async function answers<T>(
    requests: readonly { rows: T[]; pause: boolean }[],
    infer: (rows: T[]) => Promise<readonly Tensor[]>,
  ) {
    const sent: Promise<readonly Tensor[]>[] = []
    for (const { rows, pause } of requests) {
      sent.push(infer(rows))
      if (pause) await new Promise(resolve => setImmediate(resolve))
    }
    return Promise.all(sent)
  }

  test('results are equal byte for byte if they do not depend on the batch size', async () => {
    const models = [
      {
        name: 'identity-int64',
        datatype: 'INT64',
        row: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
        pack: (rows: never) => BigInt64Array.from(rows),
      },
      {
        name: 'identity-bytes',
        datatype: 'BYTES',
        row: fc.string({ unit: 'grapheme' }).filter(text => !text.includes('\0')),
        pack: (rows: never) => rows,
      },
    ] as const
    for (const { name, datatype, row, pack } of models) {
      const { infer } = await open({ MODEL_DIR: testModel(name), MAX_BATCH_ROWS: '5' })
      const tensor = (rows: unknown[]): Tensor => ({
        name: 'x',
        datatype,
        shape: [rows.length],
        data: pack(rows as never),
      })
      await fc.assert(
        fc.asyncProperty(interleavings<bigint | string>(row), async requests => {
          const got = await answers(requests, rows => infer([tensor(rows)]))
          assert.deepEqual(
            got.map(([y]) => Array.from(y?.data as Iterable<unknown>)),
            requests.map(({ rows }) => rows),
          )
        }),
        runs(50),
      )
    }
  })

  // ONNX Runtime multiplies a single row differently from several rows. The measured probabilities
  // differ by up to 3.6e-7.
  for (const version of ['v1.0.0', 'v2.0.0']) {
    test(`results of iris ${version} differ by at most 1e-6, with the same class unless two classes are almost equal`, async () => {
      const { infer } = await open({ MODEL_DIR: `models/iris/${version}` })
      const measurement = fc.integer({ min: 1, max: 80 }).map(tenths => tenths / 10)
      const row = fc.tuple(measurement, measurement, measurement, measurement)
      await fc.assert(
        fc.asyncProperty(interleavings(row), async requests => {
          const joined = await answers(requests, rows => infer(irisRows(...rows)))
          for (const [i, { rows }] of requests.entries()) {
            const alone = await infer(irisRows(...rows))
            const [p, q] = [joined[i]?.[0]?.data, alone[0]?.data] as Float32Array[]
            p?.forEach((value, at) => {
              assert.ok(Math.abs(value - (q?.[at] as number)) <= 1e-6, `${value} and ${q?.[at]}`)
            })
            rows.forEach((_, r) => {
              const [first = 0, second = 0] = [...(q?.subarray(r * 3, r * 3 + 3) ?? [])].sort(
                (a, b) => b - a,
              )
              if (first - second > 1e-5) assert.equal(joined[i]?.[1]?.data[r], alone[1]?.data[r])
            })
          }
        }),
        runs(50),
      )
    })
  }
})
