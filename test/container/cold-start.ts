// Measures the effect of a container and a CPU quota on the startup time, and prints the table in README.md.
//
//   npm run cold-start --prefix test/container [-- --rounds 15]
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { spreadText, table } from '../../bench/report.ts'
import { ratio, spread } from '../../bench/statistics.ts'
import { IRIS, irisBody } from '../http/client.ts'
import { projectFolder } from '../server.ts'
import {
  buildImage,
  NATIVE,
  remove,
  requireTools,
  signal,
  startContainer,
  untilItTellsItsAddress,
} from './engine.ts'

interface Start {
  /**
   * The time from the start of the process to its first response, measured in the process, in ms.
   */
  readonly process: number
  /**
   * The time from the command to the first response, including the container engine's time, in ms.
   */
  readonly command: number
  /** The resident memory after the first response, in MiB. */
  readonly resident: number
}

async function asked(url: string, began: number): Promise<Start> {
  const { status } = await fetch(url + IRIS, { method: 'POST', body: Buffer.from(irisBody()) })
  if (status !== 200) throw new Error(`the first response has status ${status} instead of 200`)
  const command = performance.now() - began
  const metrics = await (await fetch(`${url}/metrics`)).text()
  const sum = (series: RegExp) =>
    Array.from(metrics.matchAll(series), ([, value]) => Number(value)).reduce(
      (total, value) => total + value,
    )
  return {
    process: sum(/^cold_start_seconds\{.* (\S+)$/gm) * 1000,
    command,
    resident: sum(/^process_resident_memory_bytes (\S+)$/gm) / 2 ** 20,
  }
}

async function outside(): Promise<Start> {
  const began = performance.now()
  const env = { PORT: '0', LISTEN_HOST: '127.0.0.1', NODE_ENV: 'production' }
  const child = spawn(process.execPath, ['build/main.js'], {
    cwd: projectFolder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { url, exited } = await untilItTellsItsAddress(child)
  const start = await asked(url, began)
  child.kill('SIGTERM')
  await exited
  return start
}

async function inside(cpus: number, ...options: string[]): Promise<Start> {
  const began = performance.now()
  const container = await startContainer(image, { cpus, memory: '512m' }, { options })
  try {
    return await asked(container.url, began)
  } finally {
    await signal(container, 'SIGTERM')
    await container.exited
    await remove(container)
  }
}

const { rounds } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } }).values
requireTools()
const image = await buildImage(NATIVE)

const cache = mkdtempSync(join(tmpdir(), 'compile-cache-'))
chmodSync(cache, 0o777)
const withCache = ['--env', 'NODE_COMPILE_CACHE=/cache', '--volume']
await inside(1, ...withCache, `${cache}:/cache`)

const subjects = {
  'outside a container, no limit': outside,
  'container, 2 CPUs': () => inside(2),
  'container, 1 CPU': () => inside(1),
  'container, 1 CPU, compile cache': () => inside(1, ...withCache, `${cache}:/cache:ro`),
  'container, 0.5 CPU': () => inside(0.5),
  'container, 0.5 CPU, compile cache': () => inside(0.5, ...withCache, `${cache}:/cache:ro`),
}
const starts: Record<string, Start[]> = Object.fromEntries(
  Object.keys(subjects).map(name => [name, []]),
)
for (let round = 0; round < Number(rounds); round++) {
  const order = Object.entries(subjects)
  // The first startup after a pause is slower, so each round begins with another subject.
  for (const [name, start] of [
    ...order.slice(round % order.length),
    ...order.slice(0, round % order.length),
  ]) {
    starts[name]?.push(await start())
  }
  process.stderr.write(`round ${round + 1} of ${rounds}\n`)
}
rmSync(cache, { recursive: true })

const figures = (of: readonly Start[], what: keyof Start) => of.map(start => start[what])
// The effect of Node's compile cache for each quota.
for (const quota of ['1 CPU', '0.5 CPU']) {
  const [without, cached] = [`container, ${quota}`, `container, ${quota}, compile cache`].map(
    name => figures(starts[name] ?? [], 'process'),
  )
  process.stdout.write(
    `compile cache at ${quota}: ${spreadText(ratio(cached ?? [], without ?? []))} of the time without it\n`,
  )
}

const reference = Object.values(starts)[0] as Start[]
process.stdout.write(
  `${table([
    [
      'environment',
      'process, ms',
      'ratio to outside',
      'command, ms',
      'ratio to outside',
      'resident, MiB',
    ],
    ...Object.entries(starts).map(([name, of]) => [
      name,
      ...(['process', 'command'] as const).flatMap(what => [
        spreadText(spread(figures(of, what))),
        spreadText(ratio(figures(of, what), figures(reference, what))),
      ]),
      spreadText(spread(figures(of, 'resident'))),
    ]),
  ])}\n`,
)
