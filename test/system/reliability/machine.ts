import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { exchange as exchangeLarge } from '../../../bench/load.ts'
import { binaryRows, jsonRows } from '../../../bench/requests.ts'
import {
  type Connection,
  connect,
  exchange,
  IRIS,
  irisBody,
  readMetrics,
  request,
  until,
} from '../../http/client.ts'
import { freePort, projectFolder, testModel } from '../../server.ts'
import { type Calls, callers, isRefusal, wrongWith } from './callers.ts'
import type { Claim, Fault, Row, Run } from './fault.ts'

const machine: Fault = {
  how: 'tmpfs, namespaces, prlimit, cgroups and libfaketime, each only for the server’s process',
  needs: {
    prlimit: 'apt-get install util-linux',
    unshare: 'apt-get install util-linux',
    faketime: 'apt-get install faketime',
  },
  async *rows(run) {
    for (const row of [
      fullDisk,
      readOnlyRoot,
      truncatedBeforeStart,
      truncatedWhileServing,
      swappedForNewThreads,
      deadThreads,
      crash,
      clockJumps,
      noDescriptors,
      memoryLimit,
      outOfMemory,
    ]) {
      const folder = mkdtempSync(join(tmpdir(), 'machine-'))
      try {
        yield await row(run, folder)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
  },
}
export default machine

// Processes

interface Launched extends AsyncDisposable {
  readonly port: number
  /** The id of the launched process. The server may be a child of that process. */
  readonly pid: number
  readonly exited: Promise<number | null>
  output(): string
}

const SERVER = [process.execPath, 'build/main.js']

/**
 * Resolves when the server is ready, unless `ready` is false.
 * @param log its output file
 */
async function launch(
  log: string,
  env: Record<string, string> = {},
  { command = SERVER, ready = true }: { command?: readonly string[]; ready?: boolean } = {},
): Promise<Launched> {
  const port = await freePort()
  const file = openSync(log, 'a')
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: projectFolder,
    env: { PATH: process.env.PATH, PORT: String(port), LISTEN_HOST: '127.0.0.1', ...env },
    detached: true,
    stdio: ['ignore', file, file],
  })
  closeSync(file)
  const pid = child.pid as number
  /** Kills the process group, because the server may be a child of the launched process. */
  const kill = () => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // Already exited.
    }
  }
  process.once('exit', kill)
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const launched = {
    port,
    pid,
    exited,
    output: () => readFileSync(log, 'utf8'),
    async [Symbol.asyncDispose]() {
      kill()
      await exited
      process.removeListener('exit', kill)
    },
  }
  try {
    if (ready) await isReady(port)
  } catch (error) {
    await launched[Symbol.asyncDispose]()
    throw error
  }
  return launched
}

const statusOf = (port: number, path: string) =>
  exchange(port, request('GET', path)).then(
    ({ status }) => status,
    () => undefined,
  )

const isReady = (port: number) =>
  until(
    'the server is ready',
    async () => (await statusOf(port, '/v2/health/ready')) === 200,
    PATIENCE_MS,
  )

/**
 * Restarts the server after a failure, like systemd's Restart=on-failure.
 * @param first shell commands to run before the server
 */
const supervised = (first = ':') => [
  'sh',
  '-c',
  `${first}; until "$@"; do sleep 0.1; done`,
  'sh',
  ...SERVER,
]

function childOf(pid: number): number | undefined {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)
  try {
    return child !== undefined && readFileSync(`/proc/${child}/comm`, 'utf8').trim() !== 'sleep'
      ? child
      : undefined
  } catch {
    return undefined
  }
}

// Claims

const none = (what: string, count: number): Claim => ({
  what: `0 ${what}`,
  measured: `${count}`,
  holds: count === 0,
})
const some = (what: string, count: number): Claim => ({
  what: `${what}: at least one`,
  measured: `${count}`,
  holds: count > 0,
})
const yes = (what: string, holds: boolean, measured = holds ? 'yes' : 'no'): Claim => ({
  what,
  measured,
  holds,
})
const allRight = ({ wrong, answered }: Calls): Claim => ({
  what: 'every client finally gets the correct response',
  measured: wrong.length === 0 ? 'all correct' : `${wrong.length} wrong: ${wrong[0]}`,
  holds: wrong.length === 0 && answered > 0,
})

const isRoot = process.getuid?.() === 0

const notRun = (fault: string, error: unknown): Row => ({
  fault,
  counts: {},
  claims: [],
  notRun: String((error as Error).message ?? error),
})

const answers = (calls: Calls, more: number) => {
  const wanted = calls.answered + more
  return until(
    `${wanted} responses have arrived`,
    () => calls.answered >= wanted || calls.wrong.length > 0,
    PATIENCE_MS,
  )
}

const PATIENCE_MS = 300_000

// Faults

async function fullDisk({ long }: Run, folder: string): Promise<Row> {
  const fault = 'a full disk for the log, HOME and TMPDIR'
  if (!isRoot) return notRun(fault, 'mounting a small tmpfs needs root')
  const [disk, many] = [join(folder, 'disk'), long ? 10_000 : 500]
  mkdirSync(disk)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk], { stdio: 'pipe' })
  } catch (error) {
    return notRun(fault, error)
  }
  try {
    const log = join(disk, 'log')
    await using server = await launch(log, { LOG_LEVEL: 'debug', HOME: disk, TMPDIR: disk })
    try {
      writeFileSync(join(disk, 'filler'), Buffer.alloc(2 ** 20))
    } catch {
      // The disk is full, as intended.
    }
    const full = statSync(log).size
    const load = callers(server.port, 4)
    await answers(load.calls, many)
    const page = await statusOf(server.port, '/docs')
    const metrics = await statusOf(server.port, '/metrics')
    const grew = statSync(log).size - full
    const whileFull = { ...(await load.stop()) }
    rmSync(join(disk, 'filler'))
    const after = callers(server.port, 4)
    await answers(after.calls, 50)
    const room = await after.stop()
    const lines = server.output().slice(full).split('\n')
    const whole = lines.filter(isJson).length
    const torn = lines.filter(line => line.startsWith('{') && !isJson(line))
    return {
      fault,
      counts: {
        'responses while the disk was full': whileFull.answered,
        'responses afterwards': room.answered,
        'log lines afterwards': whole,
      },
      claims: [
        none(
          'requests rejected or without a response',
          whileFull.refused + whileFull.unanswered + room.refused + room.unanswered,
        ),
        allRight(whileFull),
        yes(
          'pages and metrics, first requested during the fault, return 200',
          page === 200 && metrics === 200,
          `${page}, ${metrics}`,
        ),
        yes('the disk was full', grew < 8_192, `the log grew by ${grew} bytes`),
        yes(
          'the server logs again when there is space',
          whole >= room.answered,
          `${whole} lines for ${room.answered} responses`,
        ),
        yes(
          'a log line that did not fit on the disk damages no other line',
          torn.every(line => line.lastIndexOf('{"level"') === 0),
          `lines that did not fit: ${torn.length}`,
        ),
      ],
    }
  } finally {
    execFileSync('umount', ['--lazy', disk])
  }
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

async function readOnlyRoot({ long }: Run, folder: string): Promise<Row> {
  const fault = 'all file systems read-only, HOME and TMPDIR unset'
  if (!isRoot) return notRun(fault, 'a separate mount namespace needs root')
  const script = `mount --make-rprivate / && mount -o remount,bind,ro / &&
for at in $(awk '$2 !~ "^/(proc|sys|dev)" { print $2 }' /proc/mounts); do mount -o remount,bind,ro "$at" 2>/dev/null; done
touch /read-only "$PWD/read-only" ${folder}/read-only /tmp/read-only /dev/shm/read-only 2>/dev/null; exec "$@"`
  let server: Launched
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'pipe' })
    server = await launch(
      join(folder, 'log'),
      {},
      { command: ['unshare', '--mount', 'sh', '-c', script, 'sh', ...SERVER] },
    )
  } catch (error) {
    return notRun(fault, error)
  }
  try {
    const written = ['/', `${projectFolder}/`, `${folder}/`, '/tmp/'].filter(at =>
      rmIfThere(`${at}read-only`),
    )
    if (written.length > 0)
      return notRun(fault, `these folders are not read-only: ${written.join(', ')}`)
    const load = callers(server.port, 4)
    await answers(load.calls, long ? 5_000 : 200)
    const calls = await load.stop()
    const large = await exchangeLarge(server.port, jsonRows(20_000).at(IRIS).request)
    const paths = ['/', '/docs', '/openapi.json', '/metrics', '/v2', '/v2/health/ready']
    const statuses = await Promise.all(paths.map(path => statusOf(server.port, path)))
    process.kill(server.pid, 'SIGTERM')
    const code = await server.exited
    const errors = server
      .output()
      .split('\n')
      .filter(line => isJson(line) && JSON.parse(line).level >= 40)
    return {
      fault,
      counts: { responses: calls.answered, 'other paths': paths.length },
      claims: [
        none('requests rejected or without a response', calls.refused + calls.unanswered),
        allRight(calls),
        yes(
          'pages, metrics and a large body return 200',
          [large.status, ...statuses].every(status => status === 200),
          [large.status, ...statuses].join(),
        ),
        none('warnings or errors in the log', errors.length),
        yes('the server exits with code 0', code === 0, `${code}`),
      ],
    }
  } finally {
    await server[Symbol.asyncDispose]()
  }
}

function rmIfThere(path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false }) !== undefined
  if (there) rmSync(path)
  return there
}

function modelFolder(folder: string, from: string, modelJson: object): string {
  const copy = join(folder, 'model')
  mkdirSync(copy)
  for (const file of globSync(`${from}/*.{onnx,bin}`)) cpSync(file, join(copy, basename(file)))
  writeFileSync(join(copy, 'model.json'), JSON.stringify(modelJson))
  return copy
}

const SHIPPED = join(projectFolder, 'models/iris/v1.0.0')
const OTHER = join(projectFolder, 'models/iris/v2.0.0/model.onnx')
const DESCRIBED = { name: 'iris-classifier', version: 'v1.0.0' }

const digestOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')

async function truncatedBeforeStart({ long, random }: Run, folder: string): Promise<Row> {
  const files = long ? 50 : 4
  const outcomes: Record<string, number> = {}
  const told: string[] = []
  const log = join(folder, 'log')
  const MODEL_DIR = modelFolder(folder, SHIPPED, DESCRIBED)
  const model = join(MODEL_DIR, 'model.onnx')
  for (let i = 0; i < files; i++) {
    cpSync(`${SHIPPED}/model.onnx`, model)
    truncateSync(model, Math.floor(random() * statSync(model).size))
    writeFileSync(log, '')
    await using server = await launch(log, { MODEL_DIR }, { ready: false })
    const code = await server.exited
    outcomes[`exit code ${code}`] = (outcomes[`exit code ${code}`] ?? 0) + 1
    told.push(server.output().trim())
  }
  // The correct file arrives while the supervisor retries the startup.
  writeFileSync(log, '')
  await using server = await launch(log, { MODEL_DIR }, { command: supervised(), ready: false })
  await until(
    'the server was started twice',
    () => server.output().split('\n').length > 2,
    PATIENCE_MS,
  )
  cpSync(`${SHIPPED}/model.onnx`, `${model}.new`)
  renameSync(`${model}.new`, model)
  await isReady(server.port)
  const answer = await exchange(server.port, request('POST', IRIS, {}, irisBody('1')))
  const clear = told.filter(
    text => isJson(text) && /^the model cannot be /.test(JSON.parse(text).msg),
  )
  return {
    fault: 'model file truncated before startup',
    counts: { 'startups with a truncated file': files, ...outcomes },
    claims: [
      yes(
        'each startup exits with code 1',
        outcomes['exit code 1'] === files,
        JSON.stringify(outcomes),
      ),
      yes(
        'each startup logs the reason in one line',
        clear.length === files,
        told.find(text => !clear.includes(text))?.slice(0, 300) ??
          `for example: ${JSON.parse(told[0] as string).msg}`,
      ),
      yes(
        'after the file is complete, the next startup succeeds',
        wrongWith(answer, '1') === undefined,
      ),
    ],
  }
}

const SPOILT: Readonly<Record<string, (file: string) => void>> = {
  'truncated to 0 bytes': file => truncateSync(file, 0),
  'truncated to half': file => truncateSync(file, Math.floor(statSync(file).size / 2)),
  overwritten: file => writeFileSync(file, Buffer.alloc(statSync(file).size, 7)),
  deleted: file => rmSync(file),
}

async function truncatedWhileServing({ long }: Run, folder: string): Promise<Row> {
  const [x] = JSON.parse(readFileSync(join(testModel('external-data'), 'cases.json'), 'utf8')).cases
  const executions = long ? ['inline', 'worker'] : ['inline']
  let answered = 0
  const problems: string[] = []
  for (const EXECUTION of executions) {
    for (const [how, spoil] of Object.entries(SPOILT)) {
      for (const from of [SHIPPED, testModel('external-data')]) {
        const own = join(folder, `${EXECUTION}-${how}-${from === SHIPPED}`)
        mkdirSync(own)
        const MODEL_DIR = modelFolder(own, from, { ...DESCRIBED })
        await using server = await launch(join(own, 'log'), {
          MODEL_DIR,
          EXECUTION,
          ORT_THREADS: '1',
        })
        const ask = async () => {
          const body =
            from === SHIPPED ? irisBody('1') : JSON.stringify({ id: '1', inputs: x.inputs })
          const { status, json } = await exchange(server.port, request('POST', IRIS, {}, body))
          return JSON.stringify([status, json])
        }
        const before = await ask()
        for (const file of globSync(`${MODEL_DIR}/*.{onnx,bin}`)) spoil(file)
        for (let i = 0; i < (long ? 200 : 20); i++) {
          const now = await ask().catch(error => String(error.message))
          if (now === before && now.startsWith('[200,')) answered++
          else problems.push(`${from}, ${how}, ${EXECUTION}: ${now}, before ${before}`)
        }
      }
    }
  }
  return {
    fault: 'model file or external weights truncated, overwritten or deleted while serving',
    counts: { cases: executions.length * 2 * Object.keys(SPOILT).length, responses: answered },
    claims: [
      yes(
        'every response is the same as before the damage',
        problems.length === 0,
        problems[0]?.slice(0, 400) ?? 'all correct',
      ),
    ],
  }
}

/** poison.mjs fills the heap of the thread that parses this request. */
const POISON = request(
  'POST',
  IRIS,
  { 'content-type': 'application/json' },
  `{"id":"poison","inputs":[{"name":"input","shape":[20000,4],"datatype":"FP32","data":[${'1,'.repeat(79_999)}1]}]}`,
)
/** Makes the thread that parses POISON run out of heap quickly. */
const LITTLE_HEAP = {
  NODE_OPTIONS: `--max-old-space-size=48 --import=${join(import.meta.dirname, 'poison.mjs')}`,
}

async function swappedForNewThreads({ long }: Run, folder: string): Promise<Row> {
  const times = long ? 10 : 1
  const counts = {
    'threads killed': 0,
    'responses of the first model': 0,
    '503 with Retry-After': 0,
    'times ready again': 0,
  }
  const wrong: string[] = []
  for (const sha256 of [undefined, digestOf(`${SHIPPED}/model.onnx`)]) {
    const own = join(folder, sha256 === undefined ? 'unknown' : 'known')
    mkdirSync(own)
    const MODEL_DIR = modelFolder(own, SHIPPED, {
      ...DESCRIBED,
      ...(sha256 === undefined ? {} : { sha256 }),
    })
    const model = join(MODEL_DIR, 'model.onnx')
    utimesSync(model, 1, 1)
    await using server = await launch(join(own, 'log'), {
      MODEL_DIR,
      EXECUTION: 'worker',
      ORT_THREADS: '1',
      ...LITTLE_HEAP,
    })
    for (let i = 0; i < times; i++) {
      renameSync(model, join(own, 'kept'))
      cpSync(i % 2 === 0 ? OTHER : '/dev/null', model)
      // Keep the modification time, so that only the file's size or digest differs.
      utimesSync(model, 1, 1)
      for (
        let tries = 0;
        (await statusOf(server.port, '/v2/health/ready')) === 200 && tries < 50;
        tries++
      ) {
        const answer = await exchange(server.port, POISON).catch(() => undefined)
        if (answer?.status === 503) counts['threads killed']++
        const asked = await exchange(server.port, request('POST', IRIS, {}, irisBody('1')))
        if (isRefusal(asked)) counts['503 with Retry-After']++
        else if (wrongWith(asked, '1') === undefined && isFirst(asked.json))
          counts['responses of the first model']++
        else wrong.push(asked.body.slice(0, 300))
      }
      renameSync(join(own, 'kept'), model)
      await isReady(server.port)
      counts['times ready again']++
      const asked = await exchange(server.port, request('POST', IRIS, {}, irisBody('1')))
      if (!isFirst(asked.json)) wrong.push(asked.body.slice(0, 300))
    }
    const said = server
      .output()
      .match(
        /worker thread failed to start, and the server will try again: [^"]*\\"model.onnx\\" has/,
      )
    if (said === null)
      wrong.push(`the log does not contain the reason: ${server.output().slice(-500)}`)
  }
  return {
    fault: 'model file replaced before new threads load it, with and without a digest',
    counts,
    claims: [
      none('responses of another model, or failures without a reason in the log', wrong.length),
      yes(
        'the server is not ready without a thread, and ready again with the correct file',
        counts['times ready again'] === 2 * times,
        `${counts['times ready again']} times`,
      ),
    ],
  }
}

/** The last digits of the two versions differ. */
const isFirst = (json: { outputs: readonly [{ data: readonly number[] }] }) =>
  json.outputs[0].data[0] === 0.97868073

async function deadThreads({ long }: Run, folder: string): Promise<Row> {
  const deaths = long ? 50 : 3
  await using server = await launch(join(folder, 'log'), {
    EXECUTION: 'worker',
    ORT_THREADS: '1',
    ...LITTLE_HEAP,
  })
  const load = callers(server.port, 8)
  const statuses: Record<string, number> = {}
  for (let i = 0; i < deaths; i++) {
    const { status, headers } = await exchange(server.port, POISON)
    const kind = `${status}${headers['retry-after'] === undefined ? '' : ' with Retry-After'} for the request that caused the death`
    statuses[kind] = (statuses[kind] ?? 0) + 1
    await answers(load.calls, 20)
  }
  const calls = await load.stop()
  const metrics = readMetrics((await exchange(server.port, request('GET', '/metrics'))).body)
  const counted = metrics.get('inference_worker_deaths_total') as number
  return {
    fault: 'worker threads that run out of heap',
    counts: {
      'thread deaths': counted,
      ...statuses,
      'correct responses': calls.answered,
      'rejected and retried': calls.refused,
      'without a response': calls.unanswered,
    },
    claims: [
      allRight(calls),
      none('connections closed without a response', calls.unanswered),
      yes(
        'each death is counted, and the request that caused it gets Retry-After',
        counted === deaths &&
          statuses['503 with Retry-After for the request that caused the death'] === deaths,
        `${counted} of ${deaths}`,
      ),
      yes('the process keeps running', (await statusOf(server.port, '/v2/health/ready')) === 200),
    ],
  }
}

async function crash({ long }: Run, folder: string): Promise<Row> {
  const crashes = long ? 30 : 2
  await using server = await launch(join(folder, 'log'), {}, { command: supervised() })
  const load = callers(server.port, 8)
  for (let i = 0; i < crashes; i++) {
    const pid = childOf(server.pid)
    if (pid === undefined) throw new Error('the supervisor has not started the server')
    process.kill(pid, 'SIGSEGV')
    await until(
      'the supervisor has started another process',
      () => ![undefined, pid].includes(childOf(server.pid)),
      PATIENCE_MS,
    )
    await answers(load.calls, 20)
  }
  const calls = await load.stop()
  return {
    fault: 'a native crash (SIGSEGV) under a supervisor',
    counts: {
      crashes,
      'correct responses': calls.answered,
      'without a response and retried': calls.unanswered,
    },
    claims: [
      allRight(calls),
      yes('the server works again after each crash', calls.answered > crashes, `${crashes} times`),
    ],
  }
}

async function clockJumps({ long, random }: Run, folder: string): Promise<Row> {
  const jumps = long ? 60 : 6
  const [LD_PRELOAD] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')
  if (LD_PRELOAD === undefined)
    throw new Error(
      'libfaketimeMT.so.1 is missing in /usr/lib/*/faketime: apt-get install faketime',
    )
  const offset = join(folder, 'offset')
  const jump = (seconds: number) => writeFileSync(offset, `${seconds < 0 ? '' : '+'}${seconds}\n`)
  jump(0)
  // Only the time of day jumps: a monotonic clock cannot be set.
  const env = {
    LD_PRELOAD,
    FAKETIME_TIMESTAMP_FILE: offset,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwks = join(folder, 'jwks.json')
  writeFileSync(jwks, JSON.stringify({ keys: [await exportJWK(publicKey)] }))
  const now = Math.floor(Date.now() / 1_000)
  const token = await new SignJWT({ iss: 'i', aud: 'a', nbf: now - 600, exp: now + 3_600 })
    .setProtectedHeader({ alg: 'ES256' })
    .sign(privateKey)

  const DAY = 86_400
  const problems: string[] = []
  const began = performance.now()
  await using server = await launch(join(folder, 'log'), {
    ...env,
    REQUEST_TIMEOUT_MS: '5000',
    EXECUTION: 'worker',
  })
  await using guarded = await launch(join(folder, 'guarded'), {
    ...env,
    AUTH_JWKS: jwks,
    AUTH_ISSUER: 'i',
    AUTH_AUDIENCE: 'a',
    AUTH_ALGORITHMS: 'ES256',
  })
  const load = callers(server.port, 4)
  const statuses: Record<string, number> = {}
  for (let i = 0; i < jumps; i++) {
    // Every second jump is small enough that the token remains valid.
    const seconds = Math.round((random() - 0.5) * (i % 2 === 0 ? 4 * DAY : 1_000))
    jump(seconds)
    // Node caches the date for up to a second.
    await until('the Date header follows the jump', async () => {
      const { headers } = await exchange(server.port, request('GET', '/v2'))
      return Math.abs(Date.parse(headers.date as string) - Date.now() - seconds * 1_000) < 60_000
    })
    const { status } = await exchange(
      guarded.port,
      request('POST', IRIS, { authorization: `Bearer ${token}` }, irisBody()),
    )
    statuses[status] = (statuses[status] ?? 0) + 1
    const wanted = seconds > 3_600 + 30 || seconds < -600 - 30 ? 401 : 200
    if (status !== wanted)
      problems.push(`after a jump of ${seconds} s the token got ${status}, not ${wanted}`)
    await answers(load.calls, 10)
  }
  jump(0)
  const { status } = await exchange(
    guarded.port,
    request('POST', IRIS, { authorization: `Bearer ${token}` }, irisBody()),
  )
  const calls = await load.stop()
  const metrics = readMetrics((await exchange(server.port, request('GET', '/metrics'))).body)
  const labels = '{model="iris-classifier",version="v1.0.0",protocol="http",status="success"}'
  const seconds = metrics.get(`inference_request_duration_seconds_sum${labels}`) as number
  const mostSeconds = (4 * (performance.now() - began)) / 1_000

  // The server is idle for less than the limit while the time of day jumps forward, then for longer
  // while it jumps back.
  await using idle = await launch(join(folder, 'idle'), { ...env, IDLE_EXIT_SECONDS: '5' })
  jump(DAY)
  const alive = await statusOf(idle.port, '/v2/health/ready')
  jump(-DAY)
  const ended = await Promise.race([idle.exited, wait(60_000, 'no', { ref: false })])
  return {
    fault: 'the clock jumps back and forth by up to two days',
    counts: {
      jumps,
      'correct responses': calls.answered,
      rejected: calls.refused,
      ...Object.fromEntries(
        Object.entries(statuses).map(([status, n]) => [`${status} for a token`, n]),
      ),
    },
    claims: [
      none('requests rejected, timed out or without a response', calls.refused + calls.unanswered),
      allRight(calls),
      yes(
        'the validity of tokens follows the time of day',
        problems.length === 0,
        problems[0] ?? `${jumps} times`,
      ),
      yes('a token is accepted again when the time of day is correct', status === 200, `${status}`),
      yes(
        'durations in the metrics use the monotonic clock',
        seconds > 0 && seconds < mostSeconds,
        `${seconds.toFixed(1)} s in total, at most ${mostSeconds.toFixed(1)} s possible`,
      ),
      yes(
        'IDLE_EXIT_SECONDS also uses the monotonic clock',
        alive === 200 && ended === 0,
        `${alive} after a jump of one day, then exit code ${ended}`,
      ),
    ],
  }
}

async function noDescriptors({ long }: Run, folder: string): Promise<Row> {
  const times = long ? 20 : 1
  const FLOOD = 200
  const LIMIT = 64
  await using server = await launch(join(folder, 'log'))
  const kept = await connect(server.port)
  const counts = {
    'times without a free descriptor': 0,
    'excess connections': 0,
    'closed immediately': 0,
    'responses on the persistent connection': 0,
  }
  const wrong: string[] = []
  const ask = async (connection: Connection) => {
    connection.send(request('POST', IRIS, {}, irisBody('kept')))
    const problem = wrongWith(await connection.answer(), 'kept')
    if (problem === undefined) counts['responses on the persistent connection']++
    else wrong.push(problem)
  }
  await ask(kept)
  execFileSync('prlimit', [`--pid=${server.pid}`, `--nofile=${LIMIT}:${LIMIT}`])
  const meanwhile: Record<string, number> = {}
  for (let time = 0; time < times; time++) {
    const flood = await Promise.all(Array.from({ length: FLOOD }, () => connect(server.port)))
    let closed = 0
    for (const { closed: whenClosed } of flood) whenClosed.then(() => closed++)
    await until('the excess connections are closed', () => closed >= FLOOD - LIMIT)
    counts['excess connections'] += FLOOD - LIMIT
    counts['closed immediately'] += closed
    counts['times without a free descriptor']++
    for (let i = 0; i < 20; i++) await ask(kept)
    // Modules that are loaded at first use cannot be loaded without a free descriptor.
    for (const path of time === 0 ? ['/metrics', '/docs'] : []) {
      kept.send(request('GET', path))
      const { status } = await kept.answer()
      meanwhile[`${status} for ${path}`] = 1
    }
    for (const { socket } of flood) socket.destroy()
    await until(
      'a new connection is served',
      async () => (await statusOf(server.port, '/v2/health/live')) === 200,
    )
  }
  kept.socket.destroy()
  const load = callers(server.port, 8)
  await answers(load.calls, 200)
  const calls = await load.stop()
  const after = [
    await statusOf(server.port, '/metrics'),
    await statusOf(server.port, '/docs'),
    await statusOf(server.port, '/openapi.json'),
  ]
  const large = await exchangeLarge(server.port, jsonRows(20_000).at(IRIS).request)
  return {
    fault: `no free file descriptor (limit: ${LIMIT})`,
    counts: { ...counts, ...meanwhile, 'responses afterwards': calls.answered },
    claims: [
      none('wrong or missing responses on the persistent connection', wrong.length),
      yes(
        'excess connections are closed immediately',
        counts['closed immediately'] >= counts['excess connections'],
        `${counts['closed immediately']} closed`,
      ),
      none('requests rejected or without a response afterwards', calls.refused + calls.unanswered),
      yes(
        'metrics, pages and a large body return 200 afterwards, although their code could not be loaded during the fault',
        [...after, large.status].every(status => status === 200),
        [...after, large.status].join(),
      ),
    ],
  }
}

// Memory

interface Group extends AsyncDisposable {
  readonly folder: string
  kills(): number
  peakMiB(): number
}

function limitMemory(mebibytes: number): Group {
  const isFirst =
    statSync('/sys/fs/cgroup/memory', { throwIfNoEntry: false })?.isDirectory() ?? false
  const folder = `/sys/fs/cgroup/${isFirst ? 'memory/' : ''}onnx-function-${process.pid}-${mebibytes}`
  if (!isFirst) writeFileSync('/sys/fs/cgroup/cgroup.subtree_control', '+memory')
  mkdirSync(folder)
  const read = (file: string) => readFileSync(`${folder}/${file}`, 'utf8')
  try {
    writeFileSync(
      `${folder}/${isFirst ? 'memory.limit_in_bytes' : 'memory.max'}`,
      String(mebibytes * 2 ** 20),
    )
    // Without swap, allocations above the limit fail.
    const swap = `${folder}/${isFirst ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max'}`
    if (statSync(swap, { throwIfNoEntry: false }) !== undefined)
      writeFileSync(swap, isFirst ? String(mebibytes * 2 ** 20) : '0')
  } catch (error) {
    rmdirSync(folder)
    throw error
  }
  return {
    folder,
    kills: () =>
      Number(/^oom_kill (\d+)$/m.exec(read(isFirst ? 'memory.oom_control' : 'memory.events'))?.[1]),
    peakMiB: () => Number(read(isFirst ? 'memory.max_usage_in_bytes' : 'memory.peak')) / 2 ** 20,
    // A killed process remains in the cgroup for a moment.
    [Symbol.asyncDispose]: () => until('the cgroup is empty', () => emptied(folder)),
  }
}

function emptied(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch {
    return false
  }
}

const inGroup = ({ folder }: Group) => supervised(`echo $$ > ${folder}/cgroup.procs`)

const LARGE = binaryRows(4_000_000, ['probabilities']).at(IRIS)

/** Each body has 64 MB. */
function largeCallers(port: number, count: number) {
  const seen: Record<string, number> = {}
  const wrong: string[] = []
  let stopping = false
  const all = Array.from({ length: count }, async () => {
    while (!stopping) {
      const answer = await exchangeLarge(port, LARGE.request).catch(() => undefined)
      const kind =
        answer === undefined
          ? 'no response'
          : answer.status === 503 && 'retry-after' in answer.headers
            ? 'rejected'
            : String(answer.status)
      seen[`large bodies: ${kind}`] = (seen[`large bodies: ${kind}`] ?? 0) + 1
      if (answer?.status === 200) {
        try {
          LARGE.verify(answer)
        } catch (error) {
          wrong.push((error as Error).message)
        }
      } else await wait(20)
    }
  })
  return {
    seen,
    wrong,
    async stop() {
      stopping = true
      await Promise.all(all)
    },
  }
}

async function memoryLimit({ long }: Run, folder: string): Promise<Row> {
  const fault = 'a memory limit of 512 MiB with bodies of 64 MB'
  let group: Group
  try {
    group = limitMemory(512)
  } catch (error) {
    return notRun(fault, error)
  }
  await using limited = group
  await using server = await launch(join(folder, 'log'), {}, { command: inGroup(limited) })
  const pid = childOf(server.pid)
  const [load, large] = [callers(server.port, 4, 10), largeCallers(server.port, 4)]
  await until(
    'enough large bodies have got a response',
    () => (large.seen['large bodies: 200'] ?? 0) >= (long ? 50 : 4),
    PATIENCE_MS,
  )
  await large.stop()
  const calls = await load.stop()
  return {
    fault,
    counts: { 'correct responses': calls.answered, rejected: calls.refused, ...large.seen },
    claims: [
      none('processes killed', limited.kills() + Number(pid !== childOf(server.pid))),
      allRight(calls),
      none('wrong responses to large bodies', large.wrong.length),
      none(
        'connections closed without a response',
        calls.unanswered + (large.seen['large bodies: no response'] ?? 0),
      ),
      {
        what: 'peak memory within the limit',
        measured: `${limited.peakMiB().toFixed(0)} MiB, including files read by the server`,
        holds: limited.peakMiB() <= 512,
      },
    ],
  }
}

async function outOfMemory({ long }: Run, folder: string): Promise<Row> {
  const fault = 'out-of-memory kills under a supervisor: 192 MiB with bodies of 64 MB'
  const kills = long ? 15 : 2
  let group: Group
  try {
    group = limitMemory(192)
  } catch (error) {
    return notRun(fault, error)
  }
  await using limited = group
  await using server = await launch(join(folder, 'log'), {}, { command: inGroup(limited) })
  const [load, large] = [callers(server.port, 4, 10), largeCallers(server.port, 3)]
  await until(
    `the kernel has killed the server ${kills} times`,
    () => limited.kills() >= kills,
    PATIENCE_MS,
  )
  await large.stop()
  await answers(load.calls, 100)
  const calls = await load.stop()
  return {
    fault,
    counts: {
      kills: limited.kills(),
      'correct responses': calls.answered,
      'without a response and retried': calls.unanswered,
      ...large.seen,
    },
    claims: [
      allRight(calls),
      some('kills', limited.kills()),
      none('wrong responses to large bodies', large.wrong.length),
    ],
  }
}
