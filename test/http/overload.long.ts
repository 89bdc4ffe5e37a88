import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startProcess, startServer, testModel } from '../server.ts'
import { connect, exchange, IRIS, irisBody, request, SLOW, slowBody, until } from './client.ts'

const slowRequest = (more?: object) => request('POST', SLOW, {}, slowBody(more))

test('requests beyond MAX_QUEUE_ROWS are refused at once with Retry-After, and the other requests are answered', async () => {
  const server = await startProcess({
    MODEL_DIR: testModel('slow'),
    MAX_QUEUE_ROWS: '4',
    MAX_BATCH_ROWS: '1',
  })
  const port = Number(new URL(server.url).port)
  const order: number[] = []
  const connections = await Promise.all(Array.from({ length: 30 }, () => connect(port)))
  // Once the last connection has a response, the server has accepted all.
  for (const connection of connections) connection.send(request('GET', '/v2'))
  for (const connection of connections) await connection.answer()
  const answers = await Promise.all(
    connections.map(async connection => {
      connection.send(slowRequest())
      const answer = await connection.answer()
      order.push(answer.status)
      return answer
    }),
  )
  const turnedAway = answers.filter(({ status }) => status === 503)
  assert.ok(turnedAway.length >= 10, `${turnedAway.length} requests were refused`)
  assert.ok(answers.every(({ status }) => status === 200 || status === 503))
  for (const { headers, json } of turnedAway) {
    assert.deepEqual([headers['retry-after'], headers.connection], ['1', 'keep-alive'])
    assert.match(json.error, /try again later/)
  }
  assert.deepEqual(
    order.slice(-3),
    [200, 200, 200],
    'rejected requests waited for admitted requests',
  )
  server.process.kill('SIGTERM')
  await server.exited
})

test('a request larger than the queue is accepted if no request waits', async t => {
  const server = await startServer({ MAX_QUEUE_ROWS: '2' })
  t.after(server.stop)
  const inputs = [{ name: 'input', shape: [10, 4], datatype: 'FP32', data: Array(40).fill(1) }]
  assert.equal(
    (await exchange(server.port, request('POST', IRIS, {}, JSON.stringify({ inputs })))).status,
    200,
  )
})

test('a request that waits longer than REQUEST_TIMEOUT_MS behind slow runs gets 504', async t => {
  const server = await startServer({
    MODEL_DIR: testModel('slow'),
    MAX_BATCH_ROWS: '1',
    REQUEST_TIMEOUT_MS: '400',
  })
  t.after(server.stop)
  const connection = await connect(server.port)
  connection.send(slowRequest().repeat(20))
  const answers = []
  for (let i = 0; i < 20; i++) answers.push(await connection.answer())
  assert.deepEqual([answers[0]?.status, answers[19]?.status], [200, 504])
  assert.ok(answers.every(({ status }) => status === 200 || status === 504))
  assert.match(answers[19]?.json.error, /deadline passed/)
  connection.socket.destroy()
})

test('a request gets 504 after its own timeout in microseconds, and other requests are not affected', async t => {
  const server = await startServer({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
  t.after(server.stop)
  const connection = await connect(server.port)
  connection.send(
    slowRequest() +
      slowRequest({ parameters: { timeout: 1_000 } }) +
      slowRequest({ parameters: { timeout: 60_000_000 } }),
  )
  const statuses = []
  for (let i = 0; i < 3; i++) statuses.push((await connection.answer()).status)
  assert.deepEqual(statuses, [200, 504, 200])
  connection.socket.destroy()
})

test('a request waits for the model to load until its deadline, and then gets 504', async t => {
  const server = await startServer({ REQUEST_TIMEOUT_MS: '150' }, { load: false })
  t.after(server.stop)
  const answer = await exchange(server.port, request('POST', IRIS, {}, irisBody()))
  assert.equal(answer.status, 504)
  assert.match(answer.json.error, /before the model was loaded/)
  await server.service.model.load()
  assert.equal((await exchange(server.port, request('POST', IRIS, {}, irisBody()))).status, 200)
})

test('while the model loads, requests beyond MAX_QUEUE_ROWS get 503', async t => {
  const server = await startServer({ MAX_QUEUE_ROWS: '2' }, { load: false })
  t.after(server.stop)
  const waiting = [0, 1].map(() => exchange(server.port, request('POST', IRIS, {}, irisBody())))
  await until('two requests wait', () => server.service.model.queuedRows === 2)
  const third = await exchange(server.port, request('POST', IRIS, {}, irisBody()))
  assert.deepEqual([third.status, third.headers['retry-after']], [503, '1'])
  await server.service.model.load()
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ status }) => status),
    [200, 200],
  )
})

test('requests that waited for a model that cannot be loaded get 503', async t => {
  const server = await startServer({ MODEL_DIR: testModel('broken') }, { load: false })
  t.after(server.stop)
  const waiting = exchange(server.port, request('POST', '/v2/models/broken/infer', {}, irisBody()))
  await until('the request waits', () => server.service.model.queuedRows === 1)
  await assert.rejects(server.service.model.load(), /cannot be loaded/)
  const { status, headers, json } = await waiting
  assert.deepEqual(
    [status, headers['retry-after'], json.error],
    [503, '1', 'the model could not be loaded'],
  )
  assert.equal((await exchange(server.port, request('GET', '/v2/health/ready'))).status, 503)
})
