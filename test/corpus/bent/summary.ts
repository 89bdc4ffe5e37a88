import type { Proof } from '../../../function/inference/batchability/prove.ts'
import type { Tried } from './trial.ts'

export interface Model {
  readonly model: string
  readonly operator: string
  readonly bend: string
  /** Whether each run takes seconds. */
  readonly slow: boolean
}

export interface Verdicts {
  readonly proof?: Proof
  readonly proverFailed?: string
  readonly tried?: Tried
  readonly notRun?: string
}

export type Outcome = Model & Verdicts

const VERDICTS = [
  'proven, no difference',
  'PROVEN AND DIFFERENT',
  'PROVER FAILED',
  'refused, difference found',
  'refused, no difference',
  'not run',
] as const

type Verdict = (typeof VERDICTS)[number]

function verdict({ proof, proverFailed, tried, notRun }: Outcome): Verdict {
  if (proverFailed !== undefined) return 'PROVER FAILED'
  if (notRun !== undefined || tried === undefined || tried.compared === 0) return 'not run'
  if (proof?.isProven) return tried.difference ? 'PROVEN AND DIFFERENT' : 'proven, no difference'
  return tried.difference ? 'refused, difference found' : 'refused, no difference'
}

export const isDefect = (outcome: Outcome) =>
  verdict(outcome) === 'PROVEN AND DIFFERENT' || verdict(outcome) === 'PROVER FAILED'

/** A table by operator, and then the results that need attention. */
export function summary(outcomes: readonly Outcome[]): string {
  const of = (wanted: Verdict) => outcomes.filter(outcome => verdict(outcome) === wanted)
  const defects = outcomes.filter(isDefect)
  return [
    table(outcomes),
    `Refused, although these runs found no difference:\n${reasons(of('refused, no difference'))}`,
    `Not run:\n${reasons(of('not run'))}`,
    ...defects.map(told),
    `${outcomes.length} models, ${VERDICTS.map(name => `${of(name).length} ${name}`).join('; ')}`,
    '',
  ].join('\n\n')
}

function table(outcomes: readonly Outcome[]): string {
  const byOperator = Map.groupBy(outcomes, ({ operator }) => operator)
  const rows = [...byOperator].sort(([a], [b]) => (a < b ? -1 : 1))
  const lines = rows.map(([operator, own]) =>
    [operator, ...VERDICTS.map(name => own.filter(outcome => verdict(outcome) === name).length)]
      .map((cell, i) => (i === 0 ? `${cell}`.padEnd(28) : `${cell}`.padStart(6)))
      .join(' '),
  )
  const head = VERDICTS.map((name, i) => `${i + 1}: ${name}`).join(', ')
  const numbers = VERDICTS.map((_, i) => `${i + 1}`.padStart(6)).join(' ')
  return [head, '', `${'operator'.padEnd(28)} ${numbers}`, ...lines].join('\n')
}

/** The outcomes by operator, with the most common reason and an example model. */
function reasons(outcomes: readonly Outcome[]): string {
  const byOperator = [...Map.groupBy(outcomes, ({ operator }) => operator)]
  byOperator.sort(([, a], [, b]) => b.length - a.length)
  return byOperator
    .map(([operator, own]) => {
      const byReason = [...Map.groupBy(own, reason)].sort(([, a], [, b]) => b.length - a.length)
      const [most, models] = byReason[0] as [string, Outcome[]]
      return `${`${own.length}`.padStart(6)} ${operator}: ${models.length} × ${most} (${models[0]?.model})`
    })
    .join('\n')
}

const LONGEST_REASON = 160

function reason(outcome: Outcome): string {
  const whole = wholeReason(outcome)
  return whole.length > LONGEST_REASON ? `${whole.slice(0, LONGEST_REASON)}…` : whole
}

function wholeReason({ proof, notRun, tried }: Outcome): string {
  if (notRun !== undefined) return notRun
  if (tried?.compared === 0) return tried.failure ?? 'no run'
  // The names of nodes and tensors would make every reason different.
  return proof?.isProven === false ? proof.reason.replaceAll(/"[^"]*"/g, '"…"') : ''
}

function told(outcome: Outcome): string {
  const what = outcome.proverFailed ?? outcome.tried?.difference
  return `${verdict(outcome)}: ${outcome.model} (${outcome.operator}; ${outcome.bend})\n  ${what}`
}
