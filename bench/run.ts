import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { matchesGlob } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { chart } from './chart.ts'
import type { Contender, Workload } from './contender.ts'
import { exchange } from './load.ts'
import { install } from './peers/install.ts'
import { buildNative } from './peers/native.ts'
import { machineLines, rowsOf, table, targetRows, writeReport } from './report.ts'
import { V2_REQUEST } from './requests.ts'
import {
  chartFile,
  type Figures,
  type Run,
  readResults,
  resultsFile,
  type WorkloadResult,
  writeResults,
} from './results.ts'
import * as subjects from './subjects.ts'
import {
  buildFloors,
  cores,
  FURNACE,
  LIMIT,
  ours,
  PEERS,
  pinLoad,
  type Running,
  start,
} from './subjects.ts'
import { ALONE, WITH_NATIVE, WITH_PEERS } from './workloads.ts'

const HELP = `node bench/run.ts [--peers|--native] [--quick] [--full] [--rounds N] [--seconds S] [--only GLOB]

  --peers       also measure the Python servers, which are installed first
  --native      also measure the Rust servers, which are built first (needs cargo)
  --quick       a short run; writes results/quick.json instead of results/latest.json and results.md
  --full        include the long workloads: a million requests, growth curves
  --rounds N    rounds per subject (7; with --quick 3)
  --seconds S   seconds per round (2; with --quick 0.5)
  --only GLOB   only the workloads whose name matches
  --list        print the names of the workloads
`

interface Options {
  readonly peers: boolean
  readonly native: boolean
  readonly quick: boolean
  readonly full: boolean
  readonly rounds: number
  readonly seconds: number
  readonly only: string
  readonly list: boolean
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      peers: { type: 'boolean', default: false },
      native: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', default: '*' },
    },
  })
  if (values.help) {
    print(HELP)
    process.exit(0)
  }
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 7))
  const seconds = Number(values.seconds ?? (values.quick ? 0.5 : 2))
  if (!(Number.isInteger(rounds) && rounds > 0 && seconds > 0))
    throw new Error(
      `--rounds must be a whole number above 0 (got ${rounds}), --seconds a number above 0 (got ${seconds})\n\n${HELP}`,
    )
  return { ...values, rounds, seconds }
}

const print = (text: string) => process.stdout.write(text)
/** If standard error is a terminal, shows the progress on one line. */
const progress = (text: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

async function main(): Promise<void> {
  const options = readOptions()
  const { peers, native, quick, full, only, list } = options
  const chosen = [
    ...(peers ? WITH_PEERS : []),
    ...(native ? WITH_NATIVE : []),
    ...(peers || native ? [] : ALONE),
  ].filter(workload => (full || !workload.full) && matchesGlob(workload.name, only))
  if (list) {
    print(chosen.map(({ name, title }) => `${name.padEnd(26)}${title}\n`).join(''))
    return
  }
  if (chosen.length === 0)
    throw new Error(`no workload matches --only ${only}; --list prints the names`)
  await pinLoad()
  await buildFloors()
  const missing = new Map([
    ...(peers ? await installPeers() : []),
    ...(native ? await buildNativePeers() : []),
  ])
  const run = await describe(options)
  const answerOfOurs = await learnAnswer()
  const file = resultsFile(quick)
  let results = readResults(file)
  for (const workload of chosen) {
    const result = await measure(workload, options, answerOfOurs, run, missing)
    print(`${table(rowsOf(result))}\n${busyNote(result)}\n`)
    results = { workloads: { ...results.workloads, [workload.name]: result } }
    writeResults(file, results)
  }
  const measured = {
    workloads: Object.fromEntries(
      Object.entries(results.workloads).filter(([name]) => chosen.some(one => one.name === name)),
    ),
  }
  print(
    `${machineLines(measured).join('\n')}\n\n${table(targetRows(measured).filter(row => row[2] !== '–'))}\n`,
  )
  if (quick) writeFileSync(chartFile(true), chart(results))
  else writeReport(results)
}

async function installPeers(): Promise<ReadonlyMap<string, string>> {
  const missing = new Map<string, string>()
  for (const { name } of PEERS) {
    progress(`installing ${name}`)
    const reason = await install(name.toLowerCase().split(' ')[0] as string)
    if (reason !== undefined) missing.set(name, `not installed: ${reason}`)
  }
  return missing
}

async function buildNativePeers(): Promise<ReadonlyMap<string, string>> {
  progress('building the native peers')
  const reason = await buildNative()
  if (reason === undefined) return new Map()
  const names = [LIMIT, ...FURNACE].map(({ name }) => name)
  return new Map(names.map(name => [name, `not built: ${reason}`]))
}

async function learnAnswer(): Promise<string> {
  const server = await start(ours(), undefined)
  try {
    const { status, headers, body } = await exchange(
      server.port,
      V2_REQUEST.at(ours().path).request,
    )
    const { date, connection, 'keep-alive': keepAlive, ...own } = headers
    return JSON.stringify({ status, headers: own, body: body.toString('base64') })
  } finally {
    await server.stop()
  }
}

/** Each round begins with another contender. */
async function measure(
  workload: Workload,
  { rounds: usualRounds, seconds, quick }: Options,
  answerOfOurs: string,
  run: Run,
  missing: ReadonlyMap<string, string>,
): Promise<WorkloadResult> {
  const rounds =
    workload.rounds === undefined ? usualRounds : workload.rounds[quick ? 'quick' : 'usual']
  const servers = new Map<string, Promise<Running>>()
  const figures = new Map<string, Record<string, number[]>>()
  const failed = new Map<string, string>()

  /**
   * Contenders with the same subject and environment share a process. The command alone does not
   * identify a subject: a static server has the same command as one that runs the model.
   */
  function serverOf({ name, subject, first, alone }: Contender): Promise<Running> | undefined {
    if (subject === undefined) return undefined
    const key = JSON.stringify([subject.name, subject.env, alone ? name : ''])
    const server = servers.get(key) ?? start(subject, answerOfOurs, first)
    servers.set(key, server)
    return server
  }

  async function measureOnce(
    contender: Contender,
    seconds: number,
  ): Promise<Readonly<Record<string, number>>> {
    const server = await serverOf(contender)
    return contender.measure({ server: server as Running, seconds, answerOfOurs })
  }

  /** Excludes a contender at its first failure, and discards its earlier figures. */
  async function attempt<T>({ name }: Contender, action: () => Promise<T>): Promise<T | undefined> {
    if (failed.has(name)) return undefined
    try {
      return await action()
    } catch (error) {
      failed.set(name, missing.get(name) ?? (error as Error).message)
      return undefined
    }
  }

  try {
    // Warm up: V8 compiles the code, and the page cache fills.
    for (const contender of workload.contenders) {
      progress(`${workload.name}: warming up ${contender.name}`)
      await attempt(contender, () => measureOnce(contender, Math.min(seconds, 1)))
    }
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < workload.contenders.length; turn++) {
        const contender = workload.contenders[
          (round + turn) % workload.contenders.length
        ] as Contender
        progress(`${workload.name}: round ${round + 1} of ${rounds}, ${contender.name}`)
        const measured = await attempt(contender, () => measureOnce(contender, seconds))
        if (measured === undefined) continue
        const all = figures.get(contender.name) ?? {}
        for (const [metric, figure] of Object.entries(measured))
          all[metric] = [...(all[metric] ?? []), figure]
        figures.set(contender.name, all)
      }
    }
  } finally {
    await Promise.allSettled([...servers.values()].map(async server => (await server).stop()))
    progress('')
  }

  const { title, metrics, contenders } = workload
  const names = contenders.map(({ name }) => name)
  return {
    title,
    reference: names[0] as string,
    metrics,
    contenders: Object.fromEntries(
      names.map(name => {
        const reason = failed.get(name)
        return [name, reason === undefined ? (figures.get(name) as Figures) : { failed: reason }]
      }),
    ),
    run: { ...run, rounds },
  }
}

/**
 * Names the contenders for which the load generator used up its core: their figures are lower
 * bounds.
 */
function busyNote({ contenders }: WorkloadResult): string {
  const busy = Object.entries(contenders).filter(
    ([, figures]) => Math.max(...((figures as Figures).loadBusy ?? [0])) > 0.9,
  )
  return busy.length === 0
    ? ''
    : `The load generator used up its core, so these subjects could be faster: ${busy.map(([name]) => name).join(', ')}.\n`
}

async function describe({ rounds, seconds, peers }: Options): Promise<Run> {
  const [cpu] = cpus()
  const taken = [
    ours(),
    subjects.STATIC,
    subjects.NODE_HTTP,
    subjects.EXPRESS,
    subjects.FAAS_STATIC,
    subjects.FAAS,
    ...(peers ? PEERS : []),
  ]
  return {
    date: new Date().toISOString(),
    rounds,
    seconds,
    machine: `${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    pinned:
      cores === undefined
        ? 'not pinned'
        : `server on core ${cores.server}, load on core ${cores.load} (taskset)`,
    versions: {
      'onnx-function': versionOf('..'),
      Node: process.versions.node,
      ...npmVersions(),
      ...(peers ? await pipVersions() : {}),
    },
    commands: Object.fromEntries(
      taken.map(({ name, command }) => [name, command.map(relative).join(' ')]),
    ),
  }
}

const relative = (argument: string) =>
  argument === process.execPath ? 'node' : argument.replace(/^.*\/(bench\/peers\/)/, '$1')

const versionOf = (path: string): string =>
  JSON.parse(readFileSync(new URL(`${path}/package.json`, import.meta.url), 'utf8')).version

const npmVersions = () =>
  Object.fromEntries(
    ['onnxruntime-node', 'express', 'faas-js-runtime'].map(name => [
      name,
      versionOf(`../node_modules/${name}`),
    ]),
  )

async function pipVersions(): Promise<Record<string, string>> {
  const versions: Record<string, string> = {}
  for (const [name, file] of [
    ['mlserver'],
    ['kserve'],
    ['fastapi'],
    ['uvicorn', 'fastapi'],
    ['nvidia-pytriton', 'pytriton'],
    ['onnxruntime', 'fastapi'],
  ]) {
    const text = readFileSync(
      new URL(`peers/requirements-${file ?? name}.txt`, import.meta.url),
      'utf8',
    )
    const version = new RegExp(`^${name}==(.*)$`, 'm').exec(text)?.[1]
    if (version !== undefined) versions[`${name} (Python)`] = version
  }
  const { stdout } = await promisify(execFile)(PEERS[2]?.command[0] as string, ['--version']).catch(
    () => ({ stdout: 'Python unknown' }),
  )
  versions.Python = stdout.trim().replace('Python ', '')
  return versions
}

main().catch((error: Error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
