import type { Check } from './compare.ts'
import type { Decision, Look } from './decide.ts'
import type { Canary } from './rollout/state.ts'

export interface Report {
  readonly object: string
  readonly mode: string
  readonly canary?: Canary
  readonly look?: Look
  readonly alpha?: number
  readonly checks: readonly Check[]
  readonly decision: Decision
  /** Whether the change was applied; false in a dry run. */
  readonly applied: boolean
}

const COLUMNS = ['check', 'old', 'new', 'test', 'effect', 'p', 'verdict'] as const

export function showP(p: number | undefined): string {
  if (p === undefined) return '–'
  if (p < 1e-99) return '< 1e-99'
  return p >= 0.001 ? p.toFixed(3) : p.toExponential(0)
}

export function said({ decision: { action, to, reason }, canary, applied }: Report): string {
  const words = to === undefined ? action : `${action}, ${canary?.percent} % → ${to} %`
  return `${words}: ${reason}${to === undefined || applied ? '' : ' (dry run: nothing was changed)'}`
}

export function table(report: Report): string {
  const { object, mode, canary, look, alpha, checks } = report
  const head = [`${object} (${mode})`]
  if (canary !== undefined) {
    head.push(
      `${canary.new.name} at ${canary.percent} % beside ${canary.old.name}, set by ${canary.setBy}`,
    )
    if (look !== undefined && alpha !== undefined)
      head.push(
        `look ${look.number}, ${look.seconds} s into the step; p below ${alpha.toExponential(1)} is significant`,
      )
  }
  const rows = [
    COLUMNS.map(String),
    ...checks.map(check =>
      COLUMNS.map(column => (column === 'p' ? showP(check.p) : check[column])),
    ),
  ]
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map(row => (row[i] as string).length)))
  const lines = rows.map(row =>
    row
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join('  ')
      .trimEnd(),
  )
  return [...head, ...(checks.length === 0 ? [] : ['', ...lines]), '', said(report), ''].join('\n')
}

export const note = (report: Report) =>
  [
    said(report),
    ...report.checks.map(
      ({ check, old, new: fresh, test, effect, p, verdict }) =>
        `${check} ${verdict}: ${old} | ${fresh}; ${effect}; p ${showP(p)} (${test})`,
    ),
  ].join('\n')

export function progress({ canary, look, checks, decision: { action, reason } }: Report): string {
  const at =
    canary === undefined
      ? []
      : [`${canary.percent} %${look === undefined ? '' : `, look ${look.number}`}`]
  const verdicts =
    checks.length === 0
      ? []
      : [checks.map(({ check, verdict }) => `${check} ${verdict}`).join(', ')]
  return [...at, ...verdicts, `${action}: ${reason}`].join('  ')
}
