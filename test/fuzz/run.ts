import { parseArgs } from 'node:util'
import { differential } from './differential.ts'
import {
  again,
  againTogether,
  type Counts,
  everyPair,
  type Failure,
  fuzz,
  grewTooMuch,
  MODE_NAMES,
  MODELS,
  type ModelName,
  type ModeName,
  type Origin,
  type Part,
  type Report,
} from './fuzz.ts'
import { KINDS } from './requests.ts'
import { commandOf, show } from './show.ts'

const USAGE = `node test/fuzz/run.ts [--requests 20000] [--events 2000] [--http2 2000] [--large 100] [--differential 200] [--seed N] [--connections 16] [--model NAME]… [--mode NAME]… [--url URL --model NAME]
node test/fuzz/run.ts --model NAME --mode NAME --part requests|events|http2|large --seed N --path P        repeats one request: a failure prints this line
node test/fuzz/run.ts --model NAME --mode NAME --part requests|events|http2|large --seed N --together N    repeats a batch, for a failure that needs several requests

models: ${MODELS.join(', ')}
modes:  ${MODE_NAMES.join(', ')}
`

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '20000' },
    events: { type: 'string', default: '2000' },
    http2: { type: 'string', default: '2000' },
    large: { type: 'string', default: '100' },
    differential: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    connections: { type: 'string', default: '16' },
    model: { type: 'string', multiple: true, default: [] },
    mode: { type: 'string', multiple: true, default: [] },
    part: { type: 'string', default: 'requests' },
    url: { type: 'string' },
    path: { type: 'string' },
    together: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string) => process.stdout.write(`${line}\n`)

function count(
  name: 'requests' | 'events' | 'http2' | 'large' | 'differential' | 'connections' | 'together',
  least = 1,
): number {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < least)
    fail(`--${name} is ${values[name]}; it must be an integer of at least ${least}`)
  return value
}

function integerSeed(): number {
  const seed = Number(values.seed)
  if (!Number.isSafeInteger(seed)) fail(`--seed is ${values.seed}; it must be an integer`)
  return seed
}

function fail(message: string): never {
  process.stderr.write(`${message}\n\n${USAGE}`)
  process.exit(2)
}

function chosen<Name extends string>(
  what: string,
  asked: readonly string[],
  all: readonly Name[],
): readonly Name[] {
  const unknown = asked.find(name => !all.includes(name as Name))
  if (unknown !== undefined) fail(`unknown ${what} "${unknown}"; allowed: ${all.join(', ')}`)
  return asked.length > 0 ? (asked as readonly Name[]) : all
}

const models = (): readonly ModelName[] =>
  chosen(
    'model',
    values.url !== undefined && values.model.length === 0 ? ['iris'] : values.model,
    MODELS,
  )

const modes = (): readonly ModeName[] =>
  chosen('mode', values.url !== undefined ? ['inline'] : values.mode, MODE_NAMES)

function origin(): Origin {
  if (values.model.length !== 1 || values.mode.length !== 1)
    fail('--path and --together need the --model and --mode of the failure')
  const [model, mode] = [models()[0] as ModelName, modes()[0] as ModeName]
  if (!['requests', 'events', 'http2', 'large'].includes(values.part))
    fail(`--part is ${values.part}; it must be requests, events, http2 or large`)
  return { model, mode, part: values.part as Part, seed: integerSeed(), url: values.url }
}

async function one(path: string): Promise<boolean> {
  const failed = await again({ ...origin(), path })
  if (failed === undefined) say('no failure')
  else
    say(
      `${failed.problem}\n\n${show(failed.request.bytes, 5_000)}\n\n${commandOf(failed.request) ?? ''}\n\n--path ${failed.path}`,
    )
  return failed === undefined
}

async function together(): Promise<boolean> {
  const problems = await againTogether({
    ...origin(),
    numRuns: count('together'),
    connections: count('connections'),
  })
  problems.forEach(say)
  if (problems.length === 0) say('no failure')
  return problems.length === 0
}

async function many(): Promise<boolean> {
  const seed = integerSeed()
  const [requests, events] = [count('requests', 0), count('events', 0)]
  const [http2, large] = [count('http2', 0), count('large', 0)]
  const total = requests + events + http2 + large
  const pairs = everyPair(models(), modes())
  say(
    `${requests} requests, ${events} events, ${http2} gRPC calls and HTTP/2 connections, ${large} large bodies for ${pairs.length} pairs of model and mode, seed ${seed}`,
  )
  const started = performance.now()
  let told = 0
  const report = await fuzz({
    requests,
    events,
    http2,
    large,
    seed,
    connections: count('connections'),
    pairs,
    url: values.url,
    onFailure: tell,
    onProgress(done, failures) {
      const percent = Math.floor((done * 100) / total)
      if (process.stdout.isTTY) process.stdout.write(`\r${done} sent, ${failures} failures `)
      else if (percent >= told + 5) {
        say(
          `${percent} % sent, ${failures} failures, ${((performance.now() - started) / 1000).toFixed(0)} s`,
        )
        told = percent - (percent % 5)
      }
    },
  })
  say('')
  tabulate(report)
  const leaks = report.memory.filter(grewTooMuch)
  for (const { model, mode } of leaks)
    say(`${model}, ${mode}: the memory of the server grew beyond the limit`)
  say(`\n${report.seconds.toFixed(1)} s, seed ${seed}, ${report.failures.length} failures`)
  return report.failures.length + leaks.length === 0
}

function tell({ model, mode, problem, request, smallest, command, again }: Failure): void {
  say(`\n✖ ${model}, ${mode}: ${problem}\n  request:  ${request}`)
  if (smallest === undefined) say('  the request does not fail when it is sent alone')
  else say(`  smallest: ${smallest}`)
  if (command !== undefined) say(`  command:  ${command}`)
  say(`  again:    node test/fuzz/run.ts ${again}`)
}

function tabulate({ byKind, byMode, memory }: Report): void {
  const all = new Map<string | number, number>()
  for (const counts of Object.values(byKind))
    for (const [outcome, n] of counts) all.set(outcome, (all.get(outcome) ?? 0) + n)
  const outcomes = [...all.keys()].sort((a, b) => String(a).localeCompare(String(b)))
  const row = (name: string, cells: readonly (string | number)[]) =>
    say(name.padEnd(16) + cells.map(cell => String(cell).padStart(9)).join(''))
  const numbers = (name: string, counts: ReadonlyMap<string | number, number>) =>
    row(
      name,
      outcomes
        .map(outcome => counts.get(outcome) ?? 0)
        .concat([...counts.values()].reduce((sum, n) => sum + n, 0)),
    )
  row('responses', [...outcomes, 'all'])
  for (const kind of KINDS) if (byKind[kind].size > 0) numbers(kind, byKind[kind] as Counts)
  numbers('all', all)
  say('')
  row('by mode', [...outcomes, 'all'])
  for (const mode of MODE_NAMES) if (byMode[mode].size > 0) numbers(mode, byMode[mode])
  if (memory.length === 0) return
  say('')
  row('memory (MiB)', ['warm', 'end', 'rested', 'ratio'])
  for (const { model, mode, large, warm, end, rested } of memory)
    say(
      `${`${model}, ${mode}${large ? ', large' : ''}`.padEnd(36)}${[warm.toFixed(0), end.toFixed(0), rested.toFixed(0), (rested / warm).toFixed(2)].map(cell => cell.padStart(9)).join('')}`,
    )
}

async function compare(): Promise<boolean> {
  const questions = count('differential', 0)
  if (questions === 0 || values.url !== undefined) return true
  let alike = true
  say('\nSending each question in every form to every server of the model')
  for (const model of models().filter(model => model !== 'slow')) {
    try {
      const asked = await differential(model, {
        questions: Math.ceil(questions / MODELS.length),
        seed: integerSeed(),
      })
      const { questions: all, requests, answered, refused, joinedRuns } = asked
      say(
        `${model.padEnd(16)}${all} questions (${answered} succeeded, ${refused} were refused) in ${requests} requests; ${joinedRuns.requests} joinable requests in ${joinedRuns.runs} runs`,
      )
    } catch (error) {
      alike = false
      say(
        `\n✖ ${model}: ${(error as Error).message}\n${((error as Error).cause as Error | undefined)?.message ?? ''}`,
      )
    }
  }
  return alike
}

async function all(): Promise<boolean> {
  const [fuzzed, compared] = [await many(), await compare()]
  return fuzzed && compared
}

// After a normal exit, the exit handlers stop the servers.
process.once('SIGTERM', () => process.exit(143))

if (values.help) say(USAGE)
else
  process.exitCode = (await (values.together !== undefined
    ? together()
    : values.path !== undefined
      ? one(values.path)
      : all()))
    ? 0
    : 1
