import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Group, limitMemory } from '../../../bench/container-memory/cgroup.ts'
import { startIn } from '../../../bench/container-memory/server.ts'
import { exchange } from '../../../bench/load.ts'
import { IRIS, irisBody, readMetrics, request } from '../../http/client.ts'
import { projectFolder } from '../../server.ts'
import type { Fault, Row, Run } from './fault.ts'

const CERTIFICATES = fileURLToPath(new URL('../../security/certificates/', import.meta.url))
const LONGEST_MS = 20_000
const MEBIBYTES = 512
/** The default for this amount of memory (docs/configuration.md). */
const MAX_CONNECTIONS = 1_024

interface Attack {
  readonly what: string
  readonly connections: (long: boolean) => number
  readonly bytes: Buffer
  readonly env: Readonly<Record<string, string>>
}

/** Each of these attacks stopped a server without a connection limit. */
const ATTACKS: readonly Attack[] = [
  {
    what: 'connections that each send 15 KB of a request head',
    connections: long => (long ? 17_000 : 3_000),
    bytes: Buffer.from(`GET /v2 HTTP/1.1\r\nHost: a\r\n${`x: ${'a'.repeat(995)}\r\n`.repeat(15)}`),
    env: {},
  },
  {
    what: 'connections that each send 11 bytes of a ClientHello',
    connections: long => (long ? 10_000 : 2_000),
    bytes: Buffer.from('16030100f5010000f10303', 'hex'),
    env: {
      TLS_CERT_FILE: `${CERTIFICATES}first.crt`,
      TLS_KEY_FILE: `${CERTIFICATES}first.key`,
    },
  },
]

const fault: Fault = {
  how: `unused connections to a server in a cgroup of ${MEBIBYTES} MiB`,
  needs: {},
  async *rows(run) {
    for (const attack of ATTACKS) yield await under(attack, run)
  },
}
export default fault

async function under(attack: Attack, { long, progress }: Run): Promise<Row> {
  const connections = attack.connections(long)
  const name = `${connections.toLocaleString('en')} ${attack.what}`
  let group: Group
  try {
    group = limitMemory(MEBIBYTES)
  } catch (error) {
    return { fault: name, counts: {}, claims: [], notRun: String((error as Error).message) }
  }
  await using _group = group
  await using server = await startIn(
    group,
    `${projectFolder}build/main.js`,
    `${projectFolder}models/iris/v1.0.0`,
    { ...attack.env, METRICS_PORT: '0' },
  )
  const sockets: Socket[] = []
  const client = new Honest(server.url, server.metricsPort)
  const asking = client.askUntilStopped()
  for (let i = 0; i < connections && server.ended === undefined; i++) {
    sockets.push(attackOn(Number(new URL(server.url).port), attack.bytes))
    if (i % 50 === 49) await wait(20)
  }
  const most = MAX_CONNECTIONS * 1.25
  let dropped = 0
  for (let second = 0; second < 30 && dropped < connections - most; second++) {
    await wait(1_000)
    dropped = await client.dropped()
  }
  client.stop()
  await asking
  for (const socket of sockets) socket.destroy()
  progress(`${name}: ${group.peakMiB().toFixed(0)} MiB`)
  return {
    fault: name,
    counts: { 'requests on new connections': client.asked, dropped },
    claims: [
      {
        what: `the process survives within ${MEBIBYTES} MiB`,
        measured: `${server.ended ?? 'running'},  ${group.kills()} kills, ${group.peakMiB().toFixed(0)} MiB at most`,
        holds: server.ended === undefined && group.kills() === 0,
      },
      {
        what: 'at least 99 of 100 well-behaved requests get a response',
        measured: `${client.answered} of ${client.asked}${client.why}`,
        holds: client.asked > 0 && client.answered >= 0.99 * client.asked,
      },
      {
        what: 'METRICS_PORT responds and counts the dropped connections',
        measured: `${dropped} of ${connections}`,
        holds: dropped >= connections - most,
      },
    ],
  }
}

function attackOn(port: number, bytes: Buffer): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes)
  return socket
}

class Honest {
  asked = 0
  answered = 0
  why = ''
  readonly #url: string
  readonly #metricsPort: number | undefined
  #stopped = false

  constructor(url: string, metricsPort: number | undefined) {
    this.#url = url
    this.#metricsPort = metricsPort
  }

  stop(): void {
    this.#stopped = true
  }

  async askUntilStopped(): Promise<void> {
    while (!this.#stopped) {
      this.asked++
      try {
        const status = await this.#ask()
        if (status === 200) this.answered++
        else this.why = `: ${status}`
      } catch (error) {
        this.why = `: ${(error as Error).message}`
      }
      await wait(50)
    }
  }

  #ask(): Promise<number | undefined> {
    const send = this.#url.startsWith('https') ? httpsRequest : httpRequest
    return new Promise((resolve, reject) => {
      const asked = send(
        `${this.#url}${IRIS}`,
        { method: 'POST', agent: false, rejectUnauthorized: false, timeout: LONGEST_MS },
        response => response.resume().on('end', () => resolve(response.statusCode)),
      )
      asked.on('error', reject)
      asked.on('timeout', () => asked.destroy(new Error(`no response within ${LONGEST_MS} ms`)))
      asked.end(irisBody())
    })
  }

  async dropped(): Promise<number> {
    const bytes = Buffer.from(request('GET', '/metrics'))
    const { body } = await exchange(this.#metricsPort as number, bytes)
    const metrics = readMetrics(body.toString())
    let dropped = 0
    for (const [name, value] of metrics)
      if (name.startsWith('inference_connections_dropped_total')) dropped += value
    return dropped
  }
}
