import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'

/* A real Prometheus with the rules of monitoring/prometheus/rules and changing targets. */

export const SCRAPE_SECONDS = 1

export type Labels = Readonly<Record<string, string>>
export type Series = { readonly labels: Labels; readonly value: number }
export type RangeSeries = { readonly labels: Labels; readonly values: readonly Sample[] }
type Sample = readonly [at: number, value: string]

export interface Rule {
  readonly type: 'recording' | 'alerting'
  readonly name: string
  readonly query: string
  readonly health: string
  readonly lastError?: string
}

export const now = () => Date.now() / 1000

/** PROMETHEUS can name another build. */
const PROGRAM = process.env.PROMETHEUS ?? 'prometheus'
const RULES = join(import.meta.dirname, '../prometheus/rules')
const LONGEST_SECONDS = 60
/** The longest chain of rules that use other rules. Each adds one evaluation interval. */
const RULE_DEPTH = 3

/** @throws {Error} if the program is not installed */
export async function startPrometheus(): Promise<Prometheus> {
  const { error, stdout, stderr } = spawnSync(PROGRAM, ['--version'], { encoding: 'utf8' })
  if (error !== undefined)
    throw new Error(
      `${PROGRAM} was not found: run apt-get install --no-install-recommends prometheus`,
    )
  const folder = fs.mkdtempSync(join(tmpdir(), 'monitoring-demo-'))
  copyRules(join(folder, 'rules'))
  fs.writeFileSync(join(folder, 'targets.json'), '[]')
  fs.writeFileSync(join(folder, 'prometheus.yml'), CONFIGURATION)
  const args = [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'tsdb')}`,
    '--web.listen-address=127.0.0.1:0',
  ]
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  process.once('exit', () => {
    child.kill('SIGKILL')
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const url = await addressOf(child)
  const version = /version (\S+)/.exec(stdout + stderr)?.[1] ?? 'unknown'
  return new Prometheus(url, version, join(folder, 'targets.json'))
}

export class Prometheus {
  readonly version: string
  readonly #url: string
  readonly #file: string
  readonly #targets = new Map<string, Labels>()

  constructor(url: string, version: string, targetsFile: string) {
    this.#url = url
    this.version = version
    this.#file = targetsFile
  }

  scrape(address: string, labels: Labels): void {
    this.#targets.set(address, labels)
    this.#writeTargets()
  }

  /** Removes a target and its series at once, like those of a deleted pod. */
  forget(address: string): void {
    this.#targets.delete(address)
    this.#writeTargets()
  }

  /** @throws {Error} with Prometheus' message if the query fails */
  async query(query: string, at: number): Promise<Series[]> {
    const { resultType, result } = await this.#ask<
      | { resultType: 'scalar'; result: Sample }
      | { resultType: 'vector'; result: { metric: Labels; value: Sample }[] }
    >('query', { query, time: at.toFixed(3) })
    if (resultType === 'scalar') return [{ labels: {}, value: Number(result[1]) }]
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
  }

  async range(query: string, start: number, end: number): Promise<RangeSeries[]> {
    const { result } = await this.#ask<{ result: { metric: Labels; values: Sample[] }[] }>(
      'query_range',
      { query, start: String(start), end: String(end), step: '0.5' },
    )
    return result.map(({ metric, values }) => ({ labels: metric, values }))
  }

  labelValues = (label: string, selector: string, start: number): Promise<string[]> =>
    this.#ask(`label/${label}/values`, { 'match[]': selector, start: String(start) })

  async rules(): Promise<Rule[]> {
    const { groups } = await this.#ask<{ groups: { rules: Rule[] }[] }>('rules', {})
    return groups.flatMap(({ rules }) => rules)
  }

  async until(query: string): Promise<void> {
    const deadline = now() + LONGEST_SECONDS
    while ((await this.query(query, now())).length === 0) {
      if (now() > deadline) throw new Error(`no result within ${LONGEST_SECONDS} s: ${query}`)
      await wait(100)
    }
  }

  /**
   * Waits until all targets have been scraped and all rules evaluated. @returns the current time
   */
  async settled(): Promise<number> {
    const count = this.#targets.size
    await this.until(`count(timestamp(up) > ${now()}) == ${count} and count(up) == ${count}`)
    await wait(RULE_DEPTH * SCRAPE_SECONDS * 1000)
    return now()
  }

  /** Replaces the file in one step, because Prometheus may be reading it. */
  #writeTargets(): void {
    const groups = [...this.#targets].map(([address, labels]) => ({ targets: [address], labels }))
    fs.writeFileSync(`${this.#file}.new`, JSON.stringify(groups))
    fs.renameSync(`${this.#file}.new`, this.#file)
  }

  async #ask<Data>(path: string, parameters: Labels): Promise<Data> {
    const answer = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const { data, error } = (await answer.json()) as { data?: Data; error?: string }
    if (data === undefined) throw new Error(error)
    return data
  }
}

/**
 * Copies the rules without `for`, so that alerts fire at once. The unit tests of the rules cover
 * `for`.
 */
function copyRules(folder: string): void {
  fs.cpSync(RULES, folder, { recursive: true })
  for (const file of fs.readdirSync(folder).map(name => join(folder, name))) {
    const text = fs.readFileSync(file, 'utf8')
    fs.writeFileSync(file, text.replace(/^ +(for|keep_firing_for|interval): .*\n/gm, ''))
  }
}

const CONFIGURATION = `global:
  scrape_interval: ${SCRAPE_SECONDS}s
  scrape_timeout: ${SCRAPE_SECONDS}s
  evaluation_interval: ${SCRAPE_SECONDS}s
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: onnx-function
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
`

async function addressOf(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream })
  let log = ''
  for await (const line of lines) {
    log += `${line}\n`
    if (!line.includes('ready to receive web requests')) continue
    // A pipe that nothing reads would fill up and block Prometheus.
    child.stderr?.resume()
    return `http://${/"Listening on" address=(\S+)/.exec(log)?.[1]}`
  }
  throw new Error(`Prometheus exited:\n${log}`)
}
