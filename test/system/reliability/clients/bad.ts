import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { request } from '../../../http/client.ts'
import { random } from '../../../random.ts'

/*
 * Harmful clients in a separate process: `bad.ts KIND PORT CONNECTIONS SEED`. It reports its
 * results on request, and exits with its parent.
 */

const [kind, port, connections, seed] = [
  process.argv[2] as string,
  ...process.argv.slice(3).map(Number),
] as [Kind, number, number, number]
const draw = random(seed)

const seen: Record<string, number> = {}
const count = (what: string) => {
  seen[what] = (seen[what] ?? 0) + 1
}
let longestMs = 0

const PATH = '/v2/models/identity-fp32/infer'
const small = request(
  'POST',
  PATH,
  {},
  JSON.stringify({ inputs: [{ name: 'x', shape: [2], datatype: 'FP32', data: [1, 2] }] }),
)

/** The actions of a connection until it is closed; a new connection then replaces it. */
const KINDS = {
  async 'slow headers'(socket: Socket) {
    socket.write('GET /v2 HTTP/1.1\r\nHost: test\r\nX-Slow: ')
    await dribble(socket, 'x')
  },
  async 'slow bodies'(socket: Socket) {
    socket.write(request('POST', PATH, { 'content-length': '100000' }))
    await dribble(socket, ' ')
  },
  /** Requests a few large responses or many small ones, and reads none. */
  async 'slow readers'(socket: Socket, index: number) {
    socket.pause()
    // Only one connection in ten sends large requests: many expensive requests would be a flood.
    const large = index % 10 === 0
    // At most 100, because the server cuts a connection that pipelines more than 128.
    socket.write(large ? megabyte : request('GET', '/openapi.json', {}).repeat(100))
    // The responses exceed the kernel's socket buffers.
    if (large) for (let i = 0; i < 6; i++) socket.write(megabyte)
    // Only a write detects the end of a connection that is not read.
    while (!socket.destroyed) {
      await wait(250)
      socket.write('G')
    }
  },
  async 'idle connections'(socket: Socket) {
    if (draw() < 0.5) socket.write(request('GET', '/v2'))
    await once(socket, 'close')
  },
  /** Sends only the first bytes of a ClientHello. */
  async 'TLS handshakes'(socket: Socket) {
    socket.write(Buffer.from('16030100f5010000f10303', 'hex'))
    await once(socket, 'close')
  },
  /** The server may send no part of a body. */
  async 'HTTP/2 streams without windows'(socket: Socket) {
    const session = connectHttp2('http://test', {
      createConnection: () => socket,
      settings: { initialWindowSize: 0 },
    })
    session.on('error', () => {})
    const read = async () => {
      while (!session.destroyed) {
        const stream = session.request({ ':path': '/openapi.json' })
        stream.on('error', () => {})
        await new Promise(resolve => stream.once('close', resolve))
        count('cut')
        await wait(250)
      }
    }
    for (let i = 0; i < 4; i++) void read().catch(() => {})
    await once(socket, 'close')
  },
  async 'gzip bombs'(socket: Socket) {
    socket.write(bomb)
    for await (const _ of socket) socket.write(bomb)
  },
  async 'resets half-way'(socket: Socket) {
    socket.write(draw() < 0.5 ? small : small.slice(0, Math.floor(draw() * small.length)))
    await wait(10 * draw())
    socket.resetAndDestroy()
  },
  /** Sends requests as fast as responses arrive, and faster on some connections. */
  async 'pipelined floods'(socket: Socket, index: number) {
    const ahead = index % 10 === 0 ? 2_000 : 100
    let left = ahead
    socket.write(small.repeat(ahead))
    for await (const data of socket) {
      left -= data.toString('latin1').split('HTTP/1.1 ').length - 1
      if (left > 0) continue
      count('floods with responses')
      left = ahead
      socket.write(small.repeat(ahead))
    }
  },
} as const
export type Kind = keyof typeof KINDS

const megabyte = (() => {
  const json = JSON.stringify({
    inputs: [
      { name: 'x', shape: [2 ** 18], datatype: 'FP32', parameters: { binary_data_size: 2 ** 20 } },
    ],
    parameters: { binary_data_output: true },
  })
  const headers = {
    'inference-header-content-length': `${json.length}`,
    'content-length': `${json.length + 2 ** 20}`,
  }
  return Buffer.concat([Buffer.from(request('POST', PATH, headers) + json), Buffer.alloc(2 ** 20)])
})()

/** A gzip body that expands to 64 MiB of spaces. */
const bomb = (() => {
  const body = gzipSync(Buffer.alloc(64 * 2 ** 20, ' '))
  return Buffer.concat([
    Buffer.from(
      request('POST', PATH, { 'content-encoding': 'gzip', 'content-length': `${body.length}` }),
    ),
    body,
  ])
})()

async function dribble(socket: Socket, byte: string): Promise<void> {
  while (!socket.destroyed) {
    await wait(100)
    socket.write(byte)
  }
}

async function one(index: number, isFirst: boolean): Promise<void> {
  const began = performance.now()
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let wasReset = false
  socket.on('error', error => {
    wasReset = 'code' in error && error.code !== 'ECONNREFUSED'
  })
  let answers = 0
  const onData = (data: Buffer) => {
    for (const [, status] of data.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
      answers++
      if (status === '408') longestMs = Math.max(longestMs, performance.now() - began)
      if (kind !== 'pipelined floods' || status !== '200') count(`${status}`)
    }
  }
  if (kind !== 'HTTP/2 streams without windows') socket.on('data', onData)
  const closed = new Promise(resolve => socket.once('close', resolve))
  await once(socket, 'connect').catch(() => {})
  count('connections')
  if (isFirst) opened++
  await KINDS[kind](socket, index).catch(() => {})
  await closed
  longestMs = Math.max(longestMs, performance.now() - began)
  if (kind === 'resets half-way') return
  count(wasReset || answers === 0 ? 'cut' : 'closed after a response')
}

async function again(index: number): Promise<never> {
  for (let isFirst = true; ; isFirst = false) {
    await one(index, isFirst)
    // Keep the rate of new connections low, because this is not a flood.
    await wait(kind === 'slow readers' ? 1_000 : 50)
  }
}

let opened = 0
process.on('message', () => process.send?.({ seen, longestMs }))
process.on('disconnect', () => process.exit())
for (let i = 0; i < connections; i++) {
  void again(i)
  // A listener's backlog is limited.
  while (i - opened > 200) await wait(5)
}
while (opened < connections) await wait(10)
process.send?.('ready')
