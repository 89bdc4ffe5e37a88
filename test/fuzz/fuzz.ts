import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import fc from 'fast-check'
import { INHERITED, PROGRAMS, projectFolder, type ServerProcess, testModel } from '../server.ts'
import {
  binaryOutputs,
  binaryRequest,
  parseExactly,
  toBytes,
  type WrittenTensor,
} from '../tensors.ts'
import { BadAnswer, type Client, createClient, type HttpAnswer } from './client.ts'
import { http2Requests } from './http2.ts'
import { judge } from './judge.ts'
import { LARGEST_BODY, largeRequests } from './large.ts'
import { events, type FuzzRequest, KINDS, type Kind, requests, type Target } from './requests.ts'
import { commandOf, show } from './show.ts'

/**
 * Status 500 is always a fault of the server, because these models cannot fail on a valid request.
 */
export const MODELS = [
  'iris',
  'two-in-two-out',
  'identity-bytes',
  'identity-int64',
  'middle',
  'unknown-rank',
  'fp16-out',
  'slow',
] as const
export type ModelName = (typeof MODELS)[number]

export const folderOf = (model: ModelName) =>
  model === 'iris' ? `${projectFolder}/models/iris/v1.0.0` : testModel(model)

export const MODES = {
  /** KServe's predictor also serves V1. */
  predictor: { EXECUTION: 'auto' },
  inline: { EXECUTION: 'inline' },
  worker: { EXECUTION: 'worker' },
  auto: { EXECUTION: 'auto' },
  'inline-single': { EXECUTION: 'inline', MAX_BATCH_ROWS: '1' },
  'worker-single': { EXECUTION: 'worker', MAX_BATCH_ROWS: '1' },
  'auto-single': { EXECUTION: 'auto', MAX_BATCH_ROWS: '1' },
} as const
export type ModeName = keyof typeof MODES
export const MODE_NAMES = Object.keys(MODES) as ModeName[]

export interface Pair {
  readonly model: ModelName
  readonly mode: ModeName
}

/** The slow model runs only with `auto`, in workers: other modes take too long. */
const isWorthwhile = ({ model, mode }: Pair) => model !== 'slow' || mode === 'auto'

export const everyPair = (
  models: readonly ModelName[] = MODELS,
  modes: readonly ModeName[] = MODE_NAMES,
): readonly Pair[] =>
  modes.flatMap(mode => models.map(model => ({ model, mode }))).filter(isWorthwhile)

/** One pair for each model except the slow model; every mode occurs at least once. */
export const somePairs = (): readonly Pair[] =>
  MODELS.filter(model => model !== 'slow').map((model, i) => ({
    model,
    mode: MODE_NAMES[i % MODE_NAMES.length] as ModeName,
  }))

/** Large bodies have separate servers. */
const PARTS = { requests, events, http2: http2Requests, large: largeRequests } as const
export type Part = keyof typeof PARTS

export interface FuzzOptions {
  readonly requests: number
  readonly events?: number
  readonly http2?: number
  readonly large?: number
  readonly seed: number
  readonly connections: number
  readonly pairs?: readonly Pair[]
  /** The address of a running server; by default, each pair gets a new process. */
  readonly url?: string | undefined
  /** Whether server processes exit and are restarted during the run. */
  readonly restarts?: boolean
  /** Idle time before the last measurement of memory. */
  readonly restMs?: number
  readonly onProgress?: (done: number, failures: number) => void
  readonly onFailure?: (failure: Failure) => void
}

export interface Failure extends Pair {
  readonly problem: string
  readonly request: string
  readonly smallest: string | undefined
  readonly command: string | undefined
  /** The arguments of run.ts that repeat the failure. */
  readonly again: string
}

/**
 * `none`, no response, is correct if the client closed the connection or its bytes are not a
 * request.
 */
export type Outcome = number | 'none'

/** The resident memory of one server process, in MiB. */
export interface Memory extends Pair {
  readonly large: boolean
  /** After the first tenth of the requests. */
  readonly warm: number
  readonly end: number
  /** After an idle period at the end. */
  readonly rested: number
}

export type Counts = Map<Outcome, number>

export interface Report {
  readonly byKind: Readonly<Record<Kind, Counts>>
  readonly byMode: Readonly<Record<ModeName, Counts>>
  readonly memory: readonly Memory[]
  readonly failures: readonly Failure[]
  readonly sentAgain: number
  readonly seconds: number
}

const BATCH = 250
const LARGE_BATCH = 4
const MOST_FAILURES = 10
/** The most memory after large bodies, in MiB. V8 and ONNX Runtime kept at most 234 MiB. */
const MOST_AFTER_LARGE = 350
const SHRINK_MS = 10_000

/** While one server sends slow responses, the others use the CPUs. */
const SERVERS_AT_ONCE = 3

/** The server limits the memory of concurrent bodies to twice the largest body. */
const LARGE_AT_ONCE = 2

/** Retries of a request that was refused because of other bodies, and their delay. */
const TIMES_AGAIN = 40
const AGAIN_AFTER_MS = 50

export const ENVIRONMENT = {
  // Small, so that requests can exceed it.
  MAX_BODY_BYTES: String(2 * 2 ** 20),
  // Longer than a busy machine may suspend a process, because a timeout would refuse valid
  // requests.
  REQUEST_TIMEOUT_MS: '600000',
  // Over 100,000 requests, the used heap stayed at 15 MiB, but V8's young space and malloc's arenas
  // grew to 330 MiB. With these limits, resident memory grew only from 171 to 186 MiB, so further
  // growth is a leak.
  NODE_OPTIONS: '--max-semi-space-size=2',
  MALLOC_ARENA_MAX: '1',
}

export async function fuzz({
  requests,
  events = 0,
  http2 = 0,
  large = 0,
  seed,
  connections,
  pairs = everyPair(),
  url,
  restarts = false,
  restMs = 1_500,
  onProgress = () => {},
  onFailure = () => {},
}: FuzzOptions): Promise<Report> {
  const started = performance.now()
  const byKind = Object.fromEntries(KINDS.map(kind => [kind, new Map()])) as Record<Kind, Counts>
  const byMode = Object.fromEntries(MODE_NAMES.map(mode => [mode, new Map()])) as Record<
    ModeName,
    Counts
  >
  const memory: Memory[] = []
  const failures: Failure[] = []
  const seen = new Set<string>()
  const tell = (failure: Failure) => {
    failures.push(failure)
    onFailure(failure)
  }
  let done = 0
  let sentAgain = 0

  async function fuzzPair(
    pair: Pair,
    at: number,
    shares: Partial<Record<Part, number>>,
  ): Promise<void> {
    const isLarge = shares.large !== undefined
    const batches = batchesOf(shares)
    if (batches.length === 0) return
    await using server = await serve(pair, url, isLarge, restarts)
    const clients = Array.from({ length: isLarge ? LARGE_AT_ONCE : connections }, () =>
      createClient(server.url, restarts),
    )
    const share = batches.reduce((sum, { numRuns }) => sum + numRuns, 0)
    const count = (kind: Kind, outcome: Outcome) => {
      for (const counts of [byKind[kind], byMode[pair.mode]])
        counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    }
    const arbitraries = Object.fromEntries(
      Object.entries(PARTS).map(([part, of]) => [part, of(server.target)]),
    )
    let warm: number | undefined
    let sent = 0
    for (const [b, { part, numRuns }] of batches.entries()) {
      if (failures.length >= MOST_FAILURES) break
      const batchSeed = seedOf(seed, at, b)
      const found = await sendAll(
        fc.sample(arbitraries[part] as fc.Arbitrary<FuzzRequest>, { seed: batchSeed, numRuns }),
        clients,
        server.target,
        count,
      )
      const after = await afterBatch(server)
      // First, because a server's exit causes the other failures in the batch.
      const ended = server.process !== undefined && isOver(server.process)
      const together = `--model ${pair.model} --mode ${pair.mode} --part ${part} --seed ${batchSeed} --together ${numRuns}`
      if (after !== undefined && (found.length === 0 || ended) && !seen.has(alike(after))) {
        // The output of a server includes the output during earlier batches, so report each problem
        // once.
        seen.add(alike(after))
        tell({
          ...pair,
          problem: after,
          request: 'one of the requests in a batch',
          smallest: undefined,
          command: undefined,
          again: together,
        })
      }
      for (const { index, request, problem } of found) {
        if (failures.length >= MOST_FAILURES || seen.has(alike(problem))) continue
        seen.add(alike(problem))
        tell(
          await explain({ ...pair, part, seed: batchSeed, url }, request, problem, index, together),
        )
      }
      sent += numRuns
      done += numRuns
      if (sent >= share / 10) warm ??= server.residentMiB()
      onProgress(done, failures.length)
      if (server.process !== undefined && isOver(server.process)) break
    }
    for (const client of clients) {
      client.close()
      sentAgain += client.sentAgain
    }
    const end = server.residentMiB()
    await wait(restMs)
    const rested = server.residentMiB()
    if (warm !== undefined && end !== undefined && rested !== undefined)
      memory.push({ ...pair, large: isLarge, warm, end, rested })
    if (server.process !== undefined && isOver(server.process) && failures.length === 0) {
      const problem = `the server exited with ${server.process.exitCode ?? server.process.signalCode} after all responses`
      tell({
        ...pair,
        problem,
        request: 'none',
        smallest: undefined,
        command: undefined,
        again: 'unknown',
      })
    }
  }

  const share = (total: number, at: number) => shareOf(total, at, pairs.length)
  const waiting = pairs.flatMap((pair, at) => [
    () =>
      fuzzPair(pair, at, {
        requests: share(requests, at),
        events: share(events, at),
        http2: share(http2, at),
      }),
    () => fuzzPair(pair, at, { large: share(large, at) }),
  ])
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next()
  }
  await Promise.all(Array.from({ length: SERVERS_AT_ONCE }, work))
  return {
    byKind,
    byMode,
    memory,
    failures,
    sentAgain,
    seconds: (performance.now() - started) / 1000,
  }
}

const shareOf = (total: number, at: number, of: number) =>
  Math.floor(((at + 1) * total) / of) - Math.floor((at * total) / of)

function batchesOf(shares: Partial<Record<Part, number>>): { part: Part; numRuns: number }[] {
  return (Object.entries(shares) as [Part, number][]).flatMap(([part, share]) => {
    const most = part === 'large' ? LARGE_BATCH : BATCH
    return Array.from({ length: Math.ceil(share / most) }, (_, b) => ({
      part,
      numRuns: Math.min(most, share - b * most),
    }))
  })
}

/** Equal for problems that differ only in numbers and names. */
const alike = (problem: string) => problem.slice(0, 80).replaceAll(/[\d.-]+|"[^"]*"/g, '')

/** Different for each batch, even in runs with consecutive seeds. */
const seedOf = (seed: number, pair: number, batch: number) =>
  (Math.imul(seed, 1_000_003) + Math.imul(pair, 7_919) + Math.imul(batch, 104_729)) | 0

/** A leak grows without a limit. */
export const grewTooMuch = ({ warm, rested, large }: Memory) =>
  rested > (large ? MOST_AFTER_LARGE : warm * 1.3 + 30)

interface Subject extends AsyncDisposable {
  readonly url: string
  readonly target: Target
  readonly process: ServerProcess['process'] | undefined
  readonly log: readonly string[]
  readonly stderr: readonly string[]
  residentMiB(): number | undefined
  /** Rejects unless the response is identical to the first one, byte for byte. */
  answerGoodRequest(): Promise<void>
}

async function serve(
  { model, mode }: Pair,
  url: string | undefined,
  isLarge: boolean,
  restarts = false,
): Promise<Subject> {
  const env = {
    ...ENVIRONMENT,
    ...(isLarge ? { MAX_BODY_BYTES: String(LARGEST_BODY) } : {}),
    ...MODES[mode],
    MODEL_DIR: folderOf(model),
  }
  const program = mode === 'predictor' ? PROGRAMS.predictor : PROGRAMS.function
  const server = url === undefined ? await start(env, program) : undefined
  const base = server?.url ?? (url as string)
  const target = await describe(base, model)
  const answerGoodRequest = await learnGoodAnswer(base, target.name, model, restarts)
  return {
    url: base,
    target,
    process: server?.process,
    log: server?.log ?? [],
    stderr: server?.stderr ?? [],
    residentMiB: () =>
      server === undefined || isOver(server.process)
        ? undefined
        : residentMiB(server.process.pid as number),
    answerGoodRequest,
    async [Symbol.asyncDispose]() {
      server?.process.kill('SIGKILL')
      await server?.exited
    },
  }
}

export async function start(
  env: Record<string, string>,
  program: string = PROGRAMS.function,
): Promise<ServerProcess & { readonly stderr: readonly string[] }> {
  const child = spawn(process.execPath, [program], {
    cwd: projectFolder,
    env: { ...INHERITED, PORT: '0', LISTEN_HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const exited = once(child, 'exit') as ServerProcess['exited']
  exited.then(() => process.removeListener('exit', kill))
  const [log, stderr]: [string[], string[]] = [[], []]
  child.stderr.on('data', chunk => stderr.push(String(chunk)))
  const url = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      log.push(line)
      const { url } = JSON.parse(line)
      if (url !== undefined) resolve(url)
    })
    exited.then(() =>
      reject(
        new Error(`the server exited before it was ready: ${log.join('\n')}${stderr.join('')}`),
      ),
    )
  })
  return { url: await url, process: child, log, stderr, exited }
}

export async function describe(url: string, model: ModelName): Promise<Target> {
  const name = model === 'iris' ? 'iris-classifier' : model
  const response = await fetch(`${url}/v2/models/${name}`)
  assert.equal(response.status, 200, `${url} does not serve ${name}`)
  const { versions, inputs, outputs } = (await response.json()) as { versions?: string[] } & Pick<
    Target,
    'inputs' | 'outputs'
  >
  return {
    name,
    version: versions?.[0],
    inputs,
    outputs,
    anyRank: model === 'unknown-rank',
    identity: model.startsWith('identity') || model === 'unknown-rank' || model === 'slow',
    v1: (await fetch(`${url}/v1/models`)).ok,
  }
}

/** @returns a function that sends the request again */
async function learnGoodAnswer(
  url: string,
  name: string,
  model: ModelName,
  restarts: boolean,
): Promise<() => Promise<void>> {
  const send = (init: RequestInit) =>
    fetch(`${url}/v2/models/${name}/infer`, {
      method: 'POST',
      signal: AbortSignal.timeout(10_000),
      ...init,
    })
  const ask = async (init: RequestInit) => {
    // The process at the other end of the open connection may have exited.
    const response = await send(init).catch(error =>
      restarts ? send(init) : Promise.reject(error),
    )
    return {
      status: response.status,
      headers: response.headers,
      body: Buffer.from(await response.arrayBuffer()),
    }
  }
  const [init, check] = model === 'iris' ? IRIS : firstCase(model)
  const first = await ask(init)
  assert.equal(first.status, 200, first.body.toString())
  check(first)
  return async () => {
    const { status, body } = await ask(init)
    assert.equal(status, 200, body.toString())
    assert.ok(
      body.equals(first.body),
      `the response to a valid request was ${show(first.body)}, and is now ${show(body)}`,
    )
  }
}

type GoodRequest = [init: RequestInit, check: (answer: { headers: Headers; body: Buffer }) => void]

const IRIS: GoodRequest = [
  {
    body: '{"id":"req-001","inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}',
    headers: { 'content-type': 'application/json' },
  },
  ({ body }) => assert.deepEqual(JSON.parse(body.toString()).outputs[1].data, ['setosa']),
]

function firstCase(model: ModelName): GoodRequest {
  const { cases } = parseExactly(readFileSync(`${testModel(model)}/cases.json`, 'utf8')) as {
    cases: { inputs: WrittenTensor[]; outputs: WrittenTensor[] }[]
  }
  const { inputs, outputs } = cases[0] as (typeof cases)[number]
  return [
    binaryRequest(inputs) as RequestInit,
    ({ headers, body }) =>
      assert.deepEqual(
        binaryOutputs(headers, body),
        outputs.map(output => ({
          name: output.name,
          datatype: output.datatype,
          shape: output.shape,
          bytes: toBytes(output),
        })),
      ),
  ]
}

const isOver = ({ exitCode, signalCode }: ServerProcess['process']) =>
  exitCode !== null || signalCode !== null

const residentMiB = (pid: number) =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

interface Found {
  readonly index: number
  readonly request: FuzzRequest
  readonly problem: string
}

async function sendAll(
  all: readonly FuzzRequest[],
  clients: readonly Client[],
  target: Target,
  count: (kind: Kind, outcome: Outcome) => void = () => {},
): Promise<Found[]> {
  const found: Found[] = []
  let next = 0
  const work = async (client: Client) => {
    while (next < all.length) {
      const index = next++
      const request = all[index] as FuzzRequest
      const problem = await sendOne(request, client, target, count)
      if (problem !== undefined) found.push({ index, request, problem })
    }
  }
  await Promise.all(clients.map(work))
  return found
}

/**
 * Sends a request, and retries like a client while the server refuses it because of other bodies.
 * @returns the problem in the response, or undefined
 */
export async function sendOne(
  request: FuzzRequest,
  client: Client,
  target: Target,
  count: (kind: Kind, outcome: Outcome) => void = () => {},
): Promise<string | undefined> {
  try {
    for (let times = 0; ; times++) {
      const answers = await client.send(request)
      for (const { status } of answers) count(request.kind, status)
      if (answers.length === 0) count(request.kind, 'none')
      const again = client.restarts ? isRefusal : isCrowdedOut
      if (times === TIMES_AGAIN || !answers.some(again)) return judge(request, answers, target)
      await wait(AGAIN_AFTER_MS)
    }
  } catch (error) {
    client.close()
    if (error instanceof BadAnswer) return error.message
    throw new Error(`the fuzzer itself failed on ${show(request.bytes)}`, { cause: error })
  }
}

const isRefusal = ({ status, headers }: HttpAnswer) => status === 503 && headers.has('retry-after')

const isCrowdedOut = (answer: HttpAnswer) =>
  isRefusal(answer) && answer.body.includes('other requests’ bodies')

/** @returns a problem with the server after a batch: an exit, a wrong response, or its output */
async function afterBatch({
  process,
  log,
  stderr,
  answerGoodRequest,
}: Subject): Promise<string | undefined> {
  if (process !== undefined && isOver(process)) {
    return `the server exited with ${process.exitCode ?? process.signalCode}: ${stderr.join('').slice(-2_000)}`
  }
  try {
    await answerGoodRequest()
  } catch (error) {
    return `a valid request after the batch: ${(error as Error).message}`
  }
  const error = log.find(line => JSON.parse(line).level >= 50)
  if (error !== undefined) return `in the log: ${error.slice(0, 2_000)}`
  const noise = stderr.join('').replace(/^\nTry it:\n.*\n\n/, '')
  return noise === '' ? undefined : `on standard error: ${noise.slice(0, 2_000)}`
}

export interface Origin extends Pair {
  readonly part: Part
  readonly seed: number
  readonly url?: string | undefined
}

/**
 * Sends a request alone to a new server, and searches for the smallest request that fails in the
 * same way, unless the body is large.
 */
async function explain(
  origin: Origin,
  request: FuzzRequest,
  problem: string,
  index: number,
  together: string,
): Promise<Failure> {
  const { model, mode, part, seed } = origin
  const shrunk = await again({ ...origin, path: String(index) })
  const smallest = shrunk?.request
  return {
    model,
    mode,
    problem: shrunk?.problem ?? problem,
    request: show(request.bytes),
    smallest: smallest && show(smallest.bytes, 1_500),
    command: smallest && commandOf(smallest),
    again: shrunk
      ? `--model ${model} --mode ${mode} --part ${part} --seed ${seed} --path ${shrunk.path}`
      : together,
  }
}

/**
 * Sends the request of a seed and path alone to a new server, and then smaller requests while they
 * fail.
 */
export async function again({
  path,
  url,
  seed,
  part,
  ...pair
}: Origin & { readonly path: string }) {
  let server = await serve(pair, url, part === 'large')
  let problem = ''
  const until = performance.now() + SHRINK_MS
  try {
    const property = fc.asyncProperty(PARTS[part](server.target), async request => {
      // fast-check's own time limit would leave a server running.
      if (problem !== '' && performance.now() > until) return
      const client = createClient(server.url)
      const wrong = await sendOne(request, client, server.target)
      const after = await afterBatch(server)
      client.close()
      const now = wrong ?? after
      if (now === undefined) return
      if (after !== undefined) {
        // Start a new server, so that this output or exit does not count for the next request.
        await server[Symbol.asyncDispose]()
        server = await serve(pair, url, part === 'large')
      }
      // Ignore smaller requests that fail with another problem.
      if (problem !== '' && alike(now) !== alike(problem)) return
      problem = now
      throw new Error(now)
    })
    const { failed, counterexample, counterexamplePath } = await fc.check(property, {
      seed,
      path,
      numRuns: 1,
      endOnFailure: part === 'large',
    })
    return failed && counterexample
      ? { problem, request: counterexample[0], path: counterexamplePath as string }
      : undefined
  } finally {
    await server[Symbol.asyncDispose]()
  }
}

export async function againTogether({
  numRuns,
  connections,
  url,
  seed,
  part,
  ...pair
}: Origin & { numRuns: number; connections: number }) {
  await using server = await serve(pair, url, part === 'large')
  const clients = Array.from({ length: connections }, () => createClient(server.url))
  const found = await sendAll(
    fc.sample(PARTS[part](server.target), { seed, numRuns }),
    clients,
    server.target,
  )
  for (const client of clients) client.close()
  const after = await afterBatch(server)
  return [
    ...found.map(
      ({ problem, request }) => `${problem}\n  ${commandOf(request) ?? show(request.bytes)}`,
    ),
    ...(after ? [after] : []),
  ]
}
