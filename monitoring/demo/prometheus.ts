import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/*
 * A real Prometheus on a free port of the loopback, with the rules of monitoring/prometheus/rules, whose targets come and go as pods do.
 */

export const SCRAPE_SECONDS = 1

export type Labels = Readonly<Record<string, string>>

/** One series of an answer. */
export interface Series {
  readonly labels: Labels
  readonly value: number
}

export interface Rule {
  readonly type: 'recording' | 'alerting'
  readonly name: string
  readonly query: string
  readonly health: string
  readonly lastError?: string
}

export interface Prometheus {
  readonly version: string
  /** From the next scrape on; `labels` are what service discovery gives the target. */
  scrape(address: string, labels: Labels): void
  /** As when a pod is gone: its series end at once. */
  forget(address: string): void
  /** @param at seconds since 1970 @throws {Error} with Prometheus' own words where the query fails */
  query(expression: string, at: number): Promise<Series[]>
  range(
    expression: string,
    start: number,
    end: number,
    step: number,
  ): Promise<{ labels: Labels; values: [number, string][] }[]>
  labelValues(label: string, selector: string, start: number, end: number): Promise<string[]>
  rules(): Promise<Rule[]>
  /** Resolves once the query has an answer. */
  until(expression: string): Promise<void>
  /** Resolves once everything that happened before the call is scraped, and the rules have seen it; the moment it is then. */
  settled(): Promise<number>
  stop(): Promise<void>
}

/** Another build of it, where PROMETHEUS names one. */
const PROGRAM = process.env.PROMETHEUS ?? 'prometheus'
const RULES = join(import.meta.dirname, '../prometheus/rules')

/** @throws {Error} naming what is missing */
export async function startPrometheus(): Promise<Prometheus> {
  const { error, stdout, stderr } = spawnSync(PROGRAM, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) {
    throw new Error(
      `missing: ${PROGRAM}. apt-get install --no-install-recommends prometheus; systemctl disable --now prometheus, if you do not want the service that it starts`,
    )
  }
  const version = /version (\S+)/.exec(stdout + stderr)?.[1] ?? 'unknown'
  const folder = mkdtempSync(join(tmpdir(), 'monitoring-demo-'))
  const targets = join(folder, 'targets.json')
  const scraped = new Map<string, Labels>()
  writeTargets()
  copyRules(join(folder, 'rules'))
  writeFileSync(join(folder, 'prometheus.yml'), configuration(targets))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const child = spawn(
    PROGRAM,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'tsdb')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  process.once('exit', () => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  const said: string[] = []
  child.stderr?.on('data', text => said.push(String(text)))
  await untilReady(child, url, said)

  /** In the place of the old file at once: Prometheus may be reading it. */
  function writeTargets(): void {
    const groups = [...scraped].map(([address, labels]) => ({ targets: [address], labels }))
    writeFileSync(`${targets}.new`, JSON.stringify(groups))
    renameSync(`${targets}.new`, targets)
  }

  async function ask<Data>(
    path: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<Data> {
    const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const { status, data, error } = (await answer.json()) as {
      status: string
      data: Data
      error?: string
    }
    if (status !== 'success') throw new Error(error)
    return data
  }

  const query = async (expression: string, at: number): Promise<Series[]> => {
    const { resultType, result } = await ask<Result>('query', {
      query: expression,
      time: at.toFixed(3),
    })
    if (resultType === 'scalar') return [{ labels: {}, value: Number(result[1]) }]
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
  }

  return {
    version,
    scrape(address, labels) {
      scraped.set(address, labels)
      writeTargets()
    },
    forget(address) {
      scraped.delete(address)
      writeTargets()
    },
    query,
    async range(expression, start, end, step) {
      const times = { start: String(start), end: String(end), step: String(step) }
      const { result } = await ask<{ result: { metric: Labels; values: [number, string][] }[] }>(
        'query_range',
        {
          query: expression,
          ...times,
        },
      )
      return result.map(({ metric, values }) => ({ labels: metric, values }))
    },
    labelValues: (label, selector, start, end) =>
      ask(`label/${label}/values`, { 'match[]': selector, start: String(start), end: String(end) }),
    async rules() {
      const { groups } = await ask<{ groups: { rules: Rule[] }[] }>('rules')
      return groups.flatMap(({ rules }) => rules)
    },
    async until(expression) {
      const deadline = Date.now() + 60_000
      while ((await query(expression, Date.now() / 1000)).length === 0) {
        if (Date.now() > deadline) throw new Error(`it never came to be that ${expression}`)
        await wait(100)
      }
    },
    async settled() {
      const since = Date.now() / 1000
      const addresses = [...scraped.keys()]
      for (;;) {
        const now = Date.now() / 1000
        const latest = await query('timestamp(up)', now)
        const times = new Map(latest.map(({ labels, value }) => [labels.instance, value]))
        const gone = [...times.keys()].filter(instance => !addresses.includes(instance as string))
        if (gone.length === 0 && addresses.every(address => (times.get(address) ?? 0) > since))
          break
        if (now > since + 60)
          throw new Error(
            `Prometheus did not scrape all of ${addresses.join(', ')} within a minute`,
          )
        await wait(50)
      }
      // Rules build on one another.
      await wait(3 * SCRAPE_SECONDS * 1000)
      return Date.now() / 1000
    },
    async stop() {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    },
  }
}

type Result =
  | { readonly resultType: 'scalar'; readonly result: [number, string] }
  | {
      readonly resultType: 'vector'
      readonly result: { metric: Labels; value: [number, string] }[]
    }

/** What fires, fires at once: whether an alert's `for` has passed is for its unit tests to show. */
function copyRules(folder: string): void {
  mkdirSync(folder)
  for (const file of readdirSync(RULES).filter(name => /\.ya?ml$/.test(name))) {
    const text = readFileSync(join(RULES, file), 'utf8')
    writeFileSync(join(folder, file), text.replace(/^ +(for|keep_firing_for|interval): .*\n/gm, ''))
  }
}

const configuration = (targets: string) => `global:
  scrape_interval: ${SCRAPE_SECONDS * 1000}ms
  scrape_timeout: ${SCRAPE_SECONDS * 1000}ms
  evaluation_interval: ${SCRAPE_SECONDS * 1000}ms
rule_files: [rules/*.y*ml]
scrape_configs:
  - job_name: onnx-function
    file_sd_configs:
      - files: [${targets}]
        refresh_interval: 1s
`

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function untilReady(
  child: ChildProcess,
  url: string,
  said: readonly string[],
): Promise<void> {
  while (child.exitCode === null) {
    const ready = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (ready) return
    await wait(50)
  }
  throw new Error(`Prometheus ended:\n${said.join('')}`)
}
