import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { createNativeSession, type NativeSession } from '../../function/inference/onnxruntime.ts'
import { DATATYPES, type Datatype } from '../../function/protocol/datatypes.ts'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder, testModel } from '../server.ts'

/*
 * The contract of ONNX Runtime's native half, which is not a public interface:
 * function/inference/onnxruntime.ts calls it as onnxruntime-node's own JavaScript does. When a
 * version changes it, one of these fails with a sentence.
 */

const version = manifest.dependencies['onnxruntime-node']

function holds(condition: boolean, sentence: string): void {
  assert.ok(
    condition,
    `onnxruntime-node ${version}: ${sentence}; function/inference/onnxruntime.ts must follow`,
  )
}

function open(file: string): NativeSession {
  const session = createNativeSession()
  session.loadModel(file, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 })
  return session
}

suite('the native half of ONNX Runtime', () => {
  test('is of one version, which an install cannot change', () => {
    assert.match(version, /^\d+\.\d+\.\d+$/)
  })

  test('is initialised and asked by its own JavaScript as by ours', () => {
    const read = (file: string) =>
      readFileSync(join(projectFolder, 'node_modules/onnxruntime-node/dist', file), 'utf8')
    holds(
      /binding\.initOrtOnce\(logLevel, \w+\.Tensor, \w+\.isMainThread\)/.test(read('binding.js')),
      'initOrtOnce() no longer takes a log level, a tensor class and whether this is the main thread',
    )
    holds(
      /bin\/napi-v6\/\$\{process\.platform\}\/\$\{process\.arch\}\/onnxruntime_binding\.node/.test(
        read('binding.js'),
      ),
      'the library is no longer in bin/napi-v6/PLATFORM/ARCHITECTURE/onnxruntime_binding.node',
    )
    holds(
      /\.loadModel\(pathOrBuffer, options\)/.test(read('backend.js')),
      'loadModel() no longer takes a path and options',
    )
    holds(
      /\.run\(feeds, fetches, options\)/.test(read('backend.js')),
      'run() no longer takes feeds, fetches and options',
    )
  })

  test('describes inputs and outputs', () => {
    const session = open('models/iris/v1.0.0/model.onnx')
    const [input] = session.inputMetadata
    holds(input?.name === 'input', 'inputMetadata has no name')
    holds(input?.isTensor === true, 'inputMetadata does not say that an input is a tensor')
    holds(input?.type === DATATYPES.FP32.onnx, 'inputMetadata.type is no number of onnx.proto')
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

  test('fails in the call itself, with a message', () => {
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
    test(`takes and gives ${datatype} as the datatype table says`, () => {
      const { ort, onnx, allocate } = DATATYPES[datatype]
      const session = open(join(testModel(`identity-${datatype.toLowerCase()}`), 'model.onnx'))
      const data = allocate(2)
      const results = session.run(
        { x: { type: ort, data, dims: [2], location: 'cpu' } },
        { y: null },
        {},
      )
      const output = results.y
      holds(session.inputMetadata[0]?.type === onnx, `${datatype} has another number than ${onnx}`)
      holds(output !== undefined, 'run() does not return the outputs by name, before it returns')
      holds(output?.type === ort, `${datatype} comes back as "${output?.type}", not as "${ort}"`)
      holds(output?.dims.join() === '2', `the dims of an output are [${output?.dims}], not [2]`)
      holds(
        Object.getPrototypeOf(output?.data) === Object.getPrototypeOf(data),
        `${datatype} comes back as ${output?.data.constructor.name}, not as ${data.constructor.name}`,
      )
      session.dispose()
    })
  }
})
