import { parseArgs } from 'node:util'
import { again, type Failure, fuzz, grewTooMuch, MODELS, type ModelName, OUTCOMES, type Report } from './fuzz.ts'
import { KINDS } from './requests.ts'
import { show } from './show.ts'

const USAGE = `node test/fuzz/run.ts [--requests 20000] [--seed N] [--connections 16] [--model NAME]… [--url URL --model NAME]
node test/fuzz/run.ts --model NAME --seed N --path P    one request again, as a failure says

models: ${MODELS.join(', ')}
`

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    connections: { type: 'string', default: '16' },
    model: { type: 'string', multiple: true, default: [] },
    url: { type: 'string' },
    path: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string) => process.stdout.write(`${line}\n`)

function positive(name: 'requests' | 'connections'): number {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < 1) fail(`--${name} is ${values[name]}; it must be a number from 1`)
  return value
}

function fail(message: string): never {
  process.stderr.write(`${message}\n\n${USAGE}`)
  process.exit(2)
}

function models(): readonly ModelName[] {
  const unknown = values.model.find(name => !MODELS.includes(name as ModelName))
  if (unknown !== undefined) fail(`the model ${unknown} is none of ${MODELS.join(', ')}`)
  if (values.model.length > 0) return values.model as ModelName[]
  return values.url === undefined ? MODELS : ['iris']
}

async function one(path: string): Promise<boolean> {
  const [model] = models()
  if (model === undefined || values.model.length !== 1) fail('--path needs the one --model it was found with')
  const failed = await again({ model, seed: Number(values.seed), path, url: values.url })
  say(failed === undefined ? 'it does not fail' : `${failed.problem}\n\n${show(failed.request.bytes, 5_000)}\n\n--path ${failed.path}`)
  return failed === undefined
}

async function many(): Promise<boolean> {
  const seed = Number(values.seed)
  if (!Number.isSafeInteger(seed)) fail(`--seed is ${values.seed}; it must be an integer`)
  const requests = positive('requests')
  say(`${requests} requests, seed ${seed}`)
  let told = 0
  const report = await fuzz({
    requests,
    seed,
    connections: positive('connections'),
    models: models(),
    url: values.url,
    onProgress(done, failures) {
      const percent = Math.floor((done * 100) / requests)
      if (process.stdout.isTTY) process.stdout.write(`\r${done} sent, ${failures} failures `)
      else if (percent >= told + 10) say(`${percent} % sent, ${failures} failures`)
      told = percent >= told + 10 ? percent - (percent % 10) : told
    },
  })
  say('')
  report.failures.forEach(tell)
  tabulate(report)
  const leaks = report.memory.filter(grewTooMuch)
  for (const { model } of leaks) say(`${model}: memory grew by more than 30 % and 30 MiB`)
  say(`\n${report.seconds.toFixed(1)} s, seed ${seed}, ${report.failures.length} failures`)
  return report.failures.length + leaks.length === 0
}

function tell({ model, problem, request, smallest, again }: Failure): void {
  say(`\n✖ ${model}: ${problem}\n  request:  ${request}`)
  if (again === undefined) say('  it does not fail alone')
  else say(`  smallest: ${smallest}\n  again:    node test/fuzz/run.ts ${again}`)
}

function tabulate({ counts, memory }: Report): void {
  const row = (name: string, cells: readonly (string | number)[]) =>
    say(name.padEnd(16) + cells.map(cell => String(cell).padStart(10)).join(''))
  row('answers', OUTCOMES)
  for (const kind of KINDS)
    row(
      kind,
      OUTCOMES.map(outcome => counts[kind][outcome]),
    )
  row(
    'all',
    OUTCOMES.map(outcome => KINDS.reduce((sum, kind) => sum + counts[kind][outcome], 0)),
  )
  if (memory.length === 0) return
  say('')
  row('memory (MiB)', ['warm', 'end', 'rested', 'ratio'])
  for (const { model, warm, end, rested } of memory)
    row(model, [warm.toFixed(0), end.toFixed(0), rested.toFixed(0), (rested / warm).toFixed(2)])
}

if (values.help) say(USAGE)
else process.exitCode = (await (values.path === undefined ? many() : one(values.path))) ? 0 : 1
