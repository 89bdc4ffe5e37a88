import assert from 'node:assert/strict'
import { connect, constants } from 'node:http2'
import { after, before, suite, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { deflateSync, gzipSync } from 'node:zlib'
import type { Message } from '../../function/protocol/protobuf-decode.ts'
import { until } from '../http/client.ts'
import { block, head, header, frame as http2Frame, RawSession } from '../http/frames.ts'
import { type Server, startServer, testModel } from '../server.ts'
import { type Client, connectGrpc, encode, frame, type OpenCall, pathOf } from './client.ts'
import { rawRequest } from './messages.ts'

const MODEL = 'iris-classifier'
const MAX_BODY_BYTES = 1_000_000
const FLOWER = { name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }
const request = (more: Message = {}): Message => ({ ...rawRequest(MODEL, [FLOWER]), ...more })
const flowers = (rows: number) =>
  request({
    inputs: [{ name: 'input', datatype: 'FP32', shape: [rows, 4] }],
    raw_input_contents: [Buffer.alloc(16 * rows)],
  })
const FRAME = frame(encode('ModelInfer', request()))

const ONE_SLOW_WORKER = {
  MODEL_DIR: testModel('slow'),
  EXECUTION: 'worker',
  ORT_THREADS: '64',
}
const SLOW = rawRequest('slow', [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }])

const opened: (() => Promise<void>)[] = []
after(async () => {
  for (const close of opened) await close()
})

async function open(env: Record<string, string> = {}, load = true) {
  const server = await startServer(env, { load })
  const client = connectGrpc(server.port)
  opened.push(async () => {
    await client.close()
    await server.stop()
  })
  return { server, client }
}

const counts = async ({ service }: Server, metric: string) => {
  const text = await service.metrics.text()
  return Number(new RegExp(`^${metric} (\\d+)`, 'm').exec(text)?.[1])
}

suite('a call', () => {
  let server: Server
  let client: Client
  before(async () => {
    ;({ server, client } = await open({ MAX_BODY_BYTES: String(MAX_BODY_BYTES) }))
  })

  test('answers a call with a message, followed by a status', async () => {
    const { headers, trailers } = await client.call('ModelInfer', request())
    assert.deepEqual(
      [headers[':status'], headers['content-type'], headers['grpc-encoding']],
      [200, 'application/grpc', undefined],
    )
    assert.equal(headers['grpc-accept-encoding'], 'identity,deflate,gzip')
    assert.equal(trailers['grpc-status'], '0')
  })

  test('reads a call that arrives byte by byte', async () => {
    const call = client.open('ModelInfer')
    for (const byte of FRAME) call.stream.write(Buffer.from([byte]))
    call.stream.end()
    assert.equal((await call.answered).status, 0)
  })

  test('answers a call as soon as its message has arrived, before the client ends the call', async () => {
    const call = client.open('ModelInfer')
    call.stream.write(FRAME)
    assert.equal((await call.answered).status, 0)
  })

  test('returns the request id in a response and in an error', async () => {
    for (const model_name of [MODEL, 'x']) {
      const metadata = { 'x-request-id': 'seven' }
      const { headers } = await client.call('ModelInfer', request({ model_name }), metadata)
      assert.equal(headers['x-request-id'], 'seven')
    }
  })

  for (const [encoding, compress] of [
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const) {
    test(`reads messages that are compressed with ${encoding}, and compresses only large responses`, async () => {
      const metadata = { 'grpc-encoding': encoding }
      const send = (message: Message) =>
        client.send('ModelInfer', frame(compress(encode('ModelInfer', message)), 1), metadata)
      const small = await send(request())
      assert.deepEqual([small.status, small.messages.length], [0, 1])
      const large = client.open('ModelInfer', metadata)
      large.stream.removeAllListeners('data')
      const chunks: Buffer[] = []
      large.stream.on('data', chunk => chunks.push(chunk))
      large.stream.end(frame(compress(encode('ModelInfer', flowers(1_000))), 1))
      const { status, headers } = await large.answered
      assert.deepEqual([status, headers['grpc-encoding'], chunks[0]?.[0]], [0, encoding, 1])
      assert.ok(Buffer.concat(chunks).length < 5_000)
    })
  }

  test('does not compress a response if grpc-accept-encoding omits the encoding', async () => {
    const metadata = { 'grpc-encoding': 'gzip', 'grpc-accept-encoding': 'identity, deflate' }
    const call = client.open('ModelInfer', metadata)
    const chunks: Buffer[] = []
    call.stream.on('data', chunk => chunks.push(chunk))
    call.stream.end(frame(gzipSync(encode('ModelInfer', flowers(1_000))), 1))
    const { status, headers } = await call.answered
    assert.deepEqual([status, headers['grpc-encoding'], chunks[0]?.[0]], [0, undefined, 0])
  })

  test('accepts uncompressed messages in a call that names an encoding', async () => {
    const { status } = await client.send('ModelInfer', FRAME, { 'grpc-encoding': 'gzip' })
    assert.equal(status, 0)
  })

  const bomb = frame(gzipSync(Buffer.alloc(MAX_BODY_BYTES + 1)), 1)
  const length = (bytes: number) => {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(bytes, 1)
    return prefix
  }
  for (const [what, frames, status, message, metadata = {}] of [
    ['no message', '', 13, 'the call has no message; send exactly one'],
    [
      'two messages',
      Buffer.concat([FRAME, FRAME]),
      13,
      'the call has more than one message; send exactly one',
    ],
    ['a message that is cut off', FRAME.subarray(0, -1), 13, 'the call ends within a message'],
    ['a prefix that is cut off', FRAME.subarray(0, 3), 13, 'the call ends within a message'],
    [
      'an invalid flag',
      frame(Buffer.alloc(1), 2),
      13,
      'a message begins with the byte 2; it must be 0 or 1',
    ],
    [
      'a compressed message but no encoding',
      frame(Buffer.alloc(1), 1),
      13,
      'a message is compressed, but grpc-encoding names no encoding',
    ],
    [
      'an unknown encoding',
      FRAME,
      12,
      'grpc-encoding "snappy" is not supported; send identity, gzip or deflate',
      { 'grpc-encoding': 'snappy' },
    ],
    [
      'bytes that are not in the named encoding',
      frame(Buffer.from('no gzip'), 1),
      3,
      'the message is not valid gzip data: incorrect header check',
      { 'grpc-encoding': 'gzip' },
    ],
    [
      'a message with too many fields, including unknown fields',
      frame(Buffer.alloc(2 * 65_537, Buffer.of(15 * 8, 0))),
      8,
      'the message has more than 65536 fields outside tensor data',
    ],
    [
      'a declared length that is too large',
      length(MAX_BODY_BYTES + 1),
      8,
      'the message is larger than the 1000000 bytes allowed (MAX_BODY_BYTES)',
    ],
    [
      'a message that is too large after decompression',
      bomb,
      8,
      'the message is larger than the 1000000 bytes allowed (MAX_BODY_BYTES)',
      { 'grpc-encoding': 'gzip' },
    ],
    [
      'a message that is not protobuf',
      frame(Buffer.from([0x0a])),
      3,
      'the message is not valid protobuf: the number at byte 1 has no end',
    ],
    [
      'an invalid timeout',
      FRAME,
      3,
      'grpc-timeout is "1x"; it must be one to eight digits and a unit: H, M, S, m, u or n',
      { 'grpc-timeout': '1x' },
    ],
    [
      'JSON messages',
      FRAME,
      12,
      'content-type "application/grpc+json" is not supported; send application/grpc or application/grpc+proto',
      { 'content-type': 'application/grpc+json' },
    ],
  ] as readonly (readonly [string, string | Buffer, number, string, Record<string, string>?])[]) {
    test(`rejects a call with ${what}, and keeps the connection open`, async () => {
      const answer = await client.send('ModelInfer', Buffer.from(frames), metadata)
      assert.deepEqual([answer.status, answer.message], [status, message])
      assert.equal((await client.call('ServerLive', {})).status, 0)
    })
  }

  test('rejects a message that is too large before its bytes arrive', async () => {
    const call = client.open('ModelInfer')
    call.stream.write(length(MAX_BODY_BYTES + 1))
    assert.equal((await call.answered).status, 8)
  })

  test('explains why this server does not have a method', async () => {
    for (const [method, why] of [
      [
        'RepositoryModelLoad',
        'this server serves one model, which it loads at startup; to serve another model, deploy a new revision',
      ],
      [
        'SystemSharedMemoryStatus',
        'this server does not share memory with clients; send tensors in the message',
      ],
      [
        'CudaSharedMemoryRegister',
        'this server does not share memory with clients; send tensors in the message',
      ],
      ['TraceSetting', 'traces are configured at startup (OTEL_...)'],
      ['LogSettings', 'the log is configured at startup (LOG_LEVEL)'],
      ['Other', 'use reflection to list the methods of this server'],
    ] as const) {
      const path = `/inference.GRPCInferenceService/${method}`
      const { status, message } = await client.send('ModelInfer', FRAME, { ':path': path })
      assert.deepEqual([status, message], [12, `"${path}" is not implemented: ${why}`])
    }
  })

  test('rejects a call with an HTTP method other than POST', async () => {
    const call = client.open('ModelInfer', { ':method': 'GET' })
    assert.deepEqual([(await call.answered).status], [12])
  })

  test('encodes non-ASCII characters in an error message', async () => {
    const { message } = await client.call('ModelInfer', request({ model_name: 'nöpe € 100%' }))
    assert.equal(message, 'model "nöpe € 100%" is unknown; this server has "iris-classifier"')
  })

  test('answers a call whose message contains any bytes', async () => {
    for (let i = 0; i < 50; i++) {
      const bytes = Buffer.from(Array.from({ length: 40 }, (_, at) => (i * 31 + at * at * 7) % 256))
      const { status } = await client.send('ModelInfer', frame(bytes))
      assert.ok([3, 5].includes(status), `${status}`)
    }
    assert.equal(server.service.model.notReady, undefined)
  })
})

suite('a deadline', () => {
  test('ends a call at its deadline, and does not run the request', async () => {
    const { server, client } = await open(ONE_SLOW_WORKER)
    const ask = (metadata = {}) => client.call('ModelInfer', SLOW, metadata)
    const running = ask()
    const late = await ask({ 'grpc-timeout': '1m' })
    assert.equal(late.status, 4)
    assert.match(late.message, /^the deadline passed/)
    assert.equal((await running).status, 0)
    await until('nothing waits', () => server.service.model.queuedRows === 0)
    assert.equal(await counts(server, 'inference_batch_rows_count'), 1)
  })

  test('accepts a deadline that is later than the longest timer', async () => {
    const { client } = await open()
    const { status } = await client.call('ModelInfer', request(), { 'grpc-timeout': '99999999H' })
    assert.equal(status, 0)
  })

  test('ends a call whose message does not arrive in time', async () => {
    const { server, client } = await open({ REQUEST_TIMEOUT_MS: '100' })
    for (const bytes of [Buffer.alloc(0), FRAME.subarray(0, 20)]) {
      const call = client.open('ModelInfer')
      call.stream.write(bytes)
      const { status, message } = await call.answered
      assert.deepEqual([status, message], [4, 'no message arrived within REQUEST_TIMEOUT_MS'])
    }
    // As over HTTP, this counts as a mistake of the client and not as a failure.
    assert.equal(await counts(server, 'inference_rejected_total\\{reason="slow"\\}'), 2)
    assert.equal(await counts(server, 'inference_failures_total\\{cause="deadline"\\}'), 0)
  })

  test('ends a call at its deadline while the model loads', async () => {
    const { client } = await open({}, false)
    const { status } = await client.call('ModelInfer', request(), { 'grpc-timeout': '50m' })
    assert.equal(status, 4)
    assert.equal((await client.call('ServerReady', {})).messages[0]?.ready, false)
    assert.equal((await client.call('ServerLive', {})).messages[0]?.live, true)
  })
})

test('refuses a call before its message arrives if its response would be late', async () => {
  const { server, client } = await open({ ...ONE_SLOW_WORKER, MAX_BATCH_ROWS: '1' })
  const waiting = Array.from({ length: 20 }, () => client.call('ModelInfer', SLOW))
  const ran = () => counts(server, 'inference_batch_rows_count')
  await until('a run has ended', async () => (await ran()) === 2)
  const call = client.open('ModelInfer', { 'grpc-timeout': '200m', 'x-request-id': 'seven' })
  const { status, message, headers, trailers } = await call.answered
  assert.equal(status, 14)
  assert.match(message, /^\d+ rows wait for \d+ runs; at the current pace, .*; try again later$/)
  assert.equal(trailers['grpc-retry-pushback-ms'], '1000')
  assert.equal(headers['x-request-id'], 'seven')
  assert.deepEqual([...new Set((await Promise.all(waiting)).map(({ status }) => status))], [0])
  assert.equal(await ran(), 20)
  assert.equal(await counts(server, 'inference_requests_in_flight'), 0)
  const rejected = /^inference_rejected_total\{.*reason="overloaded"\} 1$/m
  assert.match(await server.service.metrics.text(), rejected)
})

test('does not run a call that is cancelled while it waits', async () => {
  const { server, client } = await open(ONE_SLOW_WORKER)
  const running = client.call('ModelInfer', SLOW)
  const waiting = client.open('ModelInfer')
  waiting.write(SLOW)
  const inFlight = () => counts(server, 'inference_requests_in_flight')
  await until('both have arrived', async () => (await inFlight()) === 2)
  waiting.stream.close(constants.NGHTTP2_CANCEL)
  assert.equal((await running).status, 0)
  await until('nothing waits', () => server.service.model.queuedRows === 0)
  assert.equal(await counts(server, 'inference_batch_rows_count'), 1)
})

suite('the memory', () => {
  test('limits the memory of arriving messages, and frees it when their clients hang up', async () => {
    const { client } = await open({ MAX_BODY_BYTES: String(MAX_BODY_BYTES) })
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(950_000, 1)
    const begun = () => {
      const call = client.open('ModelInfer')
      call.stream.write(Buffer.concat([prefix, Buffer.alloc(900_000)]))
      return call
    }
    const calls = [begun(), begun(), begun()]
    const refused = await Promise.race(calls.map(({ answered }) => answered))
    assert.deepEqual(
      [refused.status, refused.message],
      [14, 'other requests’ bodies use all the memory allowed; try again later'],
    )
    assert.equal(refused.trailers['grpc-retry-pushback-ms'], '1000')
    for (const { stream } of calls) stream.close(constants.NGHTTP2_CANCEL)
    const whole = () => client.call('ModelInfer', flowers(20_000))
    await until('memory is available again', async () => (await whole()).status !== 14)
  })

  const hangUps: readonly [string, (client: Client) => Promise<OpenCall>][] = [
    [
      'while a message is decompressed',
      async client => {
        const call = client.open('ModelInfer', { 'grpc-encoding': 'gzip' })
        call.stream.end(frame(gzipSync(encode('ModelInfer', flowers(50_000))), 1))
        return call
      },
    ],
    [
      'after a second message',
      async client => {
        const call = client.open('ModelInfer')
        call.write(SLOW)
        await wait(20)
        call.stream.write(frame(Buffer.alloc(700_000)))
        return call
      },
    ],
  ]
  for (const [when, begin] of hangUps)
    test(`frees the memory of calls whose clients hang up ${when}`, async () => {
      const { client } = await open({ ...ONE_SLOW_WORKER, MAX_BODY_BYTES: String(MAX_BODY_BYTES) })
      for (let i = 0; i < 20; i++) {
        const { stream, answered } = await begin(client)
        await wait(i / 5)
        stream.close(constants.NGHTTP2_CANCEL)
        await answered
      }
      const whole = () => client.send('ModelInfer', frame(Buffer.alloc(900_000)))
      await until('memory is available', async () => (await whole()).status !== 14)
    })

  test('closes the stream of responses that the client does not read, without a warning of Node', async t => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    t.after(() => process.off('warning', onWarning))
    const { server } = await open({ REQUEST_TIMEOUT_MS: '200' })
    const session = connect(server.url, { settings: { initialWindowSize: 0 } })
    opened.push(async () => session.destroy())
    const calls = { ModelInfer: FRAME, ModelStreamInfer: Buffer.concat(Array(20).fill(FRAME)) }
    for (const [method, frames] of Object.entries(calls)) {
      const stream = session.request({
        ':method': 'POST',
        ':path': `/inference.GRPCInferenceService/${method}`,
        'content-type': 'application/grpc',
      })
      stream.on('error', () => {})
      stream.write(frames)
      await new Promise(resolve => stream.once('close', resolve))
      assert.equal(stream.rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM, method)
    }
    assert.deepEqual(warnings, [])
  })
})

suite('authentication', () => {
  const secret = 'a-secret-of-enough-characters'
  test('requires authentication for all methods except health, as over HTTP', async () => {
    const { client } = await open({ AUTH_SECRET: secret })
    const allowed = { authorization: `Bearer ${secret}` }
    for (const [method, asked, without] of [
      ['ServerLive', {}, 0],
      ['ServerReady', {}, 0],
      ['grpc.health.v1.Health/Check', {}, 0],
      ['ModelReady', { name: MODEL }, 16],
      ['ServerMetadata', {}, 16],
      ['ModelInfer', request(), 16],
    ] as const) {
      assert.equal((await client.call(method, asked)).status, without, method)
      assert.equal((await client.call(method, asked, allowed)).status, 0, method)
    }
    const wrong = await client.call('ModelInfer', request(), { authorization: 'Bearer x' })
    assert.deepEqual([wrong.status, wrong.message], [16, 'the bearer token is not a known secret'])
    assert.match(String(wrong.trailers['www-authenticate']), /^Bearer /)
  })
})

suite('a stream', () => {
  test('answers requests in order, reports the error of a failed request, and continues', async () => {
    const { client } = await open()
    const { status, messages } = await client.call('ModelStreamInfer', [
      request({ id: '1' }),
      request({ id: '2', model_name: 'x' }),
      request({ id: '3', raw_input_contents: [Buffer.alloc(3)] }),
      request({ id: '4' }),
    ])
    assert.equal(status, 0)
    assert.deepEqual(
      messages.map(({ error_message, infer_response }) => [infer_response.id, error_message]),
      [
        ['1', ''],
        ['2', 'model "x" is unknown; this server has "iris-classifier"'],
        ['3', 'input "input": shape [1,4] of FP32 needs 16 bytes of binary data; got 3'],
        ['4', ''],
      ],
    )
  })

  test('joins requests that arrive together in one run', async () => {
    const { server, client } = await open()
    const { messages } = await client.call('ModelStreamInfer', Array(10).fill(request()))
    assert.equal(messages.length, 10)
    assert.ok((await counts(server, 'inference_batch_rows_count')) < 10)
  })

  test('marks a response as final if the request asks for this mark', async () => {
    const { client } = await open()
    const parameters = new Map([['triton_enable_empty_final_response', { bool_param: true }]])
    const { messages } = await client.call('ModelStreamInfer', [request({ parameters }), request()])
    assert.deepEqual(
      messages.map(
        ({ infer_response }) => infer_response.parameters.get('triton_final_response')?.bool_param,
      ),
      [true, undefined],
    )
  })

  test('answers each request before the next request arrives', async () => {
    const { client } = await open()
    const call = client.open('ModelStreamInfer')
    for (let i = 0; i < 3; i++) {
      call.write(request({ id: String(i) }))
      assert.equal((await call.next())?.infer_response.id, String(i))
    }
    call.stream.end()
    assert.equal((await call.answered).status, 0)
  })

  test('continues for longer than REQUEST_TIMEOUT_MS while the client reads each response in time', async () => {
    const { client } = await open({
      REQUEST_TIMEOUT_MS: '1000',
      MODEL_DIR: testModel('identity-fp32'),
    })
    const data = Buffer.alloc(1_000_000)
    const tensor = { name: 'x', datatype: 'FP32', shape: [data.length / 4] }
    const large = { model_name: 'identity-fp32', inputs: [tensor], raw_input_contents: [data] }
    const { stream, answered } = client.open('ModelStreamInfer')
    stream.on('data', ({ length }: Buffer) => {
      stream.pause()
      setTimeout(() => stream.resume(), length / 4_000)
    })
    for (let i = 0; i < 8; i++) stream.write(frame(encode('ModelStreamInfer', large)))
    stream.end()
    const { status, messages } = await answered
    assert.deepEqual([status, messages.length, stream.rstCode], [0, 8, constants.NGHTTP2_NO_ERROR])
  })

  test('ends at an invalid frame, after the responses to earlier requests', async () => {
    const { client } = await open()
    const call = client.open('ModelStreamInfer')
    call.write(request())
    assert.ok(await call.next())
    call.stream.write(Buffer.from([9, 0, 0, 0, 0]))
    assert.equal((await call.answered).status, 13)
  })

  test('answers 1,000 requests that are sent at once', async () => {
    const { client } = await open()
    const { status, messages } = await client.call('ModelStreamInfer', Array(1_000).fill(request()))
    assert.deepEqual([status, messages.length], [0, 1_000])
  })

  test('ends when its client resets it without an error while requests wait', async () => {
    const { server } = await open({}, false)
    const session = await RawSession.open(server.port)
    const type = header('content-type', 'application/grpc')
    const begin = (stream: number, path: string, ...more: Buffer[]) =>
      session.send(head(stream, block('POST', pathOf(path), type, ...more), false))
    const send = (stream: number, bytes: Uint8Array) =>
      session.send(http2Frame('data', bytes, { stream }))
    // The first call loads the code for gRPC.
    begin(1, 'ServerLive')
    send(1, frame(Buffer.alloc(0)))
    await session.end(1)
    begin(3, 'ModelStreamInfer', header('grpc-timeout', '200m'))
    begin(5, 'ModelInfer', header('grpc-timeout', '400m'))
    send(5, FRAME)
    // More requests than may be in progress, so that the server stops reading.
    for (const ping of [0, 1, 2]) {
      send(3, Buffer.concat(Array(150).fill(FRAME)))
      session.send(http2Frame('ping', Buffer.alloc(8, ping)))
      await session.frame('ping', ({ payload }) => payload[0] === ping)
    }
    session.send(http2Frame('rstStream', Buffer.alloc(4), { stream: 3 }))
    // By then, the deadline of the stream has passed, too.
    await session.end(5)
    session.socket.destroy()
  })

  test('ends with the connection when the process shuts down and the stream is idle', async () => {
    const { server, client } = await open()
    const call = client.open('ModelStreamInfer')
    call.write(request())
    assert.ok(await call.next())
    assert.equal(await server.close(10_000), true)
    const { status, message } = await call.answered
    assert.deepEqual(
      [status, message],
      [14, 'the connection is closing; retry the call on a new connection'],
    )
  })
})

suite('the health service', () => {
  const check = (client: Client, service: string) =>
    client.call('grpc.health.v1.Health/Check', { service })

  test('reports the server, each service and the model', async () => {
    const { client } = await open()
    for (const service of ['', MODEL, 'inference.GRPCInferenceService', 'grpc.health.v1.Health'])
      assert.equal((await check(client, service)).messages[0]?.status, 1, service)
    const { status, message } = await check(client, 'x')
    assert.deepEqual([status, message], [5, 'service "x" is unknown'])
  })

  test('sends each change to a watch, and ends the watch when the process shuts down', async () => {
    const { server, client } = await open({}, false)
    const watch = client.open('grpc.health.v1.Health/Watch')
    watch.write({ service: '' })
    watch.stream.end()
    assert.equal((await watch.next())?.status, 2)
    await server.service.model.load()
    assert.equal((await watch.next())?.status, 1)
    server.service.model.retire()
    assert.equal((await watch.next())?.status, 2)
    assert.equal(await server.close(10_000), true)
    assert.equal((await watch.answered).status, 14)
  })

  test('reports NOT_SERVING to a watch before the watch ends, even if the process shuts down at once', async () => {
    const { server, client } = await open()
    const watches = Array.from({ length: 20 }, () => client.open('grpc.health.v1.Health/Watch'))
    for (const watch of watches) {
      watch.write({ service: '' })
      assert.equal((await watch.next())?.status, 1)
    }
    server.service.model.retire()
    const closed = server.close(10_000)
    for (const watch of watches) {
      assert.equal((await watch.next())?.status, 2)
      assert.equal((await watch.answered).status, 14)
    }
    assert.equal(await closed, true)
  })

  test('reports SERVICE_UNKNOWN to a watch on an unknown service', async () => {
    const { client } = await open()
    const watch = client.open('grpc.health.v1.Health/Watch')
    watch.write({ service: 'x' })
    assert.equal((await watch.next())?.status, 3)
    watch.stream.close(constants.NGHTTP2_CANCEL)
  })

  test('frees the memory of a watch’s request message', async () => {
    const { client } = await open({ MAX_BODY_BYTES: String(MAX_BODY_BYTES) })
    const service = 'x'.repeat(MAX_BODY_BYTES - 100)
    for (let i = 0; i < 3; i++) {
      const watch = client.open('grpc.health.v1.Health/Watch')
      watch.write({ service })
      assert.equal((await watch.next())?.status, 3)
    }
    const { status, message } = await client.call('ModelInfer', flowers(9_000))
    assert.equal(status, 0, message)
  })
})
