import assert from 'node:assert/strict'
import { appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { readConfig } from '../../../function/config/config.ts'
import {
  decideBatching,
  describeBatching,
} from '../../../function/inference/batchability/decide.ts'
import { sampledDifference } from '../../../function/inference/batchability/sampled-check.ts'
import { checkBatchTrue } from '../../../function/inference/batching.ts'
import { exampleInputs } from '../../../function/inference/example.ts'
import { checkGraph, type GraphCheck } from '../../../function/inference/graph-check.ts'
import { openSession, type Session } from '../../../function/inference/session.ts'
import { createService } from '../../../function/service.ts'
import { startServer, testModel } from '../../server.ts'
import { floats, one, write, x } from './models.ts'

const opened: Session[] = []
after(() => Promise.all(opened.map(session => session.close())))

async function decide(file: string, batch?: boolean, check?: Pick<GraphCheck, 'sizesByValues'>) {
  const session = await openSession(file, 1)
  opened.push(session)
  const example = exampleInputs(session.signature, undefined)
  return decideBatching({ file, batch }, session, example, check ?? (await checkGraph(file)))
}

const modelFile = (name: string) => join(testModel(name), 'model.onnx')

describe('requests that share runs', () => {
  test('joins requests if the graph proves that rows are independent', async () => {
    const decided = await decide(modelFile('two-in-two-out'))
    assert.deepEqual(decided, { joins: true, reason: 'proven', detail: undefined })
    assert.match(describeBatching(decided), /^requests share runs: the graph proves/)
  })

  test('joins requests if model.json sets "batch": true, and reports what is not proven', async () => {
    const decided = await decide(modelFile('rows-dependent'), true)
    assert.deepEqual([decided.joins, decided.reason], [true, 'model_json'])
    assert.equal(
      describeBatching(decided),
      'requests share runs because model.json sets "batch": true, although this is not proven: node "mean" (ReduceMean, ai.onnx 21): the node works along dimension 0, which is the batch',
    )
  })

  test('joins requests if an output that is declared with one row has one row per input row', async () => {
    const file = write(one('Identity', [x('N', 2)], { outputs: [x(1, 2)] }))
    assert.equal((await decide(file)).reason, 'proven')
  })
})

describe('requests that do not share runs', () => {
  test('runs each request alone if the proof stops', async () => {
    const decided = await decide(modelFile('rows-dependent'))
    assert.deepEqual([decided.joins, decided.reason], [false, 'not_proven'])
    assert.match(
      describeBatching(decided),
      /^each request has its own run: node "mean" \(ReduceMean/,
    )
  })

  test('runs each request alone if an input has a fixed first dimension', async () => {
    assert.equal((await decide(modelFile('fixed'))).reason, 'fixed_dimension')
  })

  test('runs each request alone if only ONNX Runtime can read the file', async () => {
    const file = write(
      one('ReduceSum', [x('N', 4)], { attributes: { keepdims: 0 }, outputs: [x()] }),
    )
    // Protobuf readers skip a group (field 100).
    appendFileSync(file, Buffer.from([0xa3, 0x06, 0xa4, 0x06]))
    const decided = await decide(file)
    assert.equal(decided.joins, false)
    assert.equal(decided.detail, 'the graph cannot be read: a field has the unknown wire type 3')
  })

  test('runs each request alone if model.json sets "batch": false, although the model is proven', async () => {
    const decided = await decide(modelFile('two-in-two-out'), false)
    assert.deepEqual(decided, { joins: false, reason: 'model_json', detail: undefined })
  })

  test('runs each request alone if input values set a size, although rows are independent', async () => {
    const file = modelFile('two-in-two-out')
    const check = { sizesByValues: 'node "t" (Tile): its input "k" sets a size' }
    const decided = await decide(file, undefined, check)
    assert.deepEqual([decided.joins, decided.reason], [false, 'sizes_by_values'])
    assert.match(
      describeBatching(decided),
      /^each request has its own run: input values determine how much memory a run uses: node "t" \(Tile\)/,
    )
    const onWord = await decide(file, true, check)
    assert.deepEqual([onWord.joins, onWord.reason], [true, 'model_json'])
    assert.match(describeBatching(onWord), /the memory of a run is not limited: node "t" \(Tile\)/)
  })

  test('reports the reason for separate runs in a metric', async () => {
    const server = await startServer({ MODEL_DIR: testModel('rows-dependent') })
    try {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      assert.match(text, /^inference_batching_info\{joined="false",reason="not_proven"\} 1$/m)
    } finally {
      await server.stop()
    }
  })
})

const load = (modelDir: string) =>
  createService(readConfig({ MODEL_DIR: modelDir, LOG_LEVEL: 'silent' })).model.load()

describe('"batch": true in model.json', () => {
  for (const [name, names] of [
    ['fixed', /input "x" has shape \[2,3\]/],
    ['scalar', /input "x" has no first dimension/],
    ['vector-sum', /output "sum" has no first dimension/],
  ] as const) {
    test(`rejects "batch": true at startup for ${name}, which has a fixed or missing first dimension`, async t => {
      const folder = mkdtempSync(join(tmpdir(), 'model-'))
      t.after(() => rmSync(folder, { recursive: true }))
      cpSync(testModel(name), folder, { recursive: true })
      writeFileSync(join(folder, 'model.json'), '{"batch": true}')
      await assert.rejects(load(folder), ({ message }: Error) => {
        assert.match(message, /^model\.json: "batch": true, but /)
        assert.match(message, names)
        return true
      })
    })
  }

  test('accepts "batch": true if all first dimensions are variable', async () => {
    const session = await openSession(modelFile('two-in-two-out'), 1)
    opened.push(session)
    checkBatchTrue(session.signature)
  })
})

describe('the check with a sample', () => {
  const difference = async (file: string) => {
    const session = await openSession(file, 1)
    opened.push(session)
    const { inputs } = session.signature
    const example = inputs.map(({ name, datatype }) => ({
      name,
      datatype,
      shape: [2, 4],
      data: Float32Array.from([0.1, -2, 3, 0.5, 1, 0.25, -1, 2]),
    }))
    return sampledDifference(session, example)
  }

  test('detects a model whose rows depend on each other', async () => {
    const file = write(one('Softmax', [x('N', 4)], { attributes: { axis: 0 } }))
    assert.equal(await difference(file), 'output "out0" of the sample')
  })

  test('finds no difference in a model whose rows are independent', async () => {
    assert.equal(await difference(write(one('MatMul', [x('N', 4), floats([4, 3])]))), undefined)
  })

  test('finds no difference if a run fails', async () => {
    assert.equal(await difference(write(one('MatMul', [x('N', 'M'), floats([5, 3])]))), undefined)
  })
})
