// Queries the registry for known vulnerabilities of the shipped packages. Exits with 1 if one is
// above low severity.
//
//   node scripts/audit.mjs
//
// If the registry is unreachable, or is a mirror without advisories, prints that nothing was
// audited, and exits with 0, so that the other checks can run without a network.
import { spawnSync } from 'node:child_process'
import { shippedPackages } from './shipped.mjs'

const { stdout, error } = spawnSync('npm', ['audit', '--json'], {
  encoding: 'utf8',
  timeout: 120_000,
})
const report = parse(stdout)
if (report?.auditReportVersion === undefined) {
  const reason =
    error?.message ?? (report?.error?.summary || report?.message) ?? 'no report received'
  process.stdout.write(`NOT audited: the registry returned no audit report (${reason})\n`)
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
  `${shipped.size} packages, ${found.length} with known vulnerabilities, ${grave.length} above low severity\n`,
)
process.exit(grave.length === 0 ? 0 : 1)

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
