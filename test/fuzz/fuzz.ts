import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import fc from 'fast-check'
import { projectFolder, type ServerProcess, testModel } from '../server.ts'
import { binaryOutputs, binaryRequest, parseExactly, toBytes, type WrittenTensor } from '../tensors.ts'
import { BadAnswer, type Client, createClient } from './client.ts'
import { judge } from './judge.ts'
import { type FuzzRequest, KINDS, type Kind, requests, type Target } from './requests.ts'
import { show } from './show.ts'

/** Models that cannot fail on a request that fits them, so that any 500 is the server's mistake. */
export const MODELS = ['iris', 'two-in-two-out', 'identity-bytes', 'identity-int64', 'middle', 'unknown-rank', 'fp16-out'] as const
export type ModelName = (typeof MODELS)[number]

const FOLDERS: Partial<Record<ModelName, string>> = { iris: `${projectFolder}/models/iris/v1.0.0` }

export interface FuzzOptions {
  /** In total, over all models. */
  readonly requests: number
  readonly seed: number
  readonly connections: number
  readonly models?: readonly ModelName[]
  /** A server that runs already; without, each model gets a process of its own. */
  readonly url?: string | undefined
  /** How long a server has nothing to do before its memory is looked at for the last time. */
  readonly restMs?: number
  readonly onProgress?: (done: number, failures: number) => void
}

export interface Failure {
  readonly model: ModelName
  readonly problem: string
  /** The request as it was found, and the least that still fails. */
  readonly request: string
  readonly smallest: string | undefined
  /** Arguments of run.ts that send it alone; undefined where it takes company. */
  readonly again: string | undefined
}

export const OUTCOMES = ['2xx', '3xx', '4xx', '504', 'no answer'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Resident set sizes of one server process in MiB. */
export interface Memory {
  readonly model: ModelName
  /** After the first tenth of its requests. */
  readonly warm: number
  readonly end: number
  /** When it had nothing to do for a while. */
  readonly rested: number
}

export interface Report {
  readonly counts: Readonly<Record<Kind, Record<Outcome, number>>>
  readonly memory: readonly Memory[]
  readonly failures: readonly Failure[]
  readonly seconds: number
}

const BATCH = 250
const MOST_FAILURES = 10
const SHRINK_MS = 10_000

const ENVIRONMENT = {
  // Small enough that requests can be too large for it, large enough that all connections' bodies fit at once.
  MAX_BODY_BYTES: String(2 * 2 ** 20),
  // Measured over 100,000 requests: the heap in use stays at 15 MiB, but V8 grows the space for young objects, and malloc its
  // arenas, to 330 MiB resident. Held small, 171 MiB become 186, so that what grows further is a leak.
  NODE_OPTIONS: '--max-semi-space-size=2',
  MALLOC_ARENA_MAX: '1',
}

/** Sends random requests and judges every answer. */
export async function fuzz({
  requests: total,
  seed,
  connections,
  models = MODELS,
  url,
  restMs = 1_500,
  onProgress = () => {},
}: FuzzOptions): Promise<Report> {
  const started = performance.now()
  const counts = Object.fromEntries(
    KINDS.map(kind => [kind, Object.fromEntries(OUTCOMES.map(outcome => [outcome, 0]))]),
  ) as Report['counts']
  const memory: Memory[] = []
  const failures: Failure[] = []
  const seen = new Set<string>()
  let done = 0

  for (const [i, model] of models.entries()) {
    const share = Math.floor(((i + 1) * total) / models.length) - Math.floor((i * total) / models.length)
    await using server = await serve(model, url)
    const clients = Array.from({ length: connections }, () => createClient(server.url))
    const arbitrary = requests(server.target)
    let warm: number | undefined
    let sent = 0
    for (let batch = 0; sent < share && failures.length < MOST_FAILURES; batch++) {
      const batchSeed = seedOf(seed, i, batch)
      const numRuns = Math.min(BATCH, share - sent)
      const found = await sendAll(fc.sample(arbitrary, { seed: batchSeed, numRuns }), clients, server.target, counts)
      const after = await afterBatch(server)
      // A server that is gone answers nobody: what ended it is told first, and the rest is only its consequence.
      const ended = server.process !== undefined && isOver(server.process)
      if (after !== undefined && (found.length === 0 || ended)) {
        failures.push({ model, problem: after, request: `batch ${batch} of seed ${seed}`, smallest: undefined, again: undefined })
      }
      for (const { index, request, problem } of found) {
        if (failures.length === MOST_FAILURES || seen.has(alike(problem))) continue
        seen.add(alike(problem))
        failures.push(await explain(model, request, problem, batchSeed, index, url))
      }
      sent += numRuns
      done += numRuns
      if (sent >= share / 10) warm ??= server.residentMiB()
      onProgress(done, failures.length)
      if (server.process !== undefined && isOver(server.process)) break
    }
    for (const client of clients) client.close()
    const end = server.residentMiB()
    await wait(restMs)
    const rested = server.residentMiB()
    if (warm !== undefined && end !== undefined && rested !== undefined) memory.push({ model, warm, end, rested })
    if (server.process !== undefined && isOver(server.process) && failures.length === 0) {
      const problem = `the server ended with ${server.process.exitCode ?? server.process.signalCode} when all was answered`
      failures.push({ model, problem, request: 'none', smallest: undefined, again: undefined })
    }
  }
  return { counts, memory, failures, seconds: (performance.now() - started) / 1000 }
}

/** Problems that differ in numbers and names only are told once. */
const alike = (problem: string) => problem.slice(0, 80).replaceAll(/[\d.-]+|"[^"]*"/g, '')

/** Apart enough that no two batches of a run, nor of runs with neighbouring seeds, are alike. */
const seedOf = (seed: number, model: number, batch: number) =>
  (Math.imul(seed, 1_000_003) + Math.imul(model, 7_919) + Math.imul(batch, 104_729)) | 0

/** @returns whether a run that long grew more than it may; a leak goes on growing, a heap that finds its size does not */
export const grewTooMuch = ({ warm, rested }: Memory) => rested > warm * 1.3 + 30

// One server

interface Subject extends AsyncDisposable {
  readonly url: string
  readonly target: Target
  readonly process: ServerProcess['process'] | undefined
  readonly log: readonly string[]
  readonly stderr: readonly string[]
  residentMiB(): number | undefined
  /** Rejects when the answer to a good request is not, byte for byte, what it always was. */
  answerGoodRequest(): Promise<void>
}

async function serve(model: ModelName, url?: string): Promise<Subject> {
  const server = url === undefined ? await start({ ...ENVIRONMENT, MODEL_DIR: FOLDERS[model] ?? testModel(model) }) : undefined
  const base = server?.url ?? (url as string)
  const name = model === 'iris' ? 'iris-classifier' : model
  const target = await describe(base, name, model)
  const answerGoodRequest = await learnGoodAnswer(base, name, model)
  return {
    url: base,
    target,
    process: server?.process,
    log: server?.log ?? [],
    stderr: server?.stderr ?? [],
    residentMiB: () => (server === undefined || isOver(server.process) ? undefined : residentMiB(server.process.pid as number)),
    answerGoodRequest,
    async [Symbol.asyncDispose]() {
      server?.process.kill('SIGKILL')
      await server?.exited
    },
  }
}

/** As startProcess does, but for as long as it takes: that one's processes are killed after the time a test may take. */
async function start(env: Record<string, string>): Promise<ServerProcess & { readonly stderr: readonly string[] }> {
  const child = spawn(process.execPath, ['function/main.ts'], {
    cwd: projectFolder,
    env: { PATH: process.env.PATH, PORT: '0', LISTEN_HOST: '127.0.0.1', ...env },
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
    exited.then(() => reject(new Error(`the server ended before it was ready: ${log.join('\n')}${stderr.join('')}`)))
  })
  return { url: await url, process: child, log, stderr, exited }
}

async function describe(url: string, name: string, model: ModelName): Promise<Target> {
  const response = await fetch(`${url}/v2/models/${name}`)
  assert.equal(response.status, 200, `${url} does not serve ${name}`)
  const { versions, inputs, outputs } = (await response.json()) as { versions?: string[] } & Pick<Target, 'inputs' | 'outputs'>
  return {
    name,
    version: versions?.[0],
    inputs,
    outputs,
    anyRank: model === 'unknown-rank',
    identity: model.startsWith('identity') || model === 'unknown-rank',
  }
}

/** Asks once, checks the answer against what is known of the model, and returns how to ask again. */
async function learnGoodAnswer(url: string, name: string, model: ModelName): Promise<() => Promise<void>> {
  const ask = async (init: RequestInit) => {
    const response = await fetch(`${url}/v2/models/${name}/infer`, { method: 'POST', signal: AbortSignal.timeout(10_000), ...init })
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
  }
  const [init, check] = model === 'iris' ? IRIS : firstCase(model)
  const first = await ask(init)
  assert.equal(first.status, 200, first.body.toString())
  check(first)
  return async () => {
    const { status, body } = await ask(init)
    assert.equal(status, 200, body.toString())
    assert.ok(body.equals(first.body), `a good request was first answered ${show(first.body)}, now ${show(body)}`)
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
        outputs.map(output => ({ name: output.name, datatype: output.datatype, shape: output.shape, bytes: toBytes(output) })),
      ),
  ]
}

const isOver = ({ exitCode, signalCode }: ServerProcess['process']) => exitCode !== null || signalCode !== null

const residentMiB = (pid: number) => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

// Sending

interface Found {
  readonly index: number
  readonly request: FuzzRequest
  readonly problem: string
}

/** Every client takes the next request as it gets free. */
async function sendAll(
  all: readonly FuzzRequest[],
  clients: readonly Client[],
  target: Target,
  counts: Report['counts'],
): Promise<Found[]> {
  const found: Found[] = []
  let next = 0
  const work = async (client: Client) => {
    while (next < all.length) {
      const index = next++
      const request = all[index] as FuzzRequest
      const problem = await sendOne(request, client, target, counts)
      if (problem !== undefined) found.push({ index, request, problem })
    }
  }
  await Promise.all(clients.map(work))
  return found
}

async function sendOne(request: FuzzRequest, client: Client, target: Target, counts?: Report['counts']): Promise<string | undefined> {
  try {
    const answers = await client.send(request)
    if (counts !== undefined) {
      for (const { status } of answers) counts[request.kind][status === 504 ? '504' : (`${Math.floor(status / 100)}xx` as Outcome)]++
      if (answers.length === 0) counts[request.kind]['no answer']++
    }
    return judge(request, answers, target)
  } catch (error) {
    client.close()
    if (error instanceof BadAnswer) return error.message
    throw new Error(`the fuzzer itself failed on ${show(request.bytes)}`, { cause: error })
  }
}

/** @returns what the requests left behind that they should not have */
async function afterBatch({ process, log, stderr, answerGoodRequest }: Subject): Promise<string | undefined> {
  if (process !== undefined && isOver(process)) {
    return `the server ended with ${process.exitCode ?? process.signalCode}: ${stderr.join('').slice(-2_000)}`
  }
  try {
    await answerGoodRequest()
  } catch (error) {
    return `a good request: ${(error as Error).message}`
  }
  const error = log.find(line => JSON.parse(line).level >= 50)
  if (error !== undefined) return `in the log: ${error.slice(0, 2_000)}`
  const noise = stderr.join('').replace(/^\nTry it:\n.*\n\n/, '')
  return noise === '' ? undefined : `on standard error: ${noise.slice(0, 2_000)}`
}

// Failures

/** Sends it again, alone to a new server, and looks for the least that fails alike. */
async function explain(
  model: ModelName,
  request: FuzzRequest,
  problem: string,
  seed: number,
  index: number,
  url: string | undefined,
): Promise<Failure> {
  const shrunk = await again({ model, seed, path: String(index), url })
  const smallest = shrunk?.request
  return {
    model,
    problem: shrunk?.problem ?? problem,
    request: show(request.bytes),
    smallest: smallest && show(smallest.bytes, 1_500),
    again: shrunk && `--model ${model} --seed ${seed} --path ${shrunk.path}`,
  }
}

/** Runs one request, found by its seed and path, alone on a new server, then ever smaller ones while they fail. */
export async function again({ model, seed, path, url }: { model: ModelName; seed: number; path: string; url?: string | undefined }) {
  let server = await serve(model, url)
  let problem = ''
  const until = performance.now() + SHRINK_MS
  try {
    const property = fc.asyncProperty(requests(server.target), async request => {
      // fast-check's own time limit would leave a server running.
      if (problem !== '' && performance.now() > until) return
      const client = createClient(server.url)
      const wrong = await sendOne(request, client, server.target)
      const after = await afterBatch(server)
      client.close()
      const now = wrong ?? after
      if (now === undefined) return
      if (after !== undefined) {
        // What it wrote to its log, or that it ended, must not count against the next.
        await server[Symbol.asyncDispose]()
        server = await serve(model, url)
      }
      // Smaller, but another problem: that is not what is looked for.
      if (problem !== '' && alike(now) !== alike(problem)) return
      problem = now
      throw new Error(now)
    })
    const { failed, counterexample, counterexamplePath } = await fc.check(property, { seed, path, numRuns: 1 })
    return failed && counterexample ? { problem, request: counterexample[0], path: counterexamplePath as string } : undefined
  } finally {
    await server[Symbol.asyncDispose]()
  }
}
