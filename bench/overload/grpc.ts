import { createHistogram } from 'node:perf_hooks'
import { type CallBytes, type CallEnd, Streams } from './streams.ts'

const CONNECTIONS = 16
const AFTER_MS = 5_000

async function connectAll(port: number, call: CallBytes): Promise<Streams[]> {
  return Promise.all(Array.from({ length: CONNECTIONS }, () => Streams.connect(port, call)))
}

/** @returns successful calls per second */
export async function closedCalls(
  port: number,
  call: CallBytes,
  underWay: number,
  seconds: number,
): Promise<number> {
  const connections = await connectAll(port, call)
  let answered = 0
  let isOver = false
  const begin = (connection: Streams) =>
    connection.send(end => {
      if (isOver) return
      if (end === 'answered') answered++
      setImmediate(begin, connection)
    })
  for (let i = 0; i < underWay; i++) begin(connections[i % CONNECTIONS] as Streams)
  await new Promise(resolve => setTimeout(resolve, seconds * 200))
  const before = answered
  const began = performance.now()
  await new Promise(resolve => setTimeout(resolve, seconds * 1_000))
  const perSecond = ((answered - before) / (performance.now() - began)) * 1_000
  isOver = true
  for (const connection of connections) connection.close()
  return perSecond
}

/**
 * Sends each call when it is due, without waiting for earlier calls, as `openLoop` does over
 * HTTP/1.1.
 * @param onEnd receives how the call ended, the time at which it was due, and the milliseconds from
 * then to its end
 */
export async function openCalls(
  port: number,
  call: CallBytes,
  { perSecond, seconds, patienceMs }: { perSecond: number; seconds: number; patienceMs: number },
  onEnd: (end: CallEnd, due: number, ms: number) => void,
): Promise<{ sent: number; givenUp: number; lag: number }> {
  const connections = await connectAll(port, call)
  const lag = createHistogram({ figures: 3 })
  const total = Math.floor(perSecond * seconds)
  const dueAt = (index: number) => (index * 1_000) / perSecond
  const began = performance.now()
  const now = () => performance.now() - began
  const done = Promise.withResolvers<void>()
  let next = 0
  let open = 0
  let sent = 0
  let givenUp = 0
  let turn = 0
  const begin = (connection: Streams, due: number) => {
    sent++
    open++
    connection.send(end => {
      open--
      onEnd(end, due, now() - due)
      if (next === total && open === 0) done.resolve()
    })
  }
  const nextFree = () => {
    for (let tries = 0; tries < CONNECTIONS; tries++) {
      const connection = connections[turn++ % CONNECTIONS]
      if (connection?.isFree) return connection
    }
    return undefined
  }
  let seen = 0
  const timer = setInterval(() => {
    for (; seen < total && dueAt(seen) <= now(); seen++)
      lag.record(Math.max(1, Math.round((now() - dueAt(seen)) * 1e6)))
    for (; next < seen; next++) {
      const connection = nextFree()
      if (connection !== undefined) begin(connection, dueAt(next))
      else if (now() - dueAt(next) > patienceMs) givenUp++
      else break
    }
    if (next === total && open === 0) done.resolve()
  }, 1)
  const late = setTimeout(() => done.resolve(), seconds * 1_000 + AFTER_MS)
  await done.promise
  clearInterval(timer)
  clearTimeout(late)
  for (const connection of connections) connection.close()
  return { sent, givenUp, lag: lag.percentile(99) / 1e6 }
}
