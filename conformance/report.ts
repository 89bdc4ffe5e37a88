import type { Outcome, Result } from './ask.ts'
import manifest from './package.json' with { type: 'json' }
import type { Target } from './point.ts'

export interface Subject {
  readonly url: string
  readonly model: string
  readonly version: string | undefined
}

export type Totals = Readonly<Record<Result['level'], Readonly<Record<Outcome, number>>>>

export function totalsOf(results: readonly Result[]): Totals {
  const count = (level: Result['level'], outcome: Outcome) =>
    results.filter(result => result.level === level && result.outcome === outcome).length
  const row = (level: Result['level']) => ({
    pass: count(level, 'pass'),
    fail: count(level, 'fail'),
    'not applicable': count(level, 'not applicable'),
  })
  return { required: row('required'), stricter: row('stricter') }
}

const MARKS: Readonly<Record<Outcome, string>> = { pass: '✓', fail: '✗', 'not applicable': '–' }

const padded = (text: string, width: number) =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width)

export function tableOf(results: readonly Result[], width: number): string {
  const rest = Math.max(width - 20, 60)
  const [point, source, expected] = [0.36, 0.2, 0.2].map(share => Math.floor(rest * share)) as [
    number,
    number,
    number,
  ]
  const widths = [1, 8, point, source, expected, rest - point - source - expected]
  const row = (cells: readonly string[]) =>
    cells
      .map((cell, i) => padded(cell, widths[i] as number))
      .join('  ')
      .trimEnd()
  const lines = [row(['', 'level', 'point', 'section', 'expected', 'got'])]
  let group = ''
  for (const result of results) {
    if (result.group !== group) lines.push('', `${result.group}`)
    group = result.group
    lines.push(
      row([
        MARKS[result.outcome],
        result.level,
        result.point,
        result.source,
        result.expected,
        result.got,
      ]),
    )
  }
  return lines.join('\n')
}

export const failuresOf = (results: readonly Result[]): string =>
  results
    .filter(({ outcome }) => outcome === 'fail')
    .map(({ group, point, source, level, expected, got }) =>
      [
        `✗ ${level}, ${group}: ${point}`,
        `  section   ${source}`,
        `  expected  ${expected}`,
        `  got       ${got}`,
      ].join('\n'),
    )
    .join('\n')

export function summaryOf(results: readonly Result[]): string {
  const row = (name: string, { required, stricter }: Totals) =>
    name.padEnd(12) +
    [required, stricter]
      .map(({ pass, fail, 'not applicable': none }) =>
        [pass, fail, none].map(n => String(n).padStart(7)).join(''),
      )
      .join('  |')
  const names = [...new Set(results.map(({ group }) => group))]
  return [
    `${''.padEnd(12)}             required  |             stricter`,
    `${''.padEnd(12)}   pass   fail    n/a  |   pass   fail    n/a`,
    ...names.map(name => row(name, totalsOf(results.filter(({ group }) => group === name)))),
    row('all', totalsOf(results)),
  ].join('\n')
}

export function verdictOf({ url, model }: Subject, results: readonly Result[]): string {
  const { required, stricter } = totalsOf(results)
  const failed = (row: Totals['required']) => `${row.fail} of ${row.pass + row.fail}`
  const kept =
    required.pass === 0
      ? 'has no applicable required points'
      : `passes all ${required.pass} required points that apply`
  const first =
    required.fail === 0
      ? kept
      : `does not conform to the protocol: ${failed(required)} required points fail`
  if (stricter.fail > 0)
    return `${model} at ${url} ${first}; ${failed(stricter)} stricter points fail.`
  return `${model} at ${url} ${first}${stricter.pass === 0 ? '' : ` and all ${stricter.pass} stricter points`}.`
}

export const jsonOf = (subject: Subject, target: Target, results: readonly Result[]): string =>
  `${JSON.stringify(
    {
      suite: { name: manifest.name, version: manifest.version, node: process.version },
      date: new Date().toISOString(),
      ...subject,
      extensions: target.extensions,
      totals: totalsOf(results),
      points: results,
    },
    null,
    2,
  )}\n`

/** A stricter point that fails is also a failure in JUnit, in a test suite for stricter points. */
export function junitOf({ url, model }: Subject, results: readonly Result[]): string {
  const suites = [...new Set(results.map(({ group, level }) => `${group} (${level})`))].map(
    suite => {
      const cases = results.filter(({ group, level }) => `${group} (${level})` === suite)
      const count = (outcome: Outcome) => cases.filter(result => result.outcome === outcome).length
      return [
        `  <testsuite name="${xml(suite)}" tests="${cases.length}" failures="${count('fail')}" errors="0" skipped="${count('not applicable')}">`,
        ...cases.map(caseOf),
        '  </testsuite>',
      ].join('\n')
    },
  )
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="${xml(`${model} at ${url}`)}">\n${suites.join('\n')}\n</testsuites>\n`
}

function caseOf({ group, point, source, expected, got, outcome, milliseconds }: Result): string {
  const open = `    <testcase classname="${xml(group)}" name="${xml(point)}" time="${milliseconds / 1000}"`
  if (outcome === 'pass') return `${open}/>`
  if (outcome === 'not applicable') return `${open}><skipped message="${xml(got)}"/></testcase>`
  return `${open}><failure message="${xml(got)}">${xml(`${source}; expected ${expected}`)}</failure></testcase>`
}

/** XML 1.0 cannot express most control characters. */
const xml = (text: string) =>
  text
    .toWellFormed()
    .replaceAll(/(?![\t\n\r])\p{Cc}|[\ufffe\uffff]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
