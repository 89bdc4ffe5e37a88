import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Claim, Row } from './fault.ts'
import { NAMES, type Name, rowsOf } from './faults.ts'

const USAGE = `npm run reliability --prefix test/system -- [NAME…] [--long] [--seed N] [--write]

NAME     ${NAMES.join(', ')}; by default, all names
--long   runs the long form, which takes up to 30 minutes per name; the short form takes seconds
--write  writes the results into test/system/reliability/results.md

Exit code: 0 if every claim held, 1 if a claim did not hold, 2 for an invalid argument.
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    long: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string) => void process.stdout.write(`${line}\n`)
const seed = Number(values.seed)
const unknown = positionals.find(name => !NAMES.includes(name as Name))
if (values.help) {
  say(USAGE)
  process.exit(0)
}
if (unknown !== undefined || !Number.isSafeInteger(seed)) {
  process.stderr.write(
    `${unknown === undefined ? `--seed is ${values.seed}; it must be an integer` : `unknown name: ${unknown}; allowed: ${NAMES.join(', ')}`}\n\n${USAGE}`,
  )
  process.exit(2)
}

const held = ({ holds, measurement }: Claim) => holds || (measurement === true && !values.long)
/** The table shows the count of a status as `900 × 408`. */
const isStatus = (what: string) => /^\d/.test(what)
const countsOf = ({ counts }: Row) =>
  Object.entries(counts)
    .map(([what, n]) => `${n.toLocaleString('en')} ${isStatus(what) ? '× ' : ''}${what}`)
    .join(', ')
const mark = (claim: Claim) =>
  claim.holds
    ? 'yes'
    : claim.measurement === true && !values.long
      ? 'not in this short run'
      : '**no**'

function write(name: Name, rows: readonly Row[], command: string): void {
  const path = fileURLToPath(new URL('results.md', import.meta.url))
  const lines = [
    '| fault | counts | claim that must hold | measured | claim held |',
    '|---|---|---|---|---|',
    ...rows.flatMap(row =>
      row.notRun !== undefined
        ? `| ${row.fault} | | | not run: ${row.notRun} | |`
        : row.claims.map(
            (claim, i) =>
              `| ${i === 0 ? row.fault : ''} | ${i === 0 ? countsOf(row) : ''} | ${claim.what} | ${claim.measured} | ${mark(claim)} |`,
          ),
    ),
    '',
    `\`${command}\`, ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}.`,
  ]
  const before = readFileSync(path, 'utf8')
  const after = before.replace(
    new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- / -->)`),
    (_, from, to) => `${from}${lines.join('\n')}\n${to}`,
  )
  if (after === before && !before.includes(`<!-- ${name} -->`))
    throw new Error(`${path} has no marks <!-- ${name} --> and <!-- / -->`)
  writeFileSync(path, after)
}

let allHeld = true
for (const name of positionals.length > 0 ? (positionals as Name[]) : NAMES) {
  const command = `npm run reliability --prefix test/system -- ${name}${values.long ? ' --long' : ''} --seed ${seed}`
  say(`\n${command}`)
  const rows: Row[] = []
  for await (const row of rowsOf(name, {
    long: values.long,
    seed,
    progress: line => say(`  … ${line}`),
  })) {
    rows.push(row)
    say(`  ${row.fault}: ${row.notRun === undefined ? countsOf(row) : `NOT RUN: ${row.notRun}`}`)
    for (const claim of row.claims)
      say(`    ${claim.holds ? '✔' : held(claim) ? '–' : '✖'} ${claim.what}: ${claim.measured}`)
  }
  allHeld &&= rows.every(({ claims }) => claims.every(held))
  if (values.write) write(name, rows, command)
}
process.exitCode = allHeld ? 0 : 1
