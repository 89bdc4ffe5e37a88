import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { connectGrpc, encode, frame } from '../../test/grpc/client.ts'
import { rawRequest } from '../../test/grpc/messages.ts'
import { install } from '../peers/install.ts'
import { digits, spreadText, table } from '../report.ts'
import { binaryRows, V2_REQUEST } from '../requests.ts'
import { ratio, spread } from '../statistics.ts'
import { cores, freePort, ours, PEERS, type Running, start } from '../subjects.ts'

/*
 * Compares the protocols of the port: nghttp2's h2load sends one row per request to the same
 * process over each protocol in turn, and each round begins with another protocol. h2load does not
 * read grpc-status, so each round also checks the server's success counter, and --peers first
 * checks one call to each peer's gRPC server.
 */

const HELP = 'node bench/protocols/run.ts [--rounds N] [--requests N] [--peers]\n'
const WARM_REQUESTS = 3_000

const { path: PATH } = ours()
const CALL = '/inference.GRPCInferenceService/ModelInfer'
const MESSAGE = rawRequest('iris-classifier', [
  { name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] },
])

interface Protocol {
  readonly name: string
  readonly path: string
  readonly headers: readonly string[]
  readonly body: Uint8Array
  readonly http1?: true
  readonly connections: number
  readonly streams: number
}

const JSON_ROW = {
  path: PATH,
  headers: ['content-type: application/json'],
  body: bodyOf(V2_REQUEST.at(PATH).request).body,
}
const BINARY_ROW = { path: PATH, ...bodyOf(binaryRows(1).at(PATH).request) }
const GRPC_ROW = {
  path: CALL,
  headers: ['content-type: application/grpc', 'te: trailers'],
  body: frame(encode('ModelInfer', MESSAGE)),
}

const PROTOCOLS: readonly Protocol[] = [
  { name: 'HTTP/1.1, JSON', ...JSON_ROW, http1: true, connections: 64, streams: 1 },
  { name: 'HTTP/1.1, binary', ...BINARY_ROW, http1: true, connections: 64, streams: 1 },
  { name: 'HTTP/2, JSON, 1 × 64', ...JSON_ROW, connections: 1, streams: 64 },
  { name: 'HTTP/2, JSON, 8 × 8', ...JSON_ROW, connections: 8, streams: 8 },
  { name: 'gRPC, 1 × 64', ...GRPC_ROW, connections: 1, streams: 64 },
  { name: 'gRPC, 8 × 8', ...GRPC_ROW, connections: 8, streams: 8 },
  { name: 'gRPC, 64 × 1', ...GRPC_ROW, connections: 64, streams: 1 },
]

function bodyOf(request: Buffer): { readonly headers: readonly string[]; readonly body: Buffer } {
  const end = request.indexOf('\r\n\r\n')
  const headers = request.toString('latin1', 0, end).split('\r\n').slice(1)
  return {
    headers: headers.filter(header => !/^(host|content-length):/i.test(header)),
    body: request.subarray(end + 4),
  }
}

interface Row {
  readonly name: string
  readonly protocol: Protocol
  readonly file: string
  readonly server: Running
  readonly port: number
  readonly counts: boolean
}

interface Figures {
  readonly perSecond: number
  readonly cpuPerRequest: number
}

async function successes({ port }: Running): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const counts = metrics.matchAll(/^inference_requests_total\{.*status="success"\} (\d+)$/gm)
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

async function measure(row: Row, requests: number): Promise<Figures> {
  const { server, file, port, counts } = row
  const { path, headers, http1, connections, streams } = row.protocol
  const pin = cores === undefined ? [] : ['taskset', '-c', String(cores.load)]
  const command = [
    ...[...pin, 'h2load', ...(http1 ? ['--h1'] : []), '-n', String(requests)],
    ...['-c', String(connections), '-m', String(streams), '-d', file],
    ...headers.flatMap(header => ['-H', header]),
    `http://127.0.0.1:${port}${path}`,
  ]
  const before = { cpuMs: server.cpuMs(), answered: counts ? await successes(server) : 0 }
  const [program, ...args] = command as [string, ...string[]]
  const { stdout } = await promisify(execFile)(program, args, { timeout: 120_000 })
  const cpuMs = server.cpuMs() - before.cpuMs
  if (counts) {
    const answered = (await successes(server)) - before.answered
    assert.equal(answered, requests, `${row.name}: ${answered} of ${requests} requests succeeded`)
  }
  assert.match(stdout, new RegExp(`${requests} succeeded, 0 failed`), row.name)
  const [, perSecond] = /finished in .*, ([0-9.]+) req\/s/.exec(stdout) ?? []
  return { perSecond: Number(perSecond), cpuPerRequest: (cpuMs * 1_000) / requests }
}

/**
 * Starts each peer that implements gRPC.
 * @throws {Error} if a peer cannot be installed, or its first call fails
 */
async function peerRows(file: string): Promise<Row[]> {
  const rows: Row[] = []
  const [, , , , protocol] = PROTOCOLS as [Protocol, Protocol, Protocol, Protocol, Protocol]
  for (const peer of PEERS) {
    if (peer.name === 'FastAPI') continue
    const reason = await install(peer.name.toLowerCase().split(' ')[0] as string)
    if (reason !== undefined) throw new Error(`${peer.name} cannot be installed: ${reason}`)
    const port = await freePort()
    const env = { ...peer.env, GRPC_PORT: String(port) }
    const server = await start({ ...peer, env }, undefined)
    const name = `${peer.name}: ${protocol.name}`
    rows.push({ name, protocol, file, server, port, counts: false })
    const client = connectGrpc(port)
    const { status, message } = await client.call('ModelInfer', MESSAGE)
    await client.close()
    assert.equal(status, 0, `${peer.name}: ${message}`)
  }
  return rows
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      requests: { type: 'string' },
      peers: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const rounds = Number(values.rounds ?? 9)
  const requests = Number(values.requests ?? 6_000)
  const folder = mkdtempSync(join(tmpdir(), 'protocols-'))
  const server = await start(ours(), undefined)
  const rows: Row[] = PROTOCOLS.map((protocol, i) => {
    const file = join(folder, String(i))
    writeFileSync(file, protocol.body)
    return { name: protocol.name, protocol, file, server, port: server.port, counts: true }
  })
  const load = [loadavg()[0] as number]
  const figures: Figures[][] = []
  try {
    if (values.peers) rows.push(...(await peerRows((rows[4] as Row).file)))
    for (const row of rows) {
      await measure(row, WARM_REQUESTS)
      figures.push([])
    }
    for (let round = 0; round < rounds; round++) {
      for (let next = 0; next < rows.length; next++) {
        const i = (round + next) % rows.length
        figures[i]?.push(await measure(rows[i] as Row, requests))
      }
      load.push(loadavg()[0] as number)
    }
  } finally {
    for (const stopped of new Set(rows.map(({ server }) => server))) await stopped.stop()
    rmSync(folder, { recursive: true })
  }
  process.stdout.write(
    `${report(rows, figures)}\n\nload average of the machine: ${load.join(', ')}\n`,
  )
}

function report(rows: readonly Row[], figures: readonly (readonly Figures[])[]): string {
  const of = (i: number, figure: keyof Figures) => (figures[i] ?? []).map(round => round[figure])
  const cell = (i: number, figure: keyof Figures, unit: string) =>
    i === 0
      ? `1 = ${digits(spread(of(0, figure)).median)}${unit}`
      : spreadText(ratio(of(i, figure), of(0, figure)))
  return table([
    ['One row, by protocol: connections × streams', 'requests/s ↑', 'CPU/request ↓'],
    ...rows.map(({ name }, i) => [
      name,
      cell(i, 'perSecond', '/s'),
      cell(i, 'cpuPerRequest', ' µs'),
    ]),
  ])
}

main().catch((error: Error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
