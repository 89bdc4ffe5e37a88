import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownBuffer } from '../../function/http/body.ts'
import type { CallCommand } from '../../function/inference/call-messages.ts'
import { ThreadCalls } from '../../function/inference/thread-calls.ts'
import { freeOwn } from '../../function/inference/transfer.ts'
import { DeadlinePassed } from '../../function/protocol/errors.ts'

const caller = { arrived: 0, deadline: Number.POSITIVE_INFINITY, gone: false }

const turn = () => new Promise(resolve => setImmediate(resolve))

test('a call whose caller hangs up before the call is sent does not prevent other calls', async () => {
  const posted: CallCommand[] = []
  const calls = new ThreadCalls({
    // Like postMessage(), throws if a buffer was freed.
    post: (command, transfer = []) =>
      posted.push(structuredClone(command, { transfer: [...transfer] })),
    places: 8,
    limitMs: 0,
    count: () => {},
    onBlocked: () => {},
  })
  const start = (bytes: Uint8Array) =>
    calls.start({ kind: 'request', data: { bytes }, contentType: undefined, headers: {} }, caller)
  const body = ownBuffer(Buffer.alloc(2 ** 21))
  const gone = start(body)
  const other = start(new Uint8Array(2 ** 21).fill(7))
  gone.end(new DeadlinePassed('the caller hung up'))
  await assert.rejects(gone.reply, DeadlinePassed)
  freeOwn(body)
  await turn()
  const sent = posted.flatMap(command => ('calls' in command ? command.calls : []))
  assert.deepEqual(
    sent.map(({ data }) => 'bytes' in data && data.bytes.at(-1)),
    [7],
  )
  calls.fail(new Error('the test ends'))
  await assert.rejects(other.reply, /the test ends/)
})
