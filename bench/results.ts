import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The raw figures of every round, from which the tables show ratios. */
export interface Results {
  readonly workloads: Readonly<Record<string, WorkloadResult>>
}

export interface WorkloadResult {
  readonly title: string
  /** The denominator of all ratios. */
  readonly reference: string
  readonly metrics: readonly Metric[]
  /** One figure per round for each metric, or the reason why the contender was not measured. */
  readonly contenders: Readonly<Record<string, Figures | { readonly failed: string }>>
  readonly run: Run
}

export type Figures = Readonly<Record<string, readonly number[]>>

export interface Metric {
  readonly name: string
  readonly unit: string
  readonly better: 'more' | 'less'
}

export interface Run {
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly machine: string
  readonly pinned: string
  readonly versions: Readonly<Record<string, string>>
  readonly commands: Readonly<Record<string, string>>
}

const inResults = (file: string) => fileURLToPath(new URL(`results/${file}`, import.meta.url))

/** Quick runs have their own files; the documentation does not use their figures. */
export const resultsFile = (quick: boolean) => inResults(quick ? 'quick.json' : 'latest.json')
export const chartFile = (quick: boolean) => inResults(quick ? 'quick.svg' : 'chart.svg')

/** A workload keeps its earlier figures until it is measured again. */
export function readResults(file: string): Results {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { workloads: {} }
  }
}

export function writeResults(file: string, results: Results): void {
  const rounded = (_key: string, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value
  const text = JSON.stringify(results, rounded, 2)
  writeFileSync(
    file,
    `${text.replaceAll(/\[\s+([-\d.e+,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replaceAll(/\s+/g, ' ')}]`)}\n`,
  )
}

export function figuresOf(
  results: Results,
  workload: string,
  contender: string,
  metric: string,
): readonly number[] | undefined {
  const figures = results.workloads[workload]?.contenders[contender]
  if (figures === undefined || 'failed' in figures) return undefined
  return (figures as Figures)[metric]
}
