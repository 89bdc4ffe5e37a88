import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { type Client, connectGrpc } from './grpc/client.ts'
import { outputsOf, rawRequest, typedRequest } from './grpc/messages.ts'
import { type Server, startServer, testModel } from './server.ts'
import {
  binaryOutputs,
  binaryRequest,
  parseExactly,
  toBytes,
  type WrittenTensor,
  writeExactly,
} from './tensors.ts'

/*
 * Any model can be served if only MODEL_DIR is set. There is a small model for each property of a
 * graph; the tests check every output as JSON, as binary tensor data, and over gRPC.
 */

interface Case {
  readonly name: string
  readonly inputs: readonly WrittenTensor[]
  readonly outputs: readonly WrittenTensor[]
}

const MODELS = readdirSync(testModel(''), { withFileTypes: true })
  .filter(entry => entry.isDirectory() && existsSync(`${testModel(entry.name)}/cases.json`))
  .map(entry => entry.name)

const jsonHasNoWord = ({ datatype, data }: WrittenTensor) =>
  datatype === 'FP16' || data === undefined
/** ONNX Runtime for Node loses bytes that are not UTF-8, so the server returns an error instead. */
const isLost = (tensor: WrittenTensor) => tensor.datatype === 'BYTES' && tensor.data === undefined

/** Inputs with extreme numbers, or with reversed elements if the datatype is not FP32 or FP64. */
const hostile = (inputs: readonly WrittenTensor[]): WrittenTensor[][] =>
  [
    [3e6, -3e6, 1e30, 0],
    ['NaN', 'Infinity', '-Infinity', 1e-30],
  ].map(values =>
    inputs.map(tensor => {
      const { datatype, data } = tensor
      if (data === undefined) return tensor
      const isFloat = datatype === 'FP32' || datatype === 'FP64'
      const odd = isFloat ? data.map((_, i) => values[i % 4] as number) : data.toReversed()
      return { ...tensor, data: odd }
    }),
  )

for (const name of MODELS) {
  const {
    cases,
    fails = [],
    refused = [],
  } = parseExactly(readFileSync(`${testModel(name)}/cases.json`, 'utf8')) as Record<string, Case[]>

  suite(`the model ${name}`, () => {
    let server: Server
    let url: string
    let client: Client
    before(async () => {
      server = await startServer({ MODEL_DIR: testModel(name) })
      url = `${server.url}/v2/models/${server.service.model.name}/infer`
      client = connectGrpc(server.port)
    })
    after(async () => {
      await client.close()
      await server.stop()
    })

    const postJson = (inputs: readonly WrittenTensor[]) =>
      fetch(url, { method: 'POST', body: Buffer.from(writeExactly({ inputs })) })

    for (const { name, inputs, outputs } of cases ?? []) {
      const expected = outputs.map(output => ({
        name: output.name,
        datatype: output.datatype,
        shape: output.shape,
        bytes: toBytes(output),
      }))
      const inferByGrpc = async (request: typeof rawRequest) => {
        const { model } = server.service
        const answer = await client.call('ModelInfer', request(model.name, inputs))
        const outputs = answer.messages.flatMap(outputsOf)
        return {
          status: answer.status,
          message: answer.message,
          isRaw: answer.messages[0]?.raw_output_contents.length > 0,
          outputs: outputs.map(output => ({ ...output, bytes: withoutNanSign(output) })),
        }
      }

      if (outputs.some(isLost)) {
        test(`${name}: the server returns an error for an output whose bytes would be lost`, async () => {
          for (const response of [
            await postJson(inputs),
            await fetch(url, { method: 'POST', ...binaryRequest(inputs) }),
          ]) {
            assert.equal(response.status, 500)
            assert.match(((await response.json()) as { error: string }).error, /not UTF-8/)
          }
        })
        continue
      }

      test(`${name}: a request with binary tensor data gets the expected bytes`, async () => {
        const response = await fetch(url, { method: 'POST', ...binaryRequest(inputs) })
        const body = Buffer.from(await response.arrayBuffer())
        assert.equal(response.status, 200, body.toString())
        assert.deepEqual(
          binaryOutputs(response.headers, body).map(output => ({
            ...output,
            bytes: withoutNanSign(output),
          })),
          expected,
        )
      })

      test(`${name}: a gRPC request with raw contents gets the expected raw contents`, async () => {
        const { status, message, isRaw, outputs } = await inferByGrpc(rawRequest)
        assert.equal(status, 0, message)
        assert.deepEqual([isRaw, outputs], [true, expected])
      })

      test(`${name}: a gRPC request with typed contents gets typed contents, or raw ones for FP16`, async () => {
        const { status, message, isRaw, outputs } = await inferByGrpc(typedRequest)
        if (inputs.some(({ datatype }) => datatype === 'FP16')) {
          assert.equal(status, 3)
          assert.match(message, /FP16 has no typed contents; send the data in raw_input_contents/)
        } else {
          assert.equal(status, 0, message)
          const hasFp16 = expected.some(({ datatype }) => datatype === 'FP16')
          assert.deepEqual([isRaw, outputs], [hasFp16, expected])
        }
      })

      if (inputs.some(jsonHasNoWord) || outputs.some(jsonHasNoWord)) {
        test(`${name}: the server refuses values that JSON cannot represent, and suggests binary data`, async () => {
          const response = await postJson(inputs)
          assert.equal(response.status, 400)
          assert.match(((await response.json()) as { error: string }).error, /binary/)
        })
      } else {
        test(`${name}: a JSON request gets the expected JSON`, async () => {
          const response = await postJson(inputs)
          const text = await response.text()
          assert.equal(response.status, 200, text)
          assert.deepEqual(bits((parseExactly(text) as Case).outputs), bits(outputs))
        })
      }
    }

    test('returns the same outputs when it joins requests with extreme values', async () => {
      const asked = (cases ?? []).filter(({ outputs }) => !outputs.some(isLost))
      const neighbours = asked.flatMap(({ inputs }) => hostile(inputs))
      const answers = await Promise.all(
        [...asked.map(({ inputs }) => inputs), ...neighbours].map(async inputs => {
          const response = await fetch(url, { method: 'POST', ...binaryRequest(inputs) })
          return { response, body: Buffer.from(await response.arrayBuffer()) }
        }),
      )
      for (const [i, { outputs }] of asked.entries()) {
        const { response, body } = answers[i] as (typeof answers)[number]
        assert.deepEqual(
          binaryOutputs(response.headers, body).map(withoutNanSign),
          outputs.map(toBytes),
        )
      }
    })

    for (const { name, inputs } of fails) {
      test(`${name}: a failure of the model returns status 500 with "the model failed"`, async () => {
        const response = await postJson(inputs)
        assert.equal(response.status, 500)
        assert.match(((await response.json()) as { error: string }).error, /^the model failed/)
      })
    }

    for (const { name, inputs } of refused) {
      test(`${name}: the server refuses a request for which ONNX Runtime returns wrong results`, async () => {
        const response = inputs.some(jsonHasNoWord)
          ? await fetch(url, { method: 'POST', ...binaryRequest(inputs) })
          : await postJson(inputs)
        assert.equal(response.status, 400, await response.text())
      })
    }

    test('describes its inputs and outputs as they appear in requests and responses', async () => {
      const { inputs, outputs } = (await (await fetch(url.replace('/infer', ''))).json()) as Case
      for (const { inputs: given, outputs: got } of cases ?? []) {
        for (const [described, tensors] of [
          [inputs, given],
          [outputs, got],
        ] as const) {
          for (const { name, datatype, shape } of described) {
            const tensor = tensors.find(other => other.name === name)
            assert.equal(tensor?.datatype, datatype)
            // A graph without a shape accepts any shape, which the protocol cannot express.
            if (server.service.model.loaded?.signature.inputs.some(({ anyRank }) => anyRank))
              continue
            assert.equal(tensor?.shape.length, shape.length)
            shape.forEach((dimension, i) => {
              if (dimension !== -1) assert.equal(tensor?.shape[i], dimension)
            })
          }
        }
      }
    })
  })
}

/** All NaNs become the same: x86 sets the sign bit of NaN, and NumPy does not. */
function withoutNanSign({ datatype, bytes }: { datatype: string; bytes: Buffer }): Buffer {
  if (datatype !== 'FP32' && datatype !== 'FP64') return bytes
  const width = datatype === 'FP32' ? 4 : 8
  const read = (at: number) =>
    datatype === 'FP32' ? bytes.readFloatLE(at) : bytes.readDoubleLE(at)
  const data = Array.from({ length: bytes.byteLength / width }, (_, i) =>
    Number.isNaN(read(i * width)) ? Number.NaN : read(i * width),
  )
  return toBytes({ name: '', datatype, shape: [], data })
}

/**
 * Compares floating-point numbers by their bits: −0 differs from 0, and decimals that round to the
 * same FP32 are equal.
 */
function bits(tensors: readonly WrittenTensor[]): unknown {
  return tensors.map(tensor => ({
    name: tensor.name,
    datatype: tensor.datatype,
    shape: tensor.shape,
    bytes: toBytes(tensor).toString('hex'),
  }))
}

test('at least 30 models are tested', () => {
  assert.ok(MODELS.length >= 30, `${MODELS.length} models`)
})
