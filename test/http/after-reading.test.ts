import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterReading } from '../../function/http/after-reading.ts'
import { startServer } from '../server.ts'
import { busy, connect, exchange, request } from './client.ts'

test('closes connections in several turns of the event loop, in order', async () => {
  const closed: number[] = []
  for (let i = 0; i < 3; i++)
    afterReading(() => {
      closed.push(i)
      busy(2)
    })
  assert.deepEqual(closed, [])
  await nextTurn()
  assert.deepEqual(closed, [0])
  await nextTurn()
  await nextTurn()
  assert.deepEqual(closed, [0, 1, 2])
})

test('a request that arrived in time gets its response, although a busy server reads it after the time limit', async t => {
  const server = await startServer({ REQUEST_TIMEOUT_MS: '300' })
  t.after(server.stop)
  const late = await connect(server.port)
  late.send('GET /v2 HTTP/1.1\r\nHost: test\r\n')
  await exchange(server.port, request('GET', '/v2'))
  late.send('\r\n')
  // Node looks for late requests every 300 ms.
  busy(700)
  assert.equal((await late.answer()).status, 200)
})

test('a request that does not arrive in time gets 408', async t => {
  const server = await startServer({ REQUEST_TIMEOUT_MS: '300' })
  t.after(server.stop)
  const late = await connect(server.port)
  late.send('GET /v2 HTTP/1.1\r\nHost: test\r\n')
  assert.equal((await late.answer()).status, 408)
  await late.closed
})
