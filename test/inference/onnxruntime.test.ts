import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { createNativeSession, type NativeSession } from '../../function/inference/onnxruntime.ts'
import { DATATYPES, type Datatype } from '../../function/protocol/datatypes.ts'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder, testModel } from '../server.ts'

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
