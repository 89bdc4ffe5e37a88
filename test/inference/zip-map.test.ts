import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { proveIndependent } from '../../function/inference/batchability/prove.ts'
import { fieldsIn } from '../../function/inference/onnx-file.ts'
import { field, message, numberField } from '../../function/inference/protobuf.ts'
import { openSession } from '../../function/inference/session.ts'
import { withoutZipMaps } from '../../function/inference/zip-map.ts'
import { type WrittenModel, writeModel } from './batchability/onnx-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'zip-map-'))
after(() => rmSync(folder, { recursive: true }))

let files = 0

function written(bytes: Buffer): string {
  const file = join(folder, `${files++}.onnx`)
  writeFileSync(file, bytes)
  return file
}

const X = { x: { type: 'FP32', dims: ['n', 2] } } as const
const PAIRS = { p: { type: 'FP32', dims: [], mapsFrom: 'INT64' } } as const

/** A model as CatBoost writes it, without an import of ONNX's own operators. */
const CATBOOST: WrittenModel = {
  opset: { 'ai.onnx.ml': 3 },
  nodes: [
    {
      operator: 'Normalizer',
      domain: 'ai.onnx.ml',
      inputs: ['x'],
      outputs: ['tensor'],
      attributes: { norm: 'L1' },
    },
    {
      operator: 'ZipMap',
      domain: 'ai.onnx.ml',
      inputs: ['tensor'],
      outputs: ['p'],
      attributes: { classlabels_int64s: [10, -20] },
    },
  ],
  inputs: X,
  outputs: PAIRS,
}

const [first, zipMap] = CATBOOST.nodes

suite('ZipMaps', () => {
  test('a ZipMap is replaced by its input, with its classes as labels, even if the file imports only ai.onnx.ml', async () => {
    const session = await openSession(written(writeModel(CATBOOST)), 1)
    assert.deepEqual(session.leftOut, [])
    const [output] = session.signature.outputs
    assert.deepEqual(
      [output?.name, output?.datatype, output?.shape, output?.labels],
      ['p', 'FP32', [-1, 2], ['10', '-20']],
    )
    const x = { name: 'x', datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 3, 1, 1) }
    const [answer] = await session.run([x as never], ['p'])
    assert.deepEqual(
      [answer?.shape, [...(answer?.data ?? [])]],
      [
        [2, 2],
        [0.25, 0.75, 0.5, 0.5],
      ],
    )
    await session.close()
  })

  test('a ZipMap of a graph input is replaced by that input', async () => {
    const nodes = [{ ...zipMap, inputs: ['x'] } as never]
    const session = await openSession(written(writeModel({ ...CATBOOST, nodes })), 1)
    assert.deepEqual(session.signature.outputs[0]?.shape, [-1, 2])
    await session.close()
  })

  test('a ZipMap does not prevent the proof that rows are independent', async () => {
    const file = written(writeModel(CATBOOST))
    const session = await openSession(file, 1)
    assert.deepEqual(await proveIndependent(file, session.signature), { isProven: true })
    await session.close()
  })

  test('a ZipMap without classes is not removed', async () => {
    const nodes = [first as never, { ...zipMap, attributes: {} } as never]
    assert.equal(await withoutZipMaps(written(writeModel({ ...CATBOOST, nodes }))), undefined)
  })

  test('a ZipMap is not removed from a file larger than 64 MiB', async () => {
    // A doc string of 65 MiB, as a sparse part of the file.
    const length = 65 * 2 ** 20
    const begin = Buffer.concat([
      writeModel(CATBOOST),
      // The tag of field 6, and the first two bytes of its length.
      Buffer.from([0x32, 0x80 | (length & 0x7f), 0x80 | ((length >> 7) & 0x7f)]),
      Buffer.from([0x80 | ((length >> 14) & 0x7f), length >> 21]),
    ])
    const file = written(begin)
    truncateSync(file, begin.length + length)
    assert.equal(await withoutZipMaps(file), 'the file is larger than 64 MiB')
  })

  test('a ZipMap is not removed from a model with external data', async () => {
    const weights = message(5, [
      numberField(1, 2),
      numberField(2, 1),
      field(8, 'w'),
      message(13, [field(1, 'location'), field(2, 'weights.bin')]),
      numberField(14, 1),
    ])
    const model = written(withinGraph(written(writeModel(CATBOOST)), weights))
    writeFileSync(join(folder, 'weights.bin'), Buffer.alloc(8))
    assert.equal(await withoutZipMaps(model), 'the model has external data')
    await assert.rejects(
      openSession(model, 1),
      /no output is a tensor; the model has external data; convert .* zipmap=False/,
    )
  })
})

function withinGraph(file: string, more: Buffer): Buffer {
  const whole = readFileSync(file)
  const parts = fieldsIn(whole).map(({ number, begin, body, end }) =>
    number === 7 ? message(7, [whole.subarray(body, end), more]) : whole.subarray(begin, end),
  )
  return Buffer.concat(parts)
}
