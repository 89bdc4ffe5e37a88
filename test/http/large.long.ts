import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type Server, startProcess, startServer, testModel } from '../server.ts'
import { connect, exchange, IRIS, irisBody, request, until } from './client.ts'

/* Large requests are read, run and answered in a separate thread, some rows at a time. */

const MAX_BODY_BYTES = 8 * 2 ** 20
const ROWS = 40_000
const FLOWERS = [
  [5.1, 3.5, 1.4, 0.2],
  [6.3, 3.3, 6, 2.5],
] as const
const LABELS = ['setosa', 'virginica']
const flowers = (rows: number) =>
  Array.from({ length: rows }, (_, i) => FLOWERS[i % 2] as readonly number[])

const irisJson = (rows: readonly (readonly unknown[])[], more: object = {}) =>
  JSON.stringify({
    id: 'large',
    inputs: [{ name: 'input', datatype: 'FP32', shape: [rows.length, 4], data: rows }],
    ...more,
  })

const LARGE = irisJson(flowers(ROWS))

const post = async (
  server: { url: string },
  body: string | Buffer,
  headers: Record<string, string> = {},
  path = IRIS,
) => {
  const answer = await fetch(server.url + path, {
    method: 'POST',
    body: Buffer.from(body),
    headers,
  })
  return {
    status: answer.status,
    headers: answer.headers,
    bytes: Buffer.from(await answer.arrayBuffer()),
  }
}

/** Each element of a BYTES tensor is its length in four bytes, then its text. */
function textsOf(bytes: Buffer): string[] {
  const texts: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    texts.push(bytes.toString('utf8', at + 4, end))
    at = end
  }
  return texts
}

const jsonOf = ({ bytes }: { bytes: Buffer }) => JSON.parse(bytes.toString())

for (const execution of ['auto', 'inline', 'worker']) {
  suite(`large requests with EXECUTION=${execution}`, () => {
    let server: Server
    before(async () => {
      server = await startServer({ EXECUTION: execution, MAX_BODY_BYTES: String(MAX_BODY_BYTES) })
    })
    after(() => server.stop())

    test('a large request in JSON gets all of its rows in order, and is counted', async () => {
      const { status, bytes } = await post(server, LARGE)
      assert.equal(status, 200)
      const { id, outputs } = jsonOf({ bytes })
      assert.equal(id, 'large')
      const [probabilities, classes] = outputs
      assert.deepEqual(probabilities.shape, [ROWS, 3])
      assert.deepEqual(classes.shape, [ROWS])
      assert.ok(classes.data.every((label: string, i: number) => label === LABELS[i % 2]))
      assert.ok(Math.abs(probabilities.data[3 * (ROWS - 2)] - probabilities.data[0]) < 1e-6)
      const metrics = await (await fetch(`${server.url}/metrics`)).text()
      assert.match(
        metrics,
        new RegExp(
          `^inference_predictions_total\\{label="virginica",version="v1.0.0"\\} ${ROWS / 2}$`,
          'm',
        ),
      )
      assert.match(metrics, new RegExp(`^inference_batch_rows_sum(?:\\{.*\\})? ${ROWS}$`, 'm'))
    })

    test('a large request as binary tensor data gets the correct outputs, both as binary tensor data and as JSON', async () => {
      const tensor = Buffer.from(Float32Array.from(flowers(ROWS).flat()).buffer)
      const input = {
        name: 'input',
        datatype: 'FP32',
        shape: [ROWS, 4],
        parameters: { binary_data_size: tensor.byteLength },
      }
      const outputs = [
        { name: 'predicted_class' },
        { name: 'probabilities', parameters: { binary_data: true } },
      ]
      const header = Buffer.from(JSON.stringify({ inputs: [input], outputs }))
      const answer = await post(server, Buffer.concat([header, tensor]), {
        'inference-header-content-length': String(header.byteLength),
      })
      assert.equal(answer.status, 200)
      const length = Number(answer.headers.get('inference-header-content-length'))
      const response = JSON.parse(answer.bytes.toString('utf8', 0, length))
      assert.ok(
        response.outputs[0].data.every((label: string, i: number) => label === LABELS[i % 2]),
      )
      assert.deepEqual(response.outputs[1].parameters, { binary_data_size: ROWS * 12 })
      assert.equal(answer.bytes.byteLength, length + ROWS * 12)
      const probabilities = new Float32Array(
        answer.bytes.buffer.slice(
          answer.bytes.byteOffset + length,
          answer.bytes.byteOffset + answer.bytes.byteLength,
        ),
      )
      assert.ok((probabilities[3 * (ROWS - 1) + 2] as number) > 0.9)
    })

    for (const rows of [12_289, 16_384, 16_385, 65_537]) {
      for (const binary of [['predicted_class'], ['probabilities', 'predicted_class']]) {
        test(`a large request with ${rows} rows gets ${binary.join(' and ')} as binary tensor data`, async () => {
          const tensor = Buffer.from(Float32Array.from(flowers(rows).flat()).buffer)
          const input = { name: 'input', datatype: 'FP32', shape: [rows, 4] }
          const header = Buffer.from(
            JSON.stringify({
              inputs: [{ ...input, parameters: { binary_data_size: tensor.byteLength } }],
              outputs: ['probabilities', 'predicted_class'].map(name => ({
                name,
                parameters: { binary_data: binary.includes(name) },
              })),
            }),
          )
          const answer = await post(server, Buffer.concat([header, tensor]), {
            'inference-header-content-length': String(header.byteLength),
          })
          assert.equal(answer.status, 200, answer.bytes.toString('utf8', 0, 300))
          const length = Number(answer.headers.get('inference-header-content-length'))
          const { outputs } = JSON.parse(answer.bytes.toString('utf8', 0, length))
          const sizes = outputs.map((output: { parameters?: { binary_data_size: number } }) =>
            output.parameters ? output.parameters.binary_data_size : 0,
          )
          assert.equal(answer.bytes.length, length + sizes[0] + sizes[1])
          const labels = textsOf(answer.bytes.subarray(answer.bytes.length - sizes[1]))
          assert.deepEqual(
            labels,
            flowers(rows).map((_, i) => LABELS[i % 2]),
          )
        })
      }
    }

    test('a large request as the data of an event gets a reply, in binary and in structured mode', async () => {
      const event = { specversion: '1.0', id: '1', source: '/a', type: 'a.request' }
      const headers = Object.fromEntries(
        Object.entries(event).map(([name, value]) => [`ce-${name}`, value]),
      )
      const binary = await post(
        server,
        LARGE,
        { ...headers, 'content-type': 'application/json' },
        '/',
      )
      assert.deepEqual([binary.status, binary.headers.get('ce-type')], [200, 'a.response'])
      assert.deepEqual(jsonOf(binary).outputs[1].shape, [ROWS])
      const rows = 30_000
      const structured = {
        ...event,
        data: JSON.parse(irisJson(flowers(rows))),
        datacontenttype: 'application/json',
      }
      const reply = await post(
        server,
        JSON.stringify(structured),
        { 'content-type': 'application/cloudevents+json' },
        '/',
      )
      assert.equal(reply.status, 200, reply.bytes.toString('utf8', 0, 300))
      assert.deepEqual(jsonOf(reply).data.outputs[1].shape, [rows])
      assert.equal(jsonOf(reply).type, 'a.response')
    })

    test('a large request with an invalid element is refused, and the error contains the position of the element', async () => {
      const rows = flowers(ROWS).map(row => [...row] as unknown[])
      ;(rows[ROWS - 1] as unknown[])[3] = 'x'
      const answer = await post(server, irisJson(rows))
      assert.equal(answer.status, 400)
      assert.match(
        jsonOf(answer).error,
        new RegExp(`^input "input": data\\[${4 * ROWS - 1}\\] is "x"; FP32 accepts`),
      )
    })

    test('a large request with more than 16 MiB of JSON is refused, and the error suggests binary tensor data', async () => {
      const large = await startServer({
        MODEL_DIR: testModel('identity-fp32'),
        EXECUTION: execution,
      })
      try {
        const body = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`.padEnd(
          17_000_000,
        )
        const answer = await post(large, body, {}, '/v2/models/identity-fp32/infer')
        assert.equal(answer.status, 413)
        assert.match(
          jsonOf(answer).error,
          /^17000000 bytes of JSON exceed the 16777216 bytes allowed \(MAX_JSON_BYTES\); send .* binary tensor data/,
        )
      } finally {
        await large.stop()
      }
    })

    test('a large request whose response would exceed MAX_BODY_BYTES is refused, and the error suggests fewer rows', async () => {
      const answer = await post(server, irisJson(flowers(200_000)))
      assert.equal(answer.status, 413)
      assert.match(
        jsonOf(answer).error,
        /larger than the 8388608 bytes allowed \(MAX_BODY_BYTES\); request binary .*, or send fewer rows/,
      )
    })

    test('a large request whose timeout passes before the run gets 504', async () => {
      const answer = await post(server, irisJson(flowers(ROWS), { parameters: { timeout: 1 } }))
      assert.equal(answer.status, 504)
    })
  })
}

test('strings that would use more memory than MAX_BODY_BYTES are refused', async t => {
  const server = await startServer({
    MODEL_DIR: testModel('identity-bytes'),
    MAX_BODY_BYTES: String(MAX_BODY_BYTES),
  })
  t.after(server.stop)
  const words = (count: number) =>
    JSON.stringify({
      inputs: [
        { name: 'x', datatype: 'BYTES', shape: [count], data: new Array(count).fill('word') },
      ],
    })
  const path = '/v2/models/identity-bytes/infer'
  assert.equal((await post(server, words(100_000), {}, path)).status, 200)
  const answer = await post(server, words(200_000), {}, path)
  assert.equal(answer.status, 413)
  assert.match(jsonOf(answer).error, /200000 elements of BYTES need 12800000 bytes in memory/)
})

test('bodies that exceed the memory limit are refused while they arrive, and the server continues', async () => {
  const own = await startProcess({ MAX_BODY_BYTES: String(MAX_BODY_BYTES) })
  const port = Number(new URL(own.url).port)
  const body = irisJson(flowers(400_000), {
    outputs: [{ name: 'probabilities', parameters: { binary_data: true } }],
  })
  assert.ok(body.length > 4 * 2 ** 20 && body.length < MAX_BODY_BYTES)
  const statuses = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const connection = await connect(port)
      connection.send(request('POST', IRIS, { 'content-length': `${body.length}` }))
      connection.send(body)
      const { status } = await connection.answer()
      connection.socket.destroy()
      return status
    }),
  )
  assert.deepEqual(new Set(statuses), new Set([200, 503]))
  await until(
    'a small request is accepted again',
    async () => (await exchange(port, request('POST', IRIS, {}, irisBody()))).status === 200,
  )
  own.process.kill('SIGTERM')
  assert.deepEqual(await own.exited, [0, null])
})
