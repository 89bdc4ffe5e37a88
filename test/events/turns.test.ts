import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Caller } from '../../function/answer.ts'
import type { DataPlane } from '../../function/dataplane.ts'
import { readBatch } from '../../function/events/cloudevent.ts'
import { receiveEvents } from '../../function/events/receive.ts'
import { BadRequest } from '../../function/protocol/errors.ts'
import { Trace } from '../../function/telemetry/trace.ts'
import { BATCHED, EVENT } from './events.ts'

/*
 * A batch must not block other requests: the tests count the events that start in one turn of the
 * event loop.
 */

const caller = (trace?: Trace): Caller => ({ arrived: 0, deadline: 1e9, gone: false, trace })
const replier = { source: '/replies', modelName: 'm', modelVersion: undefined }

/** Sends a batch to a new data plane. @returns the number of events that start in each turn */
async function askedByTurn(events: readonly unknown[], infer: DataPlane['infer'], trace?: Trace) {
  const asked: number[] = []
  let now = 0
  const counting = {
    infer: (...all: Parameters<DataPlane['infer']>) => {
      if (now === 0)
        setImmediate(() => {
          asked.push(now)
          now = 0
        })
      now++
      return infer(...all)
    },
  } as unknown as DataPlane
  const request = {
    method: 'POST',
    path: '/',
    headers: { 'content-type': BATCHED },
    body: Buffer.from(JSON.stringify(events)),
  }
  const limits = { maxBytes: 2 ** 26, maxJsonBytes: 2 ** 24 }
  const context = { dataPlane: counting, model: { limits }, replier }
  const { status } = await receiveEvents(request, 'batched', caller(trace), context)
  assert.equal(status, 200)
  await new Promise(setImmediate)
  return asked
}

const fail = async () => {
  throw new BadRequest('no')
}

describe('a batch of events', () => {
  test('starts at most 256 events in a batch per turn, even if all events fail immediately', async () => {
    const events = Array.from({ length: 1_000 }, (_, i) => ({ ...EVENT, data: 1, id: `${i}` }))
    assert.deepEqual(await askedByTurn(events, fail), [256, 256, 256, 232])
  })

  test('starts fewer events per turn if the events are large', async () => {
    const events = Array.from({ length: 8 }, () => ({ ...EVENT, data: 'x'.repeat(60_000) }))
    assert.deepEqual(await askedByTurn(events, fail), [2, 2, 2, 2])
  })

  test('parses a batch event by event, so that other requests can run in between', () => {
    const batch = readBatch(Buffer.from(`[${JSON.stringify(EVENT)},{}]`))
    assert.equal(batch.next().value?.event.attributes.id, EVENT.id)
    assert.throws(() => batch.next(), /^Error: event 1 of the batch: specversion is missing/)
  })

  test('rejects a batch that is not a valid array, and reports the position of the mistake', () => {
    const event = JSON.stringify(EVENT)
    const refused: readonly [text: string, message: RegExp][] = [
      [`[${event},]`, /a value is missing at byte/],
      [`[,${event}]`, /a value is missing at byte 1$/],
      [`[${event} ${event}]`, /expected a comma or \] at byte/],
      [`[${event}`, /expected a comma or \] at byte/],
      [`[${event}] 1`, /text follows the end of the array at byte/],
      ['[', /a value is missing at byte 1$/],
      [event, /the batch is an object; it must be an array/],
      ['', /the batch is empty/],
    ]
    for (const [text, message] of refused)
      assert.throws(() => [...readBatch(Buffer.from(text))], message)
    assert.deepEqual([...readBatch(Buffer.from(' [ ] '))], [])
  })

  test('records spans for only the first 512 events in a batch', async () => {
    const trace = new Trace(0)
    await askedByTurn(new Array(1_000).fill({ ...EVENT, data: 1 }), fail, trace)
    assert.equal(trace.children.length, 512)
    assert.equal(trace.parts.length, 0)
  })

  test('accepts a dataschema with a long host name without resolving it', async () => {
    const dataschema = `http://${'漢'.repeat(5_200)}/`
    const [event] = readBatch(Buffer.from(JSON.stringify([{ ...EVENT, dataschema }])))
    assert.equal(event?.event.attributes.dataschema, dataschema)
  })
})
