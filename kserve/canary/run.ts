import { setTimeout as wait } from 'node:timers/promises'
import { type Cluster, ClusterError, connect } from './cluster.ts'
import { CHECKS_WITH_P, compare } from './compare.ts'
import { beforeLooking, decide, lookAt, spend } from './decide.ts'
import { HELP, type Options, readOptions, UsageError } from './options.ts'
import { PrometheusError, sample } from './prometheus.ts'
import { modeOf } from './rollout/mode.ts'
import type { KubernetesObject, State } from './rollout/state.ts'
import { note, progress, type Report, table } from './table.ts'

/*
 * `npm run canary -- NAME`: looks at the canary of an InferenceService, or of a Knative Service, and takes it on by a step, back, or leaves
 * it. docs/canary.md says what it goes by.
 */

/** 1 is Node's own, for what nobody expected. */
const EXIT = { fine: 0, usage: 2, prometheus: 3, cluster: 4, person: 5, rolledBack: 6 } as const

const say = (text: string) => process.stdout.write(`${text}\n`)
const complain = (text: string) => process.stderr.write(`${text}\n`)

/** How a decision ends a run; undefined where there is more to come. */
function exitOf({ decision: { action, to }, applied }: Report): number | undefined {
  switch (action) {
    case 'idle':
      return EXIT.fine
    case 'stand':
      return EXIT.person
    case 'roll back':
    case 'rolled back':
      return EXIT.rolledBack
    case 'wait':
      return undefined
    default:
      // A dry run ends where something would be done: what came after it cannot be known.
      return applied && to !== 100 ? undefined : EXIT.fine
  }
}

/**
 * Reads the object, looks at the canary, and does what is to be done; from the beginning where somebody has changed the object meanwhile.
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
        `${cluster.what} does not say its mode: serving.kserve.io/deploymentMode, Knative or Standard`,
      )
    const report: Report = {
      object: cluster.what,
      mode: mode.name,
      applied: false,
      ...(await judge(mode.read(object), options)),
    }
    const { to } = report.decision
    if (!options.apply || to === undefined) return { object, report }
    if (await cluster.patch(object, mode.patch(object, to))) {
      const done = { ...report, applied: true }
      await tell(cluster, object, done)
      return { object, report: done }
    }
    complain('somebody has changed the object meanwhile: nothing was written, it is read again')
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
  return { canary, look, alpha, checks, decision: decide(canary, checks, options, look) }
}

/** An event for what was done. That it cannot be written takes nothing back. */
async function tell(cluster: Cluster, object: KubernetesObject, report: Report): Promise<void> {
  const { action } = report.decision
  const reason = {
    start: 'CanaryStarted',
    promote: 'CanaryPromoted',
    'roll back': 'CanaryRolledBack',
  }[action as 'start']
  await cluster
    .tell(object, action === 'roll back' ? 'Warning' : 'Normal', reason, note(report))
    .catch((error: ClusterError) =>
      complain(`${error.message}; what it says was done all the same`),
    )
}

/** Looks until there is nothing left to do. */
async function watch(cluster: Cluster, options: Options): Promise<number> {
  let shown = ''
  for (;;) {
    const again = new Date(Date.now() + 1000 * options.every)
    try {
      const { object, report } = await look(cluster, options)
      const exit = exitOf(report)
      const line = options.json
        ? JSON.stringify(report)
        : exit === undefined && !report.applied
          ? progress(report)
          : table(report)
      // Controllers write to the object, too: what is the same is not said again.
      if (line !== shown)
        say(
          options.json || exit !== undefined || report.applied
            ? line
            : `${new Date().toISOString().slice(11, 19)}  ${line}`,
        )
      shown = line
      if (exit !== undefined) return exit
      const { canary, look: last } = report
      const next =
        canary === undefined || last === undefined
          ? again
          : new Date(last.at.getTime() + 1000 * options.every)
      if (!report.applied) await cluster.untilChanged(object, next)
    } catch (error) {
      if (!passes(error)) throw error
      complain(
        `${(error as Error).message}; nothing is done without it, it is tried again at ${again.toISOString().slice(11, 19)}`,
      )
      await wait(Math.max(0, again.getTime() - Date.now()))
    }
  }
}

/** Whether it may pass by itself: nobody answers, or says that it cannot now. */
const passes = (error: unknown) =>
  error instanceof PrometheusError ||
  (error instanceof ClusterError &&
    (error.status === undefined || error.status === 429 || error.status >= 500))

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) {
    say(HELP)
    return EXIT.fine
  }
  const cluster = connect(options)
  if (options.watch) return watch(cluster, options)
  const { report } = await look(cluster, options)
  say(options.json ? JSON.stringify(report) : table(report))
  return exitOf(report) ?? EXIT.fine
}

main().then(
  code => process.exit(code),
  (error: Error) => {
    complain(error.message)
    if (error instanceof UsageError) process.exit(EXIT.usage)
    if (error instanceof PrometheusError) process.exit(EXIT.prometheus)
    if (error instanceof ClusterError) process.exit(EXIT.cluster)
    throw error
  },
)
