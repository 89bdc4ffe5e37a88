import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CloudEvent } from 'cloudevents'
import { type Server, startServer, testModel } from '../server.ts'
import {
  type Answer,
  BATCHED,
  EVENT,
  type EventJson,
  post,
  refusal,
  replyIn,
  SEND,
  sdkEvents,
} from './events.ts'

const send = ({ url }: Server, events: readonly unknown[]) =>
  post(url, { 'content-type': BATCHED }, JSON.stringify(events))

function replies(answer: Answer): readonly EventJson[] {
  assert.equal(answer.status, 200, answer.text)
  const events = JSON.parse(answer.text)
  assert.equal(sdkEvents(answer).length, events.length)
  return events
}

async function runs({ service }: Server): Promise<{ runs: number; rows: number }> {
  const text = await service.metrics.text()
  const read = (name: string) =>
    Number(new RegExp(`^inference_batch_rows_${name} (\\d+)`, 'm').exec(text)?.[1])
  return { runs: read('count'), rows: read('sum') }
}

describe('a batch of events', () => {
  let server: Server
  before(async () => {
    server = await startServer({ MODEL_DIR: testModel('failing') })
  })
  after(() => server.stop())

  /** The model returns 10, 20 and 30 for 0, 1 and 2, and fails on any other value. */
  const event = (id: string, ...indices: number[]): EventJson => ({
    ...EVENT,
    id,
    data: {
      inputs: [{ name: 'index', datatype: 'INT64', shape: [indices.length], data: indices }],
    },
  })
  const answers = (events: readonly EventJson[]) =>
    events.map(({ subject, data }) => [
      subject,
      (data as { outputs: { data: number[] }[] }).outputs[0]?.data,
    ])

  test('runs the events of a batch together, and replies in the order of the events', async () => {
    const before = await runs(server)
    const events = Array.from({ length: 50 }, (_, i) => event(`e${i}`, i % 3))
    const got = replies(await send(server, events))
    assert.deepEqual(
      answers(got),
      events.map((_, i) => [`e${i}`, [((i % 3) + 1) * 10]]),
    )
    const now = await runs(server)
    assert.deepEqual([now.runs - before.runs, now.rows - before.rows], [1, 50])
  })

  test('accepts events with several rows and data in Base64 in a batch', async () => {
    const { data, ...attributes } = event('b', 2, 1, 0)
    const asBase64 = {
      ...attributes,
      data_base64: Buffer.from(JSON.stringify(data)).toString('base64'),
    }
    const got = replies(await send(server, [event('a', 0), asBase64, event('c', 1, 1)]))
    assert.deepEqual(answers(got), [
      ['a', [10]],
      ['b', [30, 20, 10]],
      ['c', [20, 20]],
    ])
  })

  test('answers each event in a batch with its own result if the data of the events exceeds 128 KiB', async () => {
    const indices = [0, 1, 2].map(index => new Array<number>(70_000).fill(index))
    const got = replies(
      await send(
        server,
        indices.map((data, i) => event(`e${i}`, ...data)),
      ),
    )
    assert.deepEqual(
      answers(got),
      indices.map((data, i) => [`e${i}`, data.map(index => (index + 1) * 10)]),
    )
  })

  test('refuses a batch whose replies exceed MAX_JSON_BYTES together', async t => {
    const own = await startServer({ MODEL_DIR: testModel('failing'), MAX_JSON_BYTES: '2500' })
    t.after(own.stop)
    const events = Array.from({ length: 9 }, (_, i) => event(`e${i}`, 1))
    assert.equal((await send(own, events.slice(0, 2))).status, 200)
    const { status, text } = await send(own, events)
    assert.equal(status, 413)
    assert.match(text, /larger than the 2500 bytes allowed \(MAX_JSON_BYTES\); send fewer events/)
  })

  test('answers a batch of one event with a batch of one reply', async () => {
    assert.deepEqual(answers(replies(await send(server, [event('a', 1)]))), [['a', [20]]])
  })

  test('answers a batch from the SDK with events that the SDK can read', async () => {
    const events = [0, 1].map(
      i => new CloudEvent({ type: 'x.request', source: '/s', data: event('', i).data }),
    )
    assert.deepEqual(
      sdkEvents(await post(server.url, { 'content-type': BATCHED }, JSON.stringify(events))).map(
        ({ type, subject }) => [type, subject],
      ),
      events.map(({ id }) => ['x.response', id]),
    )
  })

  const BAD: readonly [what: string, bad: EventJson, says: RegExp][] = [
    ['on which the model fails', event('bad', 99), /./],
    [
      'whose data is not an inference request',
      { ...event('bad'), data: { inputs: 5 } },
      /inputs is 5/,
    ],
    ['without data', { ...event('bad'), data: null }, /no data/],
    [
      'with data of an unsupported media type',
      { ...event('bad'), datacontenttype: 'text/plain' },
      /"text\/plain"/,
    ],
    [
      'with Base64 that is not JSON',
      { ...event('bad'), data: undefined, data_base64: 'eyI=' },
      /not valid JSON/,
    ],
    [
      'that requests binary outputs',
      {
        ...event('bad'),
        data: { ...(event('', 1).data as object), parameters: { binary_data_output: true } },
      },
      /binary_data/,
    ],
  ]
  for (const [what, bad, says] of BAD) {
    test(`answers an event ${what} with an error event, and the other events in the batch with results`, async () => {
      const got = replies(await send(server, [event('a', 0), bad, event('c', 2), event('d', 1, 0)]))
      const { id, data, ...attributes } = got[1] as EventJson
      assert.deepEqual(attributes, {
        specversion: '1.0',
        source: '/onnx-function/failing',
        type: 'com.example.iris.error',
        datacontenttype: 'application/json',
        subject: 'bad',
        causationid: 'bad',
      })
      assert.deepEqual(Object.keys(data as object), ['error'])
      assert.match((data as { error: string }).error, says)
      assert.deepEqual(answers(got.filter(({ subject }) => subject !== 'bad')), [
        ['a', [10]],
        ['c', [30]],
        ['d', [20, 10]],
      ])
    })
  }

  test('answers a batch in which every event fails with a batch of error events', async () => {
    const got = replies(await send(server, [event('a', 9), event('b', 9)]))
    assert.deepEqual(
      got.map(({ type, subject }) => [type, subject]),
      [
        ['com.example.iris.error', 'a'],
        ['com.example.iris.error', 'b'],
      ],
    )
  })

  test('sends error events with stable ids that differ from the ids of results, and forwards attributes of the event', async () => {
    const failed = { ...event('a', 9), correlationid: 'c-1', traceparent: 'x' }
    const [first, second, alone] = await Promise.all([
      send(server, [failed]),
      send(server, [failed]),
      SEND.structured(server.url, event('a', 1)),
    ])
    assert.equal(first.text, second.text)
    const [reply] = replies(first)
    assert.notEqual(reply?.id, replyIn('structured', alone).id)
    assert.deepEqual([reply?.replyid, reply?.traceparent], ['c-1', 'x'])
  })

  const INVALID: readonly [what: string, element: unknown, says: RegExp][] = [
    ['null', null, /event 1 of the batch is null/],
    ['a batch', [], /event 1 of the batch is an array/],
    [
      'an event without an id',
      { ...event('', 1), id: undefined },
      /event 1 of the batch: id is missing/,
    ],
    [
      'an event with an unsupported version',
      { ...event('b', 1), specversion: '0.3' },
      /event 1 of the batch: specversion/,
    ],
    [
      'an event with both data and data_base64',
      { ...event('b', 1), data_base64: 'eyI=' },
      /event 1 of the batch has both/,
    ],
    [
      'an event with broken Base64',
      { ...event('b', 1), data: undefined, data_base64: '*' },
      /event 1 of the batch: data_base64/,
    ],
  ]
  for (const [what, element, says] of INVALID) {
    test(`rejects a batch that contains ${what}, names its position, and runs no event`, async () => {
      const before = await runs(server)
      assert.match(refusal(400, await send(server, [event('a', 0), element, event('c', 0)])), says)
      assert.deepEqual(await runs(server), before)
    })
  }

  test('sends no replies to the function’s own events in a batch', async () => {
    const own = { ...event('own', 1), source: '/onnx-function/failing' }
    const logged = { ...event('logged', 1), type: 'org.kubeflow.serving.inference.request' }
    assert.deepEqual(
      answers(replies(await send(server, [own, event('a', 0), logged, event('b', 1)]))),
      [
        ['a', [10]],
        ['b', [20]],
      ],
    )
  })

  test('sends the same reply twice if a batch contains the same event twice', async () => {
    const [one, other] = replies(await send(server, [event('a', 0), event('a', 0)]))
    assert.deepEqual(one, other)
  })
})

describe('a batch that exceeds the queue', () => {
  const slowEvent = {
    ...EVENT,
    data: { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] },
  }

  test('rejects a batch that exceeds the queue with 503 and Retry-After while other events wait', async () => {
    const server = await startServer({
      MODEL_DIR: testModel('slow'),
      MAX_QUEUE_ROWS: '4',
      EXECUTION: 'worker',
      ORT_THREADS: '1024',
    })
    try {
      const before = await runs(server)
      const running = send(server, [slowEvent])
      await until(async () => (await runs(server)).runs === before.runs + 1)
      const waiting = send(server, [slowEvent, slowEvent, slowEvent])
      await until(async () => server.service.model.queuedRows === 3)
      const answer = await send(server, [slowEvent, slowEvent])
      refusal(503, answer)
      assert.match(String(answer.headers['retry-after']), /^\d+$/)
      assert.deepEqual([replies(await running).length, replies(await waiting).length], [1, 3])
      assert.equal((await runs(server)).rows - before.rows, 4)
      assert.equal(server.service.model.queuedRows, 0)
    } finally {
      await server.stop()
    }
  })

  test('accepts a batch that exceeds the queue while no other request waits', async () => {
    const server = await startServer({ MAX_QUEUE_ROWS: '3' })
    try {
      assert.equal(replies(await send(server, Array(10).fill(EVENT))).length, 10)
    } finally {
      await server.stop()
    }
  })
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setImmediate(resolve))
}

describe('a batch for a model whose requests cannot be joined', () => {
  test('runs each event in a batch separately if requests cannot share a run', async () => {
    const server = await startServer({ MODEL_DIR: testModel('rows-dependent') })
    try {
      const { signature, example } = server.service.model.loaded as NonNullable<
        typeof server.service.model.loaded
      >
      const inputs = example.map((tensor, i) => ({
        ...tensor,
        name: signature.inputs[i]?.name,
        data: [...(tensor.data as Float32Array)],
      }))
      const before = await runs(server)
      assert.equal(
        replies(await send(server, Array(5).fill({ ...EVENT, data: { inputs } }))).length,
        5,
      )
      assert.equal((await runs(server)).runs - before.runs, 5)
    } finally {
      await server.stop()
    }
  })
})
