/*
 * Checks the dashboards, rules and alerts with real data:
 *
 * npm run demo --prefix monitoring [-- --short] [-- --results FILE]
 *
 * A real Prometheus scrapes the function during a scripted scenario. The demo compares every
 * query's result with the recorded traffic, and exits with 1 if one is wrong.
 */
import { writeFileSync } from 'node:fs'
import { inspect, parseArgs } from 'node:util'
import { check } from './check.ts'
import { draw } from './drawing.ts'
import { startPrometheus } from './prometheus.ts'
import { report } from './report.ts'
import { runScenario } from './scenario.ts'

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, results: { type: 'string' } },
})
const print = (line: string) => process.stdout.write(`${line}\n`)

async function main(): Promise<void> {
  const prometheus = await startPrometheus()
  print(`Prometheus ${prometheus.version}; Knative and kube-state-metrics are simulated`)
  const began = performance.now()
  const log = (line: string) =>
    print(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`)
  const recorded = await runScenario(prometheus, values.short ? 8 : 20, log)
  log('running all queries')
  const results = await check(prometheus, recorded)
  print(`\n${report(results)}`)
  if (values.results !== undefined)
    writeFileSync(values.results, JSON.stringify(await draw(prometheus, recorded)))
  if (results.some(({ right }) => !right)) process.exitCode = 1
}

// The exit handlers kill the processes that the demo has started.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

main().then(
  () => process.exit(),
  error => {
    process.stderr.write(`${inspect(error)}\n`)
    process.exit(1)
  },
)
