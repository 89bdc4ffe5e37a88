import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import fc from 'fast-check'
import { InlineExecutor } from '../../function/inference/executor.ts'
import { type Indexed, withIndices } from '../../function/inference/label-indices.ts'
import { openSession, type Session } from '../../function/inference/session.ts'
import { DATATYPES } from '../../function/protocol/datatypes.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'
import { projectFolder, startServer } from '../server.ts'
import { type WrittenModel, type WrittenNode, writeModel } from './batchability/onnx-writer.ts'
import { type RandomClassifier, randomClassifier } from './random-classifier.ts'

const folder = mkdtempSync(join(tmpdir(), 'label-indices-'))
after(() => rmSync(folder, { recursive: true }))

const IRIS = join(projectFolder, 'models/iris/v1.0.0')

const LABELS = ['setosa', 'versicolor', 'virginica']

const CLASSIFIER: WrittenNode = {
  operator: 'LinearClassifier',
  domain: 'ai.onnx.ml',
  inputs: ['x'],
  outputs: ['label', 'scores'],
  attributes: {
    classlabels_strings: LABELS,
    coefficients: { float: [1, 0, 0, 1, -1, -1] },
    intercepts: { float: [0, 0, 0.5] },
  },
}

const LABEL = { type: 'BYTES', dims: ['n'] } as const

const MODEL: WrittenModel = {
  opset: { '': 17, 'ai.onnx.ml': 3 },
  nodes: [CLASSIFIER],
  inputs: { x: { type: 'FP32', dims: ['n', 2] } },
  outputs: { label: LABEL, scores: { type: 'FP32', dims: ['n', 3] } },
}

const ROWS: Tensor = {
  name: 'x',
  datatype: 'FP32',
  shape: [4, 2],
  data: Float32Array.of(2, 1, 1, 2, -2, -2, 2, 2),
}
const CLASSES = ['setosa', 'versicolor', 'virginica', 'setosa']

const open = (model: WrittenModel): Promise<Session> => {
  const file = join(folder, 'model.onnx')
  writeFileSync(file, writeModel(model))
  return openSession(file, 1)
}

const withNode = (changes: Partial<WrittenNode>): WrittenModel => ({
  ...MODEL,
  nodes: [{ ...CLASSIFIER, ...changes }],
})

const withAttributes = (attributes: WrittenNode['attributes']) =>
  withNode({ attributes: { ...CLASSIFIER.attributes, ...attributes } })

suite('indices instead of labels', () => {
  test('random classifiers return the same labels and scores', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async seed => {
        const classifier = randomClassifier(seed)
        const bytes = writeModel(classifier.model)
        const { bytes: changed, labels } = (await withIndices(bytes)) as Indexed
        const texts = await runAll(bytes, classifier)
        const indices = await runAll(changed, classifier)
        for (const outputs of indices) {
          assert.equal(outputs[0]?.datatype, 'INT64')
          outputs[0] = withTexts(outputs[0], labels.get('label') ?? [])
        }
        assert.deepEqual(indices, texts)
      }),
      runs(1_000),
    )
  })

  test('a session with indices returns the same labels', async () => {
    const session = await open(MODEL)
    const requests: Tensor[] = [ROWS, { ...ROWS, shape: [0, 2], data: new Float32Array() }]
    const runAll = () =>
      Promise.all(requests.map(request => session.run([request], ['label', 'scores'])))
    const before = await runAll()
    assert.deepEqual(before[0]?.[0]?.data, CLASSES)
    assert.equal(await session.indexLabels(), true)
    assert.deepEqual(await runAll(), before)
    await session.close()
  })

  test('a served classifier returns indices after startup', async t => {
    const { mock } = t.mock.method(InlineExecutor.prototype, 'indexLabels')
    const server = await startServer({ MODEL_DIR: IRIS, EXECUTION: 'auto' })
    assert.equal(await mock.calls[0]?.result, true)
    await server.stop()
  })

  test('a ZipMap is removed, too', async () => {
    const zipMap: WrittenNode = {
      operator: 'ZipMap',
      domain: 'ai.onnx.ml',
      inputs: ['scores'],
      outputs: ['pairs'],
      attributes: { classlabels_strings: LABELS },
    }
    const pairs = { type: 'FP32', dims: [], mapsFrom: 'BYTES' } as const
    const session = await open({
      ...MODEL,
      nodes: [CLASSIFIER, zipMap],
      outputs: { label: LABEL, pairs },
    })
    const before = await session.run([ROWS], ['label', 'pairs'])
    assert.deepEqual(before[0]?.data, CLASSES)
    assert.equal(await session.indexLabels(), true)
    assert.deepEqual(await session.run([ROWS], ['label', 'pairs']), before)
    await session.close()
  })

  test('a session may be closed meanwhile', async () => {
    const session = await open(MODEL)
    const indexed = session.indexLabels()
    await session.close()
    assert.equal(await indexed, false)
    await assert.rejects(session.run([ROWS], ['label']))
  })

  const identity = { operator: 'Identity', inputs: ['label'], outputs: ['same'] }
  const body = { nodes: [identity], inputs: {}, outputs: { same: LABEL } }
  for (const [what, model] of [
    ['one label', withAttributes({ classlabels_strings: ['a'] })],
    ['labels of both kinds', withAttributes({ classlabels_ints: [1, 2, 3] })],
    ['labels that are numbers', withAttributes({ classlabels_strings: [0, 1, 2] })],
    ['a label with U+FFFD', withAttributes({ classlabels_strings: ['a', '\ufffd', 'b'] })],
    ['a label with a NUL', withAttributes({ classlabels_strings: ['a', 'b\0c', 'd'] })],
    ['a classifier of another domain', withNode({ domain: 'com.example' })],
    ['another operator', withNode({ operator: 'LabelEncoder' })],
    ['a label that is no output', { ...MODEL, outputs: { scores: MODEL.outputs.scores as never } }],
    ['a label that another node reads', { ...MODEL, nodes: [CLASSIFIER, identity] }],
    [
      'a label that an inner graph reads',
      {
        ...MODEL,
        nodes: [
          CLASSIFIER,
          {
            operator: 'If',
            inputs: ['is'],
            outputs: ['other'],
            attributes: { then_branch: body, else_branch: body },
          },
        ],
      },
    ],
    [
      'functions',
      {
        ...MODEL,
        functions: [
          { name: 'F', domain: 'own', inputs: ['x'], outputs: ['y'], opset: 17, nodes: [] },
        ],
      },
    ],
  ] satisfies [string, WrittenModel][])
    test(`labels remain texts in a model with ${what}`, async () => {
      assert.equal(await withIndices(writeModel(model)), undefined)
    })
})

async function runAll(
  bytes: Buffer,
  { model, datatype, features, inputs }: RandomClassifier,
): Promise<Tensor[][]> {
  const file = join(folder, 'random.onnx')
  writeFileSync(file, bytes)
  const session = await openSession(file, 1)
  const names = leavesScores(model) ? ['label'] : ['label', 'scores']
  const results: Tensor[][] = []
  for (const values of inputs) {
    const shape = [values.length / features, features]
    const elements = datatype === 'INT64' ? values.map(BigInt) : values
    const data = DATATYPES[datatype].allocate(values.length)
    for (const [i, element] of elements.entries()) data[i] = element as never
    results.push(await session.run([{ name: 'x', datatype, shape, data }], names))
  }
  await session.close()
  return results
}

const withTexts = (indices: Tensor, labels: readonly string[]): Tensor => ({
  ...indices,
  datatype: 'BYTES',
  data: Array.from(indices.data as BigInt64Array, index => labels[Number(index)] as string),
})

/** Whether ONNX Runtime 1.30 may write only one of two scores, and leave the other undefined. */
function leavesScores({ nodes: [node], outputs }: WrittenModel): boolean {
  const { post_transform, base_values, classlabels_strings } =
    (node as WrittenNode).attributes ?? {}
  const isBinary = (classlabels_strings as readonly string[]).length === 2
  const bases = (base_values as { readonly float: readonly number[] } | undefined)?.float.length
  return 'scores' in outputs && isBinary && (post_transform === 'PROBIT' || bases === 1)
}
