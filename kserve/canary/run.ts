import { setTimeout as wait } from 'node:timers/promises'
import { type Cluster, ClusterError, connect } from './cluster.ts'
import { CHECKS_WITH_P, compare } from './compare.ts'
import { beforeLooking, decide, lookAt, misrouted, spend } from './decide.ts'
import { HELP, type Options, readOptions, UsageError } from './options.ts'
import { PrometheusError, sample } from './prometheus.ts'
import { modeOf } from './rollout/mode.ts'
import type { KubernetesObject, State } from './rollout/state.ts'
import { note, progress, type Report, table } from './table.ts'

/*
 * `npm start -- NAME` compares both revisions of an InferenceService, a Knative Service or an
 * HTTPRoute, and promotes the new one, rolls it back, or waits (README.md).
 */

/** 1 is missing because Node exits with it after an uncaught error. */
const EXIT = {
  fine: 0,
  usage: 2,
  prometheus: 3,
  cluster: 4,
  person: 5,
  rolledBack: 6,
  unrouted: 7,
  stalled: 8,
} as const

const print = (text: string) => process.stdout.write(`${text}\n`)
const printError = (text: string) => process.stderr.write(`${text}\n`)

/** Undefined while the rollout continues. */
function exitOf({ decision: { action, to }, applied }: Report): number | undefined {
  switch (action) {
    case 'idle':
      return EXIT.fine
    case 'stand':
      return EXIT.person
    case 'roll back':
    case 'rolled back':
      return EXIT.rolledBack
    case 'unrouted':
      return EXIT.unrouted
    case 'stalled':
      return EXIT.stalled
    case 'wait':
      return undefined
    default:
      // A dry run exits at its first change, because later steps depend on it.
      return applied && to !== 100 ? undefined : EXIT.fine
  }
}

/**
 * Starts again if the object changed in the meantime.
 * @throws {ClusterError | PrometheusError}
 */
async function look(
  cluster: Cluster,
  options: Options,
): Promise<{ readonly object: KubernetesObject; readonly report: Report }> {
  for (;;) {
    const object = await cluster.read()
    const mode = modeOf(object)
    if (mode === undefined)
      throw new UsageError(
        `${cluster.what} has no known mode: set its annotation serving.kserve.io/deploymentMode to Knative or Standard`,
      )
    const report: Report = {
      object: cluster.what,
      mode: mode.name,
      applied: false,
      ...(await judge(await mode.read(object, cluster.find), options)),
    }
    const { to } = report.decision
    if (!options.apply || to === undefined) return { object, report }
    if (await cluster.patch(object, mode.patch(object, to))) {
      const applied = { ...report, applied: true }
      await writeEvent(cluster, object, applied)
      return { object, report: applied }
    }
    printError(`${cluster.what} changed in the meantime: nothing was written; reading it again`)
  }
}

async function judge(
  state: State,
  options: Options,
): Promise<Pick<Report, 'canary' | 'look' | 'alpha' | 'checks' | 'decision'>> {
  if (!('canary' in state)) return { checks: [], decision: state }
  const { canary } = state
  const look = lookAt(canary, options, new Date())
  const early = beforeLooking(canary, options, look)
  if (early !== undefined) return { canary, checks: [], decision: early }
  const alpha = spend(options.alpha, options, CHECKS_WITH_P, look.number)
  const [old, fresh] = await Promise.all([
    sample(options.prometheus, canary.old.series, look),
    sample(options.prometheus, canary.new.series, look),
  ])
  const checks = compare(old, fresh, { ...options, alpha })
  const requests = { old: old.requests, new: fresh.requests }
  const decision =
    misrouted(canary, requests, options.requests) ?? decide(canary, checks, options, look)
  return { canary, look, alpha, checks, decision }
}

const REASONS = {
  start: 'CanaryStarted',
  promote: 'CanaryPromoted',
  'roll back': 'CanaryRolledBack',
} as const

/** If the Event cannot be written, the change remains. */
async function writeEvent(
  cluster: Cluster,
  object: KubernetesObject,
  report: Report,
): Promise<void> {
  const action = report.decision.action as keyof typeof REASONS
  const type = action === 'roll back' ? 'Warning' : 'Normal'
  await cluster
    .writeEvent(object, { type, reason: REASONS[action], note: note(report) })
    .catch((error: ClusterError) => printError(`${error.message}; the change itself was applied`))
}

/** @returns the exit code */
async function watch(cluster: Cluster, options: Options): Promise<number> {
  let printed = ''
  for (;;) {
    const again = new Date(Date.now() + 1000 * options.every)
    try {
      const { object, report } = await look(cluster, options)
      const exit = exitOf(report)
      const text = textOf(report, options)
      // Controllers also write to the object: print the same text only once.
      if (text !== printed)
        print(isProgress(report, options) ? `${clock(new Date())}  ${text}` : text)
      printed = text
      if (exit !== undefined) return exit
      if (!report.applied) await cluster.untilChanged(object, nextLook(report, options) ?? again)
    } catch (error) {
      if (!isTransient(error)) throw error
      printError(
        `${(error as Error).message}; nothing was changed; next attempt at ${clock(again)}`,
      )
      await wait(Math.max(0, again.getTime() - Date.now()))
    }
  }
}

/** While `--watch` waits, it prints one line instead of the table. */
const isProgress = (report: Report, { json }: Options) =>
  !json && !report.applied && exitOf(report) === undefined

function textOf(report: Report, options: Options): string {
  if (options.json) return JSON.stringify(report)
  return isProgress(report, options) ? progress(report) : table(report)
}

const nextLook = ({ canary, look }: Report, { every }: Options) =>
  canary === undefined || look === undefined
    ? undefined
    : new Date(look.at.getTime() + 1000 * every)

const clock = (at: Date) => at.toISOString().slice(11, 19)

/** A later attempt may succeed if there was no response, or its status is temporary. */
const isTransient = (error: unknown) =>
  error instanceof PrometheusError ||
  (error instanceof ClusterError &&
    (error.status === undefined || error.status === 429 || error.status >= 500))

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) {
    print(HELP)
    return EXIT.fine
  }
  const cluster = connect(options)
  if (options.watch) return watch(cluster, options)
  const { report } = await look(cluster, options)
  print(options.json ? JSON.stringify(report) : table(report))
  return exitOf(report) ?? EXIT.fine
}

main().then(
  code => process.exit(code),
  (error: Error) => {
    printError(error.message)
    if (error instanceof UsageError) process.exit(EXIT.usage)
    if (error instanceof PrometheusError) process.exit(EXIT.prometheus)
    if (error instanceof ClusterError) process.exit(EXIT.cluster)
    throw error
  },
)
