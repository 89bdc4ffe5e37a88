import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { createNativeSession, type NativeSession } from '../../function/inference/onnxruntime.ts'
import { nativeBytes } from '../../function/inference/run-sizes.ts'
import { DATATYPES, type Datatype } from '../../function/protocol/datatypes.ts'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder, testModel } from '../server.ts'
import { writeModel } from './batchability/onnx-writer.ts'

/*
 * ONNX Runtime's native binding is not public. If a new version changes it, one of these tests
 * fails and describes the change.
 */

const version = manifest.dependencies['onnxruntime-node']

function holds(condition: boolean, sentence: string): void {
  assert.ok(
    condition,
    `onnxruntime-node ${version}: ${sentence}; adapt function/inference/onnxruntime.ts`,
  )
}

/** A model whose run needs two tensors of d × d elements for an input of d elements. */
function writePairs(t: { after(undo: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'pairs-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const node = (operator: string, inputs: string[], output: string, attributes = {}) => ({
    operator,
    inputs,
    outputs: [output],
    attributes,
  })
  const model = writeModel({
    opset: 13,
    inputs: { x: { type: 'FP32', dims: ['d', 1] } },
    outputs: { y: { type: 'FP32', dims: [1, 1] } },
    constants: {},
    nodes: [
      node('Transpose', ['x'], 'row', { perm: [1, 0] }),
      node('Add', ['x', 'row'], 'pairs'),
      node('Exp', ['pairs'], 'powers'),
      node('ReduceMean', ['powers'], 'y', { axes: [0, 1], keepdims: 1 }),
    ],
  })
  writeFileSync(join(folder, 'model.onnx'), model)
  return join(folder, 'model.onnx')
}

function open(file: string): NativeSession {
  const session = createNativeSession()
  session.loadModel(file, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 })
  return session
}

suite('the native binding of ONNX Runtime', () => {
  test('package.json pins an exact version of onnxruntime-node', () => {
    assert.match(version, /^\d+\.\d+\.\d+$/)
  })

  test('onnxruntime-node calls the native binding in the same way as this project', () => {
    const read = (file: string) =>
      readFileSync(join(projectFolder, 'node_modules/onnxruntime-node/dist', file), 'utf8')
    holds(
      /binding\.initOrtOnce\(logLevel, \w+\.Tensor, \w+\.isMainThread\)/.test(read('binding.js')),
      'initOrtOnce() no longer has the arguments log level, tensor class and isMainThread',
    )
    holds(
      /bin\/napi-v6\/\$\{process\.platform\}\/\$\{process\.arch\}\/onnxruntime_binding\.node/.test(
        read('binding.js'),
      ),
      'the library is no longer in bin/napi-v6/PLATFORM/ARCHITECTURE/onnxruntime_binding.node',
    )
    holds(
      /\.loadModel\(pathOrBuffer, options\)/.test(read('backend.js')),
      'loadModel() no longer has the arguments path and options',
    )
    holds(
      /\.run\(feeds, fetches, options\)/.test(read('backend.js')),
      'run() no longer has the arguments feeds, fetches and options',
    )
  })

  test('runs of one shape keep at most twice the memory of their tensors', t => {
    const session = open(writePairs(t))
    const length = 3_000
    const x = { type: 'float32', data: new Float32Array(length), dims: [length, 1] }
    const before = nativeBytes()
    for (let i = 0; i < 4; i++) session.run({ x: { ...x, location: 'cpu' } }, { y: null }, {})
    const tensors = 2 * 4 * length ** 2
    const kept = (nativeBytes() - before) / tensors
    holds(kept > 0.9, `a session keeps only ${kept} times the memory of a run`)
    holds(kept < 2.2, `a session keeps ${kept} times the memory of a run (model.ts)`)
  })

  test('the native binding describes inputs and outputs', () => {
    const session = open('models/iris/v1.0.0/model.onnx')
    const [input] = session.inputMetadata
    holds(input?.name === 'input', 'inputMetadata has no name')
    holds(input?.isTensor === true, 'inputMetadata.isTensor is not true for a tensor')
    holds(input?.type === DATATYPES.FP32.onnx, 'inputMetadata.type is not the number in onnx.proto')
    holds(
      input?.shape.join() === '-1,4',
      `inputMetadata.shape is [${input?.shape}] for a variable dimension and 4`,
    )
    holds(
      typeof input?.symbolicDimensions[0] === 'string',
      'inputMetadata.symbolicDimensions does not name variable dimensions',
    )
    holds(session.outputMetadata.length === 2, 'outputMetadata does not list the outputs')
    session.dispose()
  })

  test('a failed run throws an error with a message in the call to run()', () => {
    const session = open('models/iris/v1.0.0/model.onnx')
    let failure: unknown
    try {
      session.run({}, { probabilities: null }, {})
    } catch (error) {
      failure = error
    }
    holds(
      failure instanceof Error && /input/.test(failure.message),
      'run() without an input does not throw an Error that names it',
    )
    session.dispose()
  })

  for (const datatype of Object.keys(DATATYPES) as Datatype[]) {
    test(`the native binding accepts and returns ${datatype} as defined in the datatype table`, () => {
      const { ort, onnx, allocate } = DATATYPES[datatype]
      const session = open(join(testModel(`identity-${datatype.toLowerCase()}`), 'model.onnx'))
      const data = allocate(2)
      const results = session.run(
        { x: { type: ort, data, dims: [2], location: 'cpu' } },
        { y: null },
        {},
      )
      const output = results.y
      holds(session.inputMetadata[0]?.type === onnx, `the number of ${datatype} is not ${onnx}`)
      holds(output !== undefined, 'run() does not return an object of outputs by name')
      holds(output?.type === ort, `${datatype} is returned as "${output?.type}", not as "${ort}"`)
      holds(output?.dims.join() === '2', `the dims of an output are [${output?.dims}], not [2]`)
      holds(
        Object.getPrototypeOf(output?.data) === Object.getPrototypeOf(data),
        `${datatype} is returned as ${output?.data.constructor.name}, not as ${data.constructor.name}`,
      )
      session.dispose()
    })
  }
})
