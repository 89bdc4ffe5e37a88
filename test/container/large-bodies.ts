// Measures a container with 512 MiB and one CPU under large bodies, with the default or another
// MAX_BODY_BYTES, and prints a table for README.md.
//
//   npm run large-bodies --prefix test/container [-- --callers 16 --seconds 15 --only 'binary|form' --largest 8388608]
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { table } from '../../bench/report.ts'
import { VARIABLES } from '../../function/config/variables.ts'
import { IRIS } from '../http/client.ts'
import { testModel } from '../server.ts'
import { type Large, largeBodies, largeTexts, SINGLE_ROW, SINGLE_TEXT } from './bodies.ts'
import {
  buildImage,
  type Container,
  NATIVE,
  remove,
  requireTools,
  run,
  startContainer,
} from './engine.ts'

const { callers, seconds, only, largest } = parseArgs({
  options: {
    callers: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '15' },
    only: { type: 'string', default: '' },
    largest: { type: 'string', default: VARIABLES.MAX_BODY_BYTES.default },
  },
}).values
const LARGEST = Number(largest)
const LARGE = largeBodies(LARGEST)

requireTools()
const image = await buildImage(NATIVE)
const rows: string[][] = []
const measure = async (
  name: string,
  large: readonly Large[],
  options: readonly string[] = [],
  small: Large = SINGLE_ROW,
) => {
  const row = await beside(name, large, small, options)
  process.stderr.write(`${row.join(' | ')}\n`)
  rows.push(row)
}
const asked = (name: string) => new RegExp(only).test(name)
for (const [name, make] of Object.entries(LARGE)) if (asked(name)) await measure(name, [make()])
const model = [
  '--volume',
  `${testModel('identity-bytes')}:/mnt/models:ro`,
  '--env',
  'MODEL_DIR=/mnt/models',
  '--env',
  'MODEL_NAME=identity-bytes',
]
for (const [name, make] of Object.entries(largeTexts(LARGEST)))
  if (asked(name)) await measure(name, [make()], model, SINGLE_TEXT)
if (asked('all kinds except texts, in turn')) {
  await measure(
    'all kinds except texts, in turn',
    Object.values(LARGE).map(make => make()),
  )
}
const head = [
  'large bodies',
  'responses',
  'without mapped files, MiB',
  'with mapped files, MiB',
  '5 s later, MiB',
  'successful single rows',
  'slowest, ms',
]
process.stdout.write(`${table([head, ...rows])}\n`)

/** Callers send these bodies without pause; another caller sends a row every 50 ms. */
async function beside(
  name: string,
  large: readonly Large[],
  small: Large,
  options: readonly string[],
): Promise<string[]> {
  const limit = ['--env', `MAX_BODY_BYTES=${LARGEST}`]
  const container = await startContainer(
    image,
    { cpus: 1, memory: '512m' },
    { options: [...options, ...limit] },
  )
  const ended = container.exited.then(code => `exited with ${code}`)
  const memory = await watchMemory(container)
  const until = performance.now() + Number(seconds) * 1000
  const isOver = () => performance.now() > until
  const statuses = new Map<number | string, number>()
  const rest = singleRows(container, small, isOver)
  await Promise.all(
    Array.from({ length: Number(callers) }, async (_, caller) => {
      for (let i = 0; !isOver(); i++) {
        const status = await send(container, large[(caller + i) % large.length] as Large)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        if (status === 503) await wait(100)
      }
    }),
  )
  const { answered, sent, slowest } = await rest
  const peak = memory.peak()
  const after = await Promise.race([ended, wait(5_000).then(() => memory.now())])
  memory.stop()
  await remove(container)
  const answers = [...statuses].sort().map(([status, times]) => `${times} × ${status}`)
  const figures =
    typeof after === 'string'
      ? [after, '', '']
      : [peak.anonymous, peak.resident, after.resident].map(mib => mib.toFixed(0))
  return [name, answers.join(', '), ...figures, `${answered} of ${sent}`, slowest.toFixed(0)]
}

/** Records the memory of the container's first process, in MiB, without and with mapped files. */
async function watchMemory({ name }: Container) {
  const pid = await run('podman', 'inspect', '--format', '{{.State.Pid}}', name)
  const peak = { anonymous: 0, resident: 0 }
  const now = () => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const field = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024
    const [anonymous, resident] = [field('RssAnon'), field('VmRSS')]
    peak.anonymous = Math.max(peak.anonymous, anonymous)
    peak.resident = Math.max(peak.resident, resident)
    return { anonymous, resident }
  }
  const timer = setInterval(() => {
    try {
      now()
    } catch {
      clearInterval(timer)
    }
  }, 10)
  return { now, peak: () => peak, stop: () => clearInterval(timer) }
}

async function send(
  { url }: Container,
  { path = IRIS, headers, body }: Large,
): Promise<number | string> {
  try {
    const answer = await fetch(url + path, { method: 'POST', headers, body })
    for await (const _ of answer.body ?? []);
    return answer.status
  } catch (error) {
    return ((error as Error).cause as { code?: string })?.code ?? 'connection lost'
  }
}

async function singleRows(container: Container, small: Large, isOver: () => boolean) {
  let [answered, sent, slowest] = [0, 0, 0]
  const pending: Promise<void>[] = []
  while (!isOver()) {
    sent++
    const began = performance.now()
    pending.push(
      send(container, small).then(status => {
        if (status === 200) answered++
        slowest = Math.max(slowest, performance.now() - began)
      }),
    )
    await wait(50)
  }
  await Promise.all(pending)
  return { answered, sent, slowest }
}
