/*
 * The dashboards, rules and alerts on real data:
 *
 *   npm run demo --prefix monitoring [-- --short] [-- --results FILE]
 *
 * A real Prometheus scrapes the function during a scripted scenario. Then every query is asked, and
 * each answer must follow from the traffic. stand-in.ts exports what only a cluster has. Exits with 1
 * where an answer is wrong.
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
  print(`Prometheus ${prometheus.version}; Knative and kube-state-metrics are a stand-in`)
  const began = performance.now()
  const log = (line: string) =>
    print(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`)
  const recorded = await runScenario(prometheus, values.short ? 8 : 20, log)
  log('every query is asked')
  const results = await check(prometheus, recorded)
  print(`\n${report(results)}`)
  if (values.results !== undefined)
    writeFileSync(values.results, JSON.stringify(await draw(prometheus, recorded)))
  if (results.some(({ right }) => !right)) process.exitCode = 1
}

// On exit the processes it started are killed.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

main().then(
  () => process.exit(),
  error => {
    process.stderr.write(`${inspect(error)}\n`)
    process.exit(1)
  },
)
