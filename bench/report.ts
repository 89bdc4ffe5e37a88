import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chart } from './chart.ts'
import {
  chartFile,
  type Figures,
  type Metric,
  type Results,
  readResults,
  resultsFile,
  type WorkloadResult,
} from './results.ts'
import { ratio, type Spread, spread } from './statistics.ts'
import { type Reached, reached } from './targets.ts'

/* As a program, rewrites bench/results.md and the chart from results/latest.json. */

export function digits(value: number): string {
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', {
    minimumFractionDigits: places,
    maximumFractionDigits: places,
  })
}

export const spreadText = ({ median, min, max }: Spread) =>
  `${digits(median)} (${digits(min)}–${digits(max)})`

const withUnit = (value: string, unit: string) =>
  unit.startsWith('/') ? `${value}${unit}` : `${value} ${unit}`

/**
 * One row per contender. Each figure is divided by the reference's figure in the same round; the
 * reference's row shows the absolute figure.
 */
export function rowsOf(workload: WorkloadResult): readonly (readonly string[])[] {
  const { contenders, metrics, reference } = workload
  return [
    [
      workload.title,
      ...metrics.map(({ name, better }) => `${name} ${better === 'more' ? '↑' : '↓'}`),
    ],
    ...Object.entries(contenders).map(([name, figures]) => {
      if ('failed' in figures) return [name, `not measured: ${figures.failed}`]
      return [
        name,
        ...metrics.map(metric =>
          cell(figures as Figures, contenders[reference], metric, name === reference),
        ),
      ]
    }),
  ]
}

function cell(
  figures: Figures,
  reference: WorkloadResult['contenders'][string] | undefined,
  { name, unit }: Metric,
  isReference: boolean,
): string {
  const values = figures[name]
  if (values === undefined) return '–'
  const over =
    reference === undefined || 'failed' in reference ? undefined : (reference as Figures)[name]
  // The reference may lack a figure: session.run in a loop, for example, has no probes.
  if (over === undefined) return withUnit(spreadText(spread(values)), unit)
  if (isReference) return `1 = ${withUnit(digits(spread(values).median), unit)}`
  return spreadText(ratio(values, over))
}

export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map(row => row.length))
  const notes = (row: readonly string[]) => row.length < columns
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(
      ...rows.filter(row => column === 0 || !notes(row)).map(row => row[column]?.length ?? 0),
    ),
  )
  return rows
    .map(row =>
      row
        .map((text, column) =>
          text.padEnd(notes(row) && column > 0 ? 0 : (widths[column] as number)),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function markdown(rows: readonly (readonly string[])[]): string {
  const [header = [], ...others] = rows
  const line = (row: readonly string[]) =>
    `| ${[...row, ...Array<string>(header.length - row.length).fill('')].join(' | ')} |`
  return [line(header), `|${header.map(() => '---|').join('')}`, ...others.map(line)].join('\n')
}

const limitOf = ({ atLeast, atMost, unit, over }: Reached) =>
  `${atLeast === undefined ? '≤' : '≥'} ${atLeast ?? atMost}${over === undefined ? ` ${unit}` : ' ×'}`

const yesNo = (value: boolean | undefined) =>
  value === undefined ? 'not measured' : value ? 'yes' : '**no**'

export const targetRows = (results: Results): readonly (readonly string[])[] => [
  ['figure', 'target', 'measured', 'reached'],
  ...reached(results).map(target => [
    target.what,
    limitOf(target),
    target.figure === undefined
      ? '–'
      : spreadText(target.figure) + (target.over === undefined ? ` ${target.unit}` : ''),
    yesNo(target.isReached),
  ]),
]

export function machineLines(results: Results): readonly string[] {
  const runs = Object.values(results.workloads).map(({ run }) => run)
  const all = (pick: (run: (typeof runs)[number]) => string) =>
    [...new Set(runs.map(pick))].join('; ')
  const versions = Object.assign({}, ...runs.map(({ versions }) => versions)) as Record<
    string,
    string
  >
  return [
    `Machine: ${all(({ machine }) => machine)}; ${all(({ pinned }) => pinned)}.`,
    `Measured: ${all(({ date }) => date.slice(0, 10))}; ${all(({ rounds, seconds }) => `${rounds} rounds of ${seconds} s`)}.`,
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
  ]
}

function commandRows(results: Results): readonly (readonly string[])[] {
  const commands: Record<string, string> = Object.assign(
    {},
    ...Object.values(results.workloads).map(({ run }) => run.commands),
  )
  return [
    ['subject', 'command'],
    ...Object.entries(commands).map(([name, command]) => [name, `\`${command}\``]),
  ]
}

function page(results: Results): string {
  const machine = machineLines(results).map(line => `- ${line}`)
  const tables = Object.values(results.workloads).map(workload => markdown(rowsOf(workload)))
  return `# Benchmark results

\`node bench/report.ts\` generates this page from \`bench/results/latest.json\`. [README.md](README.md) describes the commands,
the subjects and how to read a table; [Performance](../docs/performance.md) explains the results.

## Targets

Each figure is the median over the rounds, with the range in brackets. No test enforces the targets.

${markdown(targetRows(results))}

## Machine and versions

${machine.join('\n')}

## Commands

${markdown(commandRows(results))}

## Figures

In each table, the figures are ratios: each figure of a round is divided by the first subject's figure of the same round. The first subject's
row shows the absolute figure. If the first subject does not have a figure, the other rows show absolute figures. ↑ means more is better, ↓
means less is better.

${tables.join('\n\n')}
`
}

export function writeReport(results: Results): void {
  writeFileSync(chartFile(false), chart(results))
  writeFileSync(fileURLToPath(new URL('results.md', import.meta.url)), page(results))
}

if (import.meta.main) writeReport(readResults(resultsFile(false)))
