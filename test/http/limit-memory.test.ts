import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Connection } from '../../function/http/connection.ts'
import { ConnectionLimit, Drops } from '../../function/http/connection-limit.ts'
import { StreamLimit } from '../../function/http/stream-limit.ts'

const OPEN_AT_A_TIME = 8
const drops = new Drops({ metrics: { dropped: () => {} }, log: { warn: () => {} } }, 100)

/** How many of 2,000 objects stay in memory if each is closed after eight more were opened. */
async function kept(open: () => { readonly item: object; close(): void }): Promise<number> {
  const items: WeakRef<object>[] = []
  const closes: (() => void)[] = []
  for (let i = 0; i < 2_000; i++) {
    const { item, close } = open()
    items.push(new WeakRef(item))
    closes.push(close)
    if (closes.length > OPEN_AT_A_TIME) closes.shift()?.()
  }
  for (const close of closes.splice(0)) close()
  // A WeakRef keeps its target until the end of the turn that created it.
  await nextTurn()
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return items.filter(item => item.deref() !== undefined).length
}

test('ConnectionLimit keeps no closed connections in memory', async () => {
  const open = new Map<Socket, Connection>()
  const limit = new ConnectionLimit(100, open, drops)
  const left = await kept(() => {
    const socket = {} as Socket
    open.set(socket, {} as Connection)
    assert.equal(limit.opened(socket), undefined)
    return {
      item: socket,
      close() {
        open.delete(socket)
        limit.used(socket)
      },
    }
  })
  assert.ok(left <= 2 * OPEN_AT_A_TIME, `${left} closed connections are in memory`)
})

test('StreamLimit keeps no closed streams in memory', async () => {
  const limit = new StreamLimit(100, drops)
  const left = await kept(() => {
    const stream = new EventEmitter() as ServerHttp2Stream
    assert.equal(limit.admit(stream), true)
    return { item: stream, close: () => stream.emit('close') }
  })
  assert.ok(left <= 2 * OPEN_AT_A_TIME, `${left} closed streams are in memory`)
})
