// Asks the registry for known vulnerabilities in the shipped packages, and fails on any above low
// severity:
//
//   node scripts/audit.mjs
//
// A registry that is unreachable or has no advisories (a mirror, a machine without network) proves
// nothing. The script then says so and exits 0, so that a change can be checked there, too.
import { spawnSync } from 'node:child_process'
import { shippedPackages } from './shipped.mjs'

const { stdout, error } = spawnSync('npm', ['audit', '--json'], {
  encoding: 'utf8',
  timeout: 120_000,
})
const report = parse(stdout)
if (report?.auditReportVersion === undefined) {
  const reason =
    error?.message ?? (report?.error?.summary || report?.message) ?? 'it gave no report'
  process.stdout.write(`NOT audited: the registry does not tell of vulnerabilities (${reason})\n`)
  process.exit(0)
}
const shipped = await shippedPackages()
const found = Object.values(report.vulnerabilities).filter(({ nodes }) =>
  nodes.some(path => shipped.has(path)),
)
for (const { name, severity, via } of found) {
  const titles = via.map(cause =>
    typeof cause === 'string' ? cause : `${cause.range}: ${cause.title} ${cause.url}`,
  )
  process.stdout.write(`${severity}: ${name} ${titles.join('; ')}\n`)
}
const grave = found.filter(({ severity }) => !['info', 'low'].includes(severity))
process.stdout.write(
  `${shipped.size} packages, ${found.length} with known vulnerabilities, ${grave.length} more than low\n`,
)
process.exit(grave.length === 0 ? 0 : 1)

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
