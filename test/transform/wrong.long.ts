import assert from 'node:assert/strict'
import { appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { EVENT, post, refusal, SEND } from '../events/events.ts'
import { projectFolder, type Server, startServer } from '../server.ts'
import { author } from './table.ts'

/*
 * Faults in the author's code, and their effects on the affected caller, other callers and probes.
 */

const RUN_TIMEOUT_MS = 1_000
const REQUEST_TIMEOUT_MS = 3_000

const ask = (server: Server, data: unknown, signal?: AbortSignal) =>
  fetch(`${server.url}/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(data),
    signal: signal ?? null,
  })

async function result(answer: Promise<Response>): Promise<readonly [number, unknown]> {
  const { status, ...rest } = await answer.then(async response => ({
    status: response.status,
    body: JSON.parse(await response.text()),
  }))
  return [status, rest.body.error ?? rest.body.label]
}

const LATE = 'the deadline passed before the call had a result'
const KEPT = 'the transform blocked its thread for longer than 1 s (RUN_TIMEOUT_MS)'
const OTHERS = 'another request blocked the thread for too long; try again'
const ENDED = 'the thread that ran the model ended; try again'

async function probeMs({ url }: Server): Promise<number> {
  const began = performance.now()
  const probe = await fetch(`${url}/v2/health/ready`)
  assert.equal(probe.status, 200)
  await probe.arrayBuffer()
  return performance.now() - began
}

describe('a fault of a transform in a worker', { timeout: 60_000 }, () => {
  let server: Server
  before(async () => {
    const env = {
      TRANSFORM: author('wrong.ts'),
      EXECUTION: 'auto',
      RUN_TIMEOUT_MS: String(RUN_TIMEOUT_MS),
      REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    }
    server = await startServer(env, { memoryBytes: 2 ** 29 })
  })
  after(() => server.stop())

  for (const fault of ['loop', 'asyncloop', 'postloop']) {
    test(`${fault}: the thread is terminated and replaced`, async () => {
      assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
      const looping = result(ask(server, { do: fault }))
      await wait(200)
      const others = [1, 2, 3].map(() => result(ask(server, {})))
      assert.ok((await probeMs(server)) < 500)
      assert.deepEqual(await looping, [504, KEPT])
      for (const other of others) assert.deepEqual(await other, [503, OTHERS])
      assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
    })
    test(`${fault}: a Broker does not send the event again`, async () => {
      const answer = await SEND.binary(server.url, { ...EVENT, data: { do: fault } })
      assert.equal(refusal(422, answer), KEPT)
    })
  }

  test('a pattern that runs forever is reported as a fault only to its caller', async () => {
    const slow = result(ask(server, { name: `${'a'.repeat(40)}!` }))
    await wait(200)
    const other = result(ask(server, {}))
    assert.deepEqual(await slow, [504, KEPT])
    assert.deepEqual(await other, [503, OTHERS])
    assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
  })

  for (const fault of ['never', 'postnever'])
    test(`${fault}: the call gets 504 at its deadline, and is no longer counted as in progress`, async () => {
      const waiting = result(ask(server, { do: fault }))
      assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
      assert.deepEqual(await waiting, [504, LATE])
      assert.equal(server.service.model.transformer?.count, 0)
    })

  for (const fault of ['leak', 'timer'])
    test(`${fault}: the call and its thread continue`, async () => {
      assert.deepEqual(await result(ask(server, { do: fault })), [200, 'setosa'])
      await wait(20)
      assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
    })

  test('process.exit() terminates only its thread: the call gets 503, and the next call is answered', async () => {
    assert.deepEqual(await result(ask(server, { do: 'exit' })), [503, ENDED])
    assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
  })

  test('probes are answered while the author’s code blocks its thread', async () => {
    const blocking = [1, 2, 3].map(() => result(ask(server, { do: 'block', ms: 200 })))
    await wait(100)
    assert.ok((await probeMs(server)) < 150)
    for (const answer of blocking) assert.deepEqual(await answer, [200, 'setosa'])
  })

  test('many calls that block briefly are not treated as a loop, whatever their total time', async () => {
    const blocking = Array.from({ length: 8 }, () => result(ask(server, { do: 'block', ms: 250 })))
    for (const answer of blocking) assert.deepEqual(await answer, [200, 'setosa'])
  })

  test('the signal is aborted when the caller hangs up', async () => {
    const before = await (await ask(server, {})).json()
    const controller = new AbortController()
    const asking = ask(server, { do: 'wait', ms: 10_000 }, controller.signal)
    await wait(100)
    controller.abort()
    await assert.rejects(asking)
    while (server.service.model.transformer?.count !== 0) await wait(5)
    const { hungUp } = (await (await ask(server, {})).json()) as { hungUp: number }
    assert.equal(hungUp, (before as { hungUp: number }).hungUp + 1)
  })

  test('a call whose caller hangs up at once is no longer counted as in progress', async () => {
    const body = JSON.stringify({ do: 'never' })
    const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
    for (let i = 0; i < 100; i++)
      await new Promise<void>(resolve => {
        const socket = connect(server.port, '127.0.0.1', () =>
          socket.write(head + body, () => {
            socket.destroy()
            resolve()
          }),
        )
      })
    const began = performance.now()
    while (server.service.model.transformer?.count !== 0) await wait(5)
    assert.ok(performance.now() - began < REQUEST_TIMEOUT_MS / 2)
  })

  test('calls whose caller no longer waits do not begin', async () => {
    const { counted } = (await (await ask(server, { do: 'count' })).json()) as { counted: number }
    const events = [{ do: 'block', ms: 400 }, { do: 'count' }, { do: 'count' }]
    const controller = new AbortController()
    const asking = fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(events.map((data, i) => ({ ...EVENT, id: `${i}`, data }))),
      signal: controller.signal,
    })
    await wait(150)
    controller.abort()
    await assert.rejects(asking)
    const after = (await (await ask(server, { do: 'count' })).json()) as { counted: number }
    assert.equal(after.counted, counted + 1)
  })

  test('the same threads also answer requests with tensors', async () => {
    const body = {
      inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: [5, 3, 1, 0] }],
    }
    const url = `${server.url}/v2/models/iris-classifier/infer`
    const looping = result(ask(server, { do: 'loop' }))
    await wait(100)
    const answer = await post(url, { 'content-type': 'application/json' }, JSON.stringify(body))
    assert.deepEqual([answer.status, (await looping)[0]], [503, 504])
    const again = await post(url, { 'content-type': 'application/json' }, JSON.stringify(body))
    assert.equal(again.status, 200)
  })
})

test('a thread is replaced even if other files of the project have changed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'transform-'))
  cpSync(join(projectFolder, 'models/iris/v1.0.0'), folder, { recursive: true })
  cpSync(author('wrong.ts'), join(folder, 'transform.ts'))
  writeFileSync(join(folder, 'author.log'), '')
  const server = await startServer({ MODEL_DIR: folder, RUN_TIMEOUT_MS: '1000' })
  try {
    writeFileSync(join(folder, 'author.log'), 'a line')
    assert.deepEqual(await result(ask(server, { do: 'exit' })), [503, ENDED])
    assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
    // A changed transform must not replace the first one.
    appendFileSync(join(folder, 'transform.ts'), '\n')
    assert.deepEqual(await result(ask(server, { do: 'exit' })), [503, ENDED])
    assert.equal((await result(ask(server, {})))[0], 503)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true })
  }
})

for (const EXECUTION of ['inline', 'worker'])
  describe(`with limits for few calls (EXECUTION=${EXECUTION})`, { timeout: 60_000 }, () => {
    let server: Server
    before(async () => {
      const env = {
        TRANSFORM: author('wrong.ts'),
        MAX_QUEUE_ROWS: '4',
        MAX_BODY_BYTES: '65536',
        MAX_JSON_BYTES: '32768',
      }
      server = await startServer({ ...env, EXECUTION }, { memoryBytes: 2 ** 29 })
    })
    after(() => server.stop())

    test('further concurrent calls are rejected immediately', async () => {
      const waiting = [1, 2, 3, 4].map(() => result(ask(server, { do: 'wait', ms: 300 })))
      while (server.service.model.transformer?.count !== 4) await wait(1)
      const [status, error] = await result(ask(server, {}))
      assert.equal(status, 503)
      assert.match(
        String(error),
        /^4 calls .* are already in progress in the transform; the limits are 4 calls/,
      )
      for (const answer of waiting) assert.deepEqual(await answer, [200, 'setosa'])
    })
    test('a batch with more events than the limit is answered if there are no other callers', async () => {
      const events = Array.from({ length: 9 }, (_, i) => ({ ...EVENT, id: `${i}`, data: {} }))
      const type = { 'content-type': 'application/cloudevents-batch+json' }
      const answer = await post(server.url, type, JSON.stringify(events))
      assert.equal(JSON.parse(answer.text).length, 9)
    })
    test('MAX_JSON_BYTES limits JSON', async () => {
      const [status, error] = await result(ask(server, { more: 'x'.repeat(40_000) }))
      assert.equal(status, 413)
      assert.match(String(error), /^40\d\d\d bytes of JSON exceed the 32768 bytes allowed/)
    })
    test('MAX_BODY_BYTES limits the rows that preprocess creates', async () => {
      assert.equal((await result(ask(server, { rows: 512 })))[0], 200)
      const [status, error] = await result(ask(server, { rows: 5_000 }))
      assert.equal(status, 413)
      assert.match(String(error), /tensors need 80000 bytes; at most 65536 are allowed/)
    })
    if (EXECUTION === 'worker')
      test('code that uses all memory terminates its thread: the call gets 503, and the next call is answered', async () => {
        assert.deepEqual(await result(ask(server, { do: 'memory' })), [503, ENDED])
        assert.deepEqual(await result(ask(server, {})), [200, 'setosa'])
      })
  })
