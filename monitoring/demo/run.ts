/*
 * The dashboards, rules and alerts on real data:
 *
 *   npm run monitoring:demo [-- --short] [-- --results FILE]
 *
 * A real Prometheus scrapes the function through a scripted life; then every query is asked, and each answer must be what the script
 * caused. What only a cluster has comes from a stand-in (stand-in.ts). Exits with 1 if an answer is another.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { expect } from './expected.ts'
import { judge } from './judge.ts'
import { live } from './life.ts'
import { startPrometheus } from './prometheus.ts'
import { record } from './record.ts'
import { summary, table, wrong } from './show.ts'

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, results: { type: 'string' } },
})
const say = (line: string) => process.stdout.write(`${line}\n`)

async function main(): Promise<void> {
  const prometheus = await startPrometheus()
  try {
    say(
      `Prometheus ${prometheus.version}; Knative, its Broker and kube-state-metrics are a stand-in`,
    )
    const began = performance.now()
    const tell = (what: string) =>
      say(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${what}`)
    const life = await live(prometheus, values.short ? 8 : 20, tell)
    tell('every query is asked')
    const verdicts = await judge(prometheus, life, expect(life))
    say(`\n${table(verdicts, process.stdout.columns ?? 200)}\n`)
    const mistakes = wrong(verdicts)
    if (mistakes !== '') say(`${mistakes}\n`)
    say(summary(verdicts))
    if (values.results !== undefined)
      writeFileSync(values.results, JSON.stringify(await record(prometheus, life, verdicts)))
    if (mistakes !== '') process.exitCode = 1
  } finally {
    await prometheus.stop()
  }
}

// So that what it started is ended with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

main().then(
  () => process.exit(),
  error => {
    process.stderr.write(`${error.stack}\n`)
    process.exit(1)
  },
)
