import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Message } from '../../function/protocol/protobuf-decode.ts'
import { type Server, startServer, testModel } from '../server.ts'
import { toBytes } from '../tensors.ts'
import { type Client, connectGrpc, frame } from './client.ts'
import { outputsOf, rawRequest, typedRequest } from './messages.ts'

const MODEL = 'iris-classifier'
const SETOSA = [5.1, 3.5, 1.4, 0.2]
const FLOWER = { name: 'input', datatype: 'FP32', shape: [1, 4], data: SETOSA }

const typed = (more: Message = {}): Message => ({ ...typedRequest(MODEL, [FLOWER]), ...more })
const raw = (more: Message = {}): Message => ({ ...rawRequest(MODEL, [FLOWER]), ...more })
const input = (more: Message): Message => typed({ inputs: [{ ...typed().inputs[0], ...more }] })

suite('inference.GRPCInferenceService', () => {
  let server: Server
  let client: Client
  before(async () => {
    server = await startServer()
    client = connectGrpc(server.port)
  })
  after(async () => {
    await client.close()
    await server.stop()
  })
  const answerTo = async (method: string, request: Message): Promise<Message> => {
    const { status, message, messages } = await client.call(method, request)
    assert.deepEqual([status, message], [0, ''])
    return messages[0] as Message
  }
  const refusalOf = async (method: string, request: Message) => {
    const { status, message, messages } = await client.call(method, request)
    assert.deepEqual(messages, [])
    return [status, message]
  }

  test('reports that the server is live and ready, and its metadata', async () => {
    assert.equal((await answerTo('ServerLive', {})).live, true)
    assert.equal((await answerTo('ServerReady', {})).ready, true)
    const { name, version, extensions } = await answerTo('ServerMetadata', {})
    assert.deepEqual({ name, version, extensions }, server.service.dataPlane.server)
  })

  test('returns the same model metadata as HTTP, with or without a version', async () => {
    for (const version of ['', 'v1.0.0']) {
      const asked = { name: MODEL, version }
      assert.equal((await answerTo('ModelReady', asked)).ready, true)
      const { name, versions, platform, inputs, outputs } = await answerTo('ModelMetadata', asked)
      const metadata = await (await fetch(`${server.url}/v2/models/${MODEL}`)).json()
      assert.deepEqual(
        JSON.parse(JSON.stringify({ name, versions, platform, inputs, outputs })),
        metadata,
      )
      assert.equal((await answerTo('ModelConfig', asked)).config.max_batch_size, 256)
    }
  })

  test('returns the number of requests in the statistics, with or without the name of the model', async () => {
    const { model_stats: before } = await answerTo('ModelStatistics', { name: MODEL })
    await answerTo('ModelInfer', raw())
    const { model_stats: after } = await answerTo('ModelStatistics', {})
    const count = ([statistics]: Message[]) => Number(statistics?.inference_stats.success.count)
    assert.equal(count(after), count(before) + 1)
  })

  test('lists its one model, and rejects a repository name', async () => {
    const { models } = await answerTo('RepositoryIndex', { ready: true })
    assert.deepEqual(
      models.map(({ ...model }) => model),
      [{ name: MODEL, version: 'v1.0.0', state: 'READY' }],
    )
    assert.equal((await refusalOf('RepositoryIndex', { repository_name: 'x' }))[0], 5)
  })

  test('answers raw contents with raw contents, and typed contents with typed contents', async () => {
    for (const request of [raw({ id: 'seven' }), typed({ id: 'seven' })]) {
      const response = await answerTo('ModelInfer', request)
      const [probabilities, label] = outputsOf(response)
      assert.deepEqual(
        [response.id, response.model_name, response.model_version, probabilities?.shape],
        ['seven', MODEL, 'v1.0.0', [1, 3]],
      )
      assert.equal(label?.bytes.toString('latin1'), '\x06\0\0\0setosa')
      assert.equal(
        response.raw_output_contents.length,
        request.raw_input_contents === undefined ? 0 : 2,
      )
    }
  })

  test('returns the requested outputs in the requested order, and no id if the request had none', async () => {
    const outputs = [{ name: 'predicted_class' }, { name: 'probabilities' }]
    const response = await answerTo('ModelInfer', raw({ outputs }))
    assert.deepEqual(
      [response.id, ...outputsOf(response).map(({ name }) => name)],
      ['', 'predicted_class', 'probabilities'],
    )
  })

  test('returns the classes with the highest values in an output', async () => {
    const parameters = new Map([['classification', { int64_param: 2 }]])
    for (const request of [raw, typed]) {
      const outputs = [{ name: 'probabilities', parameters }]
      const [output] = outputsOf(await answerTo('ModelInfer', request({ outputs })))
      assert.deepEqual([output?.datatype, output?.shape], ['BYTES', [1, 2]])
      assert.match(String(output?.bytes), /0\.97\d+:0:setosa[\s\S]*0\.02\d+:1:versicolor$/)
    }
  })

  test('accepts parameters of every type, and ignores parameters that apply only to HTTP', async () => {
    const parameters = new Map<string, Message>([
      ['priority', { uint64_param: 1 }],
      ['binary_data_output', { bool_param: false }],
      ['binary_data_size', { int64_param: 3 }],
      ['weight', { double_param: 0.5 }],
      ['word', { string_param: 'a' }],
      ['nothing', {}],
    ])
    const response = await answerTo('ModelInfer', raw({ parameters }))
    assert.equal(outputsOf(response).length, 2)
  })

  for (const [what, request, status, message] of [
    [
      'another model',
      raw({ model_name: 'x' }),
      5,
      'model "x" is unknown; this server has "iris-classifier"',
    ],
    [
      'no model',
      raw({ model_name: '' }),
      5,
      'model "" is unknown; this server has "iris-classifier"',
    ],
    [
      'another version',
      raw({ model_version: '2' }),
      5,
      'version of model "iris-classifier" "2" is unknown; this server has "v1.0.0"',
    ],
    [
      'an unknown input',
      input({ name: 'x' }),
      3,
      'input "x" is unknown; the model accepts "input"',
    ],
    [
      'another datatype',
      input({ datatype: 'FP64' }),
      3,
      'input "input": datatype is FP64, but the model accepts FP32',
    ],
    [
      'no datatype',
      input({ datatype: 'x' }),
      3,
      'input "input": datatype is "x"; it must be one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BYTES',
    ],
    [
      'a shape that does not fit',
      input({ shape: [1, 3] }),
      3,
      'input "input": shape [1,3] does not fit; the model accepts [-1,4]',
    ],
    [
      'a dimension beyond 2^53',
      input({ shape: [2n ** 62n, 4] }),
      3,
      'input "input": shape [4611686018427387904,4] is too large; the model accepts [-1,4]',
    ],
    [
      'a negative dimension',
      input({ shape: [-1, 4] }),
      3,
      'input "input": shape has the dimension -1; it must be an integer of 0 or more',
    ],
    [
      'too few elements',
      input({ contents: { fp32_contents: [1, 2, 3] } }),
      3,
      'input "input": shape [1,4] has 4 elements, but fp32_contents has 3',
    ],
    [
      'contents of another datatype',
      input({ contents: { fp64_contents: SETOSA } }),
      3,
      'input "input": fp64_contents is given; send FP32 data in fp32_contents',
    ],
    [
      'no contents',
      input({ contents: {} }),
      3,
      'input "input": shape [1,4] has 4 elements, but fp32_contents has 0',
    ],
    [
      'both kinds of contents',
      typed({ raw_input_contents: [Buffer.alloc(16)] }),
      3,
      'input "input": both contents and raw_input_contents are given; send only one of them',
    ],
    [
      'more raw contents than inputs',
      raw({ raw_input_contents: [Buffer.alloc(16), Buffer.alloc(16)] }),
      3,
      'the number of entries in raw_input_contents is 2; it must equal the number of inputs, 1',
    ],
    [
      'too many raw bytes',
      raw({ raw_input_contents: [Buffer.alloc(17)] }),
      3,
      'input "input": shape [1,4] of FP32 needs 16 bytes of binary data; got 17',
    ],
    [
      'the same input twice',
      typed({ inputs: [typed().inputs[0], typed().inputs[0]] }),
      3,
      'input "input" is given twice',
    ],
    ['no inputs', typed({ inputs: [] }), 3, 'input "input" is missing; the model accepts "input"'],
    [
      'an unknown output',
      raw({ outputs: [{ name: 'x' }] }),
      3,
      'output "x" is unknown; the model returns "probabilities", "predicted_class"',
    ],
    [
      'the same output twice',
      raw({ outputs: [{ name: 'predicted_class' }, { name: 'predicted_class' }] }),
      3,
      'output "predicted_class" is requested twice',
    ],
    [
      'an invalid timeout',
      raw({ parameters: new Map([['timeout', { int64_param: -1 }]]) }),
      3,
      'parameters.timeout is -1; it must be a number of microseconds',
    ],
  ] as readonly (readonly [string, Message, number, string])[]) {
    test(`rejects a request with ${what}, with the same text as HTTP`, async () =>
      assert.deepEqual(await refusalOf('ModelInfer', request), [status, message]))
  }

  for (const method of ['ModelReady', 'ModelMetadata', 'ModelConfig', 'ModelStatistics']) {
    test(`${method} returns NOT_FOUND for another model`, async () => {
      assert.equal((await refusalOf(method, { name: 'x' }))[0], 5)
      assert.equal((await refusalOf(method, { name: MODEL, version: '9' }))[0], 5)
    })
  }

  test('counts requests under the protocol grpc', async () => {
    const metrics = async () => (await fetch(`${server.url}/metrics`)).text()
    const counted = async (status: string) =>
      Number(
        new RegExp(
          `inference_requests_total\\{.*protocol="grpc",status="${status}"\\} (\\d+)`,
        ).exec(await metrics())?.[1],
      )
    const before = [await counted('success'), await counted('error')]
    await client.call('ModelInfer', raw())
    await client.call('ModelInfer', input({ name: 'x' }))
    assert.deepEqual(
      [await counted('success'), await counted('error')],
      before.map(count => count + 1),
    )
    // Bytes that are not a ModelInferRequest are counted as an error, too.
    const { status } = await client.send('ModelInfer', frame(Buffer.from([0xff])))
    assert.deepEqual([status, await counted('error')], [3, (before[1] as number) + 2])
  })
})

suite('integers in typed contents', () => {
  for (const [datatype, element, text] of [
    ['INT8', 128, 'int_contents[0] is 128; INT8 accepts integers from -128 to 127'],
    ['UINT16', 65536, 'uint_contents[0] is 65536; UINT16 accepts integers from 0 to 65535'],
    [
      'INT32',
      2 ** 31,
      'int_contents[0] is 2147483648; INT32 accepts integers from -2147483648 to 2147483647',
    ],
  ] as const) {
    test(`rejects integers in typed contents that ${datatype} cannot represent`, async t => {
      const server = await startServer({
        MODEL_DIR: testModel(`identity-${datatype.toLowerCase()}`),
      })
      const client = connectGrpc(server.port)
      t.after(async () => {
        await client.close()
        await server.stop()
      })
      const request = typedRequest(server.service.model.name, [
        { name: 'x', datatype, shape: [1], data: [element] },
      ])
      const { status, message } = await client.call('ModelInfer', request)
      assert.deepEqual([status, message], [3, `input "x": ${text}`])
    })
  }
})

for (const execution of ['inline', 'worker']) {
  test(`answers large requests with raw and with typed contents (EXECUTION=${execution})`, async t => {
    const server = await startServer({ EXECUTION: execution, MAX_BODY_BYTES: '4000000' })
    const client = connectGrpc(server.port)
    t.after(async () => {
      await client.close()
      await server.stop()
    })
    const rows = 9_000
    const data = Array.from({ length: rows }, (_, i) => (i % 2 === 0 ? SETOSA : [6.3, 3.3, 6, 2.5]))
    const tensor = { ...FLOWER, shape: [rows, 4], data: data.flat() }
    for (const request of [rawRequest, typedRequest]) {
      const { status, message, messages } = await client.call(
        'ModelInfer',
        request(MODEL, [tensor]),
      )
      assert.equal(status, 0, message)
      const [probabilities, label] = outputsOf(messages[0] as Message)
      assert.deepEqual([probabilities?.shape, label?.shape], [[rows, 3], [rows]])
      const labels = data.map((_, i) => (i % 2 === 0 ? 'setosa' : 'virginica'))
      assert.deepEqual(
        label?.bytes,
        toBytes({ name: '', datatype: 'BYTES', shape: [rows], data: labels }),
      )
      const alone = await client.call('ModelInfer', request(MODEL, [FLOWER]))
      const [one] = outputsOf(alone.messages[0] as Message)
      for (let i = 0; i < 3; i++)
        assert.ok(
          Math.abs(
            (probabilities?.bytes.readFloatLE(4 * i) ?? 9) - (one?.bytes.readFloatLE(4 * i) ?? 0),
          ) < 1e-6,
        )
    }
  })
}
