import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { readMetrics } from '../http/client.ts'
import { INHERITED, projectFolder, startServer } from '../server.ts'

interface Line {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

interface Consumer {
  readonly process: ChildProcess
  readonly url: string
  readonly nextLine: () => Promise<Line>
  readonly post: (headers: Record<string, string>, body: string) => Promise<Response>
  readonly counts: () => Promise<Readonly<Record<string, number>>>
}

async function startConsumer(args: readonly string[] = []): Promise<Consumer> {
  const consumer = spawn(process.execPath, ['knative/consumer.ts', ...args], {
    cwd: projectFolder,
    env: { ...INHERITED, PORT: '0', LISTEN_HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 60_000,
  })
  const input = consumer.stdout as NodeJS.ReadableStream
  const lines: AsyncIterator<string> = createInterface({ input })[Symbol.asyncIterator]()
  const nextLine = async () => JSON.parse((await lines.next()).value) as Line
  const url = String((await nextLine()).url)
  return {
    process: consumer,
    url,
    nextLine,
    post: (headers, body) => fetch(url, { method: 'POST', headers, body: Buffer.from(body) }),
    async counts() {
      const text = await (await fetch(`${url}/metrics`)).text()
      return Object.fromEntries(
        [...readMetrics(text)].flatMap(([series, value]) => {
          const [, reason] = /^dead_letters_total\{reason="(\w+)"\}$/.exec(series) ?? []
          return reason === undefined ? [] : [[reason, value]]
        }),
      )
    },
  }
}

const REQUEST = {
  'ce-specversion': '1.0',
  'ce-id': 'flower-1',
  'ce-source': '/garden',
  'ce-type': 'com.example.iris.classify.request',
  'content-type': 'application/json',
}

suite('the dead letter sink', () => {
  let consumer: Consumer
  before(async () => {
    consumer = await startConsumer()
  })
  after(() => consumer.process.kill('SIGKILL'))
  const nextLine = () => consumer.nextLine()
  const post: Consumer['post'] = (headers, body) => consumer.post(headers, body)

  /**
   * The attributes of a lost event, as Knative's dispatcher writes them. The error data is the
   * response's body in Base64, cut to 1024 characters.
   */
  const lostBy = (code: number, body: string) => ({
    ...REQUEST,
    'ce-knativeerrordest': 'http://iris-classifier.iris.svc.cluster.local',
    'ce-knativeerrorcode': String(code),
    'ce-knativeerrordata': Buffer.from(body).toString('base64').slice(0, 1024),
  })

  test('the dead letter sink logs what was lost, where, and why', async () => {
    const answer = await post(
      lostBy(400, '{"error":"the event has no data; send an inference request as its data"}'),
      '{"inputs":[]}',
    )
    assert.deepEqual([answer.status, await answer.text()], [204, ''])
    const { level, msg, event, destination, status, why, data, bytes } = await nextLine()
    assert.deepEqual(
      { level, msg, event, destination, status, why, data, bytes },
      {
        level: 40,
        msg: 'lost',
        event: {
          id: 'flower-1',
          source: '/garden',
          type: REQUEST['ce-type'],
          datacontenttype: 'application/json',
        },
        destination: 'http://iris-classifier.iris.svc.cluster.local',
        status: 400,
        why: 'the event has no data; send an inference request as its data',
        data: '{"inputs":[]}',
        bytes: 13,
      },
    )
  })

  test('the dead letter sink logs the error of the function as the reason', async () => {
    const server = await startServer()
    const refused = await fetch(server.url, {
      method: 'POST',
      headers: REQUEST,
      body: '{"inputs":[]}',
    })
    await server.stop()
    assert.equal(refused.status, 400)
    const body = await refused.text()
    await post(lostBy(400, body), '{"inputs":[]}')
    assert.equal((await nextLine()).why, JSON.parse(body).error)
  })

  test('the dead letter sink logs the beginning of a truncated response, or a response in plain text, as the reason', async () => {
    await post(lostBy(500, `{"error":"${'x'.repeat(2000)}"}`), '')
    assert.equal((await nextLine()).why, `{"error":"${'x'.repeat(758)}`)
    await post({ ...lostBy(502, ''), 'ce-knativeerrordata': 'upstream connect error' }, '')
    assert.equal((await nextLine()).why, 'upstream connect error')
  })

  test('the dead letter sink logs that a destination sent no response or no reason', async () => {
    const { 'ce-knativeerrordata': _, ...headers } = lostBy(-1, '')
    await post(headers, '')
    const { status, why } = await nextLine()
    assert.deepEqual([status, why], [-1, 'no response'])
    await post(lostBy(503, ''), '')
    assert.equal((await nextLine()).why, 'the response gives no reason')
  })

  test('the dead letter sink logs and counts an event without the Broker’s attributes as lost, with the reason "no response"', async () => {
    const before = await consumer.counts()
    await post(REQUEST, '{"inputs":[]}')
    const { level, msg, why, data } = await nextLine()
    assert.deepEqual([level, msg, why, data], [40, 'lost', 'no response', '{"inputs":[]}'])
    assert.equal((await consumer.counts()).no_answer, 1 + Number(before.no_answer))
  })

  test('the dead letter sink accepts data larger than any limit, and logs its beginning', async () => {
    assert.equal(
      (await post(lostBy(413, '{"error":"too large"}'), 'x'.repeat(5_000_000))).status,
      204,
    )
    const { data, bytes, why } = await nextLine()
    assert.deepEqual([String(data).length, bytes, why], [1024, 5_000_000, 'too large'])
  })

  test('the dead letter sink logs only the beginning of a structured event that is too long to read', async () => {
    const event = `{"specversion":"1.0","id":"long","source":"/garden","type":"a.b","data":"${'x'.repeat(2_000_000)}"}`
    assert.equal(
      (await post({ 'content-type': 'application/cloudevents+json' }, event)).status,
      204,
    )
    const { level, msg, begins, bytes } = await nextLine()
    assert.deepEqual([level, begins, bytes], [40, event.slice(0, 1024), event.length])
    assert.match(msg, /^the event in structured mode is too long/)
  })

  test('the dead letter sink counts each logged event by the reason for its loss, starting at 0', async () => {
    const before = await consumer.counts()
    assert.deepEqual(Object.keys(before), ['refused', 'exhausted', 'no_answer', 'unreadable'])
    for (const code of [400, 413, 422, 503, 429, -1]) await post(lostBy(code, ''), '')
    await post(REQUEST, '')
    await post({}, 'no event')
    await post(
      { 'content-type': 'application/cloudevents+json' },
      `{"data":"${'x'.repeat(2_000_000)}"}`,
    )
    for (let i = 0; i < 9; i++) await nextLine()
    const after = await consumer.counts()
    assert.deepEqual(
      Object.entries(after).map(([reason, count]) => count - Number(before[reason])),
      [3, 2, 2, 2],
    )
  })

  test('the dead letter sink accepts structured and batched events', async () => {
    const event = {
      specversion: '1.0',
      id: '1',
      source: '/garden',
      type: 'a.b',
      knativeerrorcode: 503,
      data: { inputs: [] },
    }
    await post({ 'content-type': 'application/cloudevents+json' }, JSON.stringify(event))
    const { status, data } = await nextLine()
    assert.deepEqual([status, data], [503, '{"inputs":[]}'])
    await post(
      { 'content-type': 'application/cloudevents-batch+json' },
      JSON.stringify([event, { ...event, id: '2' }]),
    )
    assert.deepEqual(
      [((await nextLine()).event as Line).id, ((await nextLine()).event as Line).id],
      ['1', '2'],
    )
  })

  for (const { mistake, headers, body, says } of [
    { mistake: 'is not an event', headers: {}, body: '{}', says: /neither ce- headers/ },
    { mistake: 'lacks an attribute', headers: { 'ce-id': '1' }, body: '', says: /is missing/ },
  ]) {
    test(`the dead letter sink refuses and logs a request that ${mistake}`, async () => {
      const answer = await post(headers as Record<string, string>, body)
      assert.equal(answer.status, 400)
      const { error } = (await answer.json()) as { error: string }
      assert.match(error, says)
      const line = await nextLine()
      assert.deepEqual([line.level, line.error], [50, error])
    })
  }

  test('the dead letter sink continues after a sender that hangs up in the middle of a request', async () => {
    const socket = connect(Number(new URL(consumer.url).port), '127.0.0.1')
    const head = Object.entries({ ...REQUEST, host: 'consumer', 'content-length': 100 }).map(
      ([name, value]) => `${name}: ${value}`,
    )
    socket.write(`POST / HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\nhalf`, () =>
      socket.resetAndDestroy(),
    )
    await once(socket, 'close')
    await post(REQUEST, 'whole')
    assert.equal((await nextLine()).data, 'whole')
  })

  test('the dead letter sink serves its health routes, and refuses other paths and methods', async () => {
    for (const path of ['/health/readiness', '/health/liveness'])
      assert.equal((await fetch(consumer.url + path)).status, 200)
    assert.equal((await fetch(`${consumer.url}/v2`)).status, 404)
    const get = await fetch(consumer.url)
    assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST'])
  })

  test('the dead letter sink exits with 0 on SIGTERM', async () => {
    consumer.process.kill('SIGTERM')
    assert.deepEqual(await once(consumer.process, 'exit'), [0, null])
  })
})

suite('the consumer of replies', () => {
  test('the consumer logs a reply as received, and counts only events that a Broker reports as lost', async t => {
    const { post, nextLine, counts, process } = await startConsumer(['--replies'])
    t.after(() => process.kill('SIGKILL'))
    const type = 'com.example.iris.classify.response'
    await post({ ...REQUEST, 'ce-type': type }, '{"outputs":[]}')
    const { level, msg, event, data } = await nextLine()
    assert.deepEqual(
      [level, msg, (event as Line).type, data],
      [30, 'received', type, '{"outputs":[]}'],
    )
    await post({}, 'no event')
    assert.equal((await nextLine()).level, 50)
    assert.deepEqual(Object.values(await counts()), [0, 0, 0, 0])
    await post({ ...REQUEST, 'ce-knativeerrorcode': '503' }, '')
    assert.equal((await nextLine()).msg, 'lost')
    assert.equal((await counts()).exhausted, 1)
  })

  test('the consumer refuses an unknown argument', () => {
    const { status, stderr } = spawnSync(process.execPath, ['knative/consumer.ts', '--reply'], {
      cwd: projectFolder,
      encoding: 'utf8',
    })
    assert.equal(status, 1)
    assert.match(
      stderr,
      /unknown arguments: --reply; allowed: --replies, or no arguments for dead letters/,
    )
  })
})
