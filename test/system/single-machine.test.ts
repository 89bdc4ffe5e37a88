import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Connection, connect, exchange, IRIS, irisBody, request } from '../http/client.ts'
import { random } from '../random.ts'
import { projectFolder } from '../server.ts'

/*
 * Scale to zero on one machine. CYCLES sets the number of cycles, and SEED the seed of the random
 * request times.
 */

const CYCLES = Number(process.env.CYCLES ?? 8)
const SEED = Number(process.env.SEED ?? 1)
const IDLE_MS = 1_000
const units = (name: string) =>
  fileURLToPath(new URL(`../../scripts/systemd/${name}`, import.meta.url))

before(() => {
  for (const tool of ['systemd-socket-activate', 'systemd-analyze']) {
    assert.equal(
      spawnSync(tool, ['--version']).error,
      undefined,
      `${tool} is missing: apt-get install systemd`,
    )
  }
})

describe('under systemd-socket-activate', () => {
  let port: number
  const log: { msg: string }[] = []
  const times = (message: RegExp) => log.filter(({ msg }) => message.test(msg)).length
  let child: ReturnType<typeof spawn>

  before(async () => {
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    port = (free.address() as AddressInfo).port
    free.close()
    child = spawn(units('activate.sh'), [`127.0.0.1:${port}`, process.execPath, 'build/main.js'], {
      cwd: projectFolder,
      env: { PATH: process.env.PATH, IDLE_EXIT_SECONDS: `${IDLE_MS / 1_000}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stderr?.resume()
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line =>
      log.push(JSON.parse(line)),
    )
    for (let left = 400; left > 0; left--) {
      const connection = await connect(port).catch(() => undefined)
      if (connection !== undefined) return connection.socket.destroy()
      await wait(25)
    }
    throw new Error(`no process listens on port ${port} after 10 s`)
  })
  after(() => child.kill())

  test(`no request fails in ${CYCLES} cycles of idle exit and restart`, {
    timeout: 60_000 + CYCLES * 10_000,
  }, async t => {
    const next = random(SEED)
    const between = (from: number, to: number) => from + next() * (to - from)
    const sent = { fresh: 0, slow: 0, kept: 0, watched: 0 }
    let kept: { connection: Connection; restedAt: number } | undefined

    async function infer(connection: Connection, delay: number): Promise<string | undefined> {
      const id = `${sent.fresh + sent.slow + sent.kept}`
      const bytes = request('POST', IRIS, {}, irisBody(id))
      const cut = Math.floor(between(0, bytes.length))
      if (delay > 0) {
        await wait(delay)
        connection.send(bytes.slice(0, cut))
        await wait(delay)
        connection.send(bytes.slice(cut))
      } else connection.send(bytes)
      const { status, json, headers } = await connection.answer()
      assert.deepEqual([status, json.id, json.outputs[1].data], [200, id, ['setosa']])
      return headers.connection
    }

    async function one(): Promise<void> {
      const kind = next()
      if (kind < 0.15) {
        sent.watched++
        assert.equal((await exchange(port, request('GET', '/v2/health/live'))).status, 200)
        return
      }
      // The server keeps an idle connection open for this time.
      if (kind < 0.45 && kept !== undefined && performance.now() - kept.restedAt < IDLE_MS) {
        sent.kept++
        const { connection } = kept
        kept = undefined
        await infer(connection, 0)
        connection.socket.destroy()
        return
      }
      const connection = await connect(port)
      const isSlow = kind > 0.7
      sent[isSlow ? 'slow' : 'fresh']++
      await infer(connection, isSlow ? between(1, 300) : 0)
      if (kind < 0.6 && kept === undefined) kept = { connection, restedAt: performance.now() }
      else connection.socket.destroy()
    }

    while (times(/IDLE_EXIT_SECONDS; the process exits/) < CYCLES) {
      await Promise.all(Array.from({ length: 1 + Math.floor(next() * 3) }, one))
      if (kept !== undefined && next() < 0.5) {
        kept.connection.socket.destroy()
        kept = undefined
      }
      // Most requests are sent just when the process decides to exit.
      await wait(next() < 0.6 ? between(IDLE_MS - 40, IDLE_MS + 80) : between(0, 2 * IDLE_MS))
    }
    t.diagnostic(
      `seed ${SEED}: ${JSON.stringify(sent)} requests, ${times(/serving/)} starts, ${times(/ending$/)} exits`,
    )
    assert.equal(child.exitCode, null)
    assert.ok(times(/serving/) >= CYCLES)
  })
})

describe('the systemd units', () => {
  const analyze = (...args: string[]) => {
    const { stdout, stderr, status } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
    return { said: stdout + stderr, status }
  }

  test('pass systemd’s verification', () => {
    const { said, status } = analyze(
      'verify',
      units('onnx-function.socket'),
      units('onnx-function.service'),
    )
    // The programs in ExecStart do not exist on this machine.
    const complaints = said
      .split('\n')
      .filter(line => line.includes('onnx-function') && !/Command \S+ is not executable/.test(line))
    assert.deepEqual([complaints, status === 0 || complaints.length === 0], [[], true], said)
  })

  test('get an exposure rating below 1 of 10 from systemd', () => {
    const { said, status } = analyze(
      'security',
      '--offline=true',
      '--threshold=10',
      units('onnx-function.service'),
    )
    assert.equal(status, 0, said)
  })
})
