import { closedLoop } from './load.ts'
import type { Target } from './requests.ts'
import type { Metric } from './results.ts'
import type { Running, Subject } from './subjects.ts'

/*
 * The parts of a workload: contenders, which are subjects under a load, and the figures of each
 * round.
 */

export interface Workload {
  readonly name: string
  readonly title: string
  readonly metrics: readonly Metric[]
  /** The first contender is the reference. */
  readonly contenders: readonly Contender[]
  /** The number of rounds, if a round is one event (such as a startup) and not a period. */
  readonly rounds?: Rounds
  /** If true, the workload runs only with --full. */
  readonly full?: true
}

interface Rounds {
  readonly quick: number
  readonly usual: number
}

export interface Contender {
  readonly name: string
  /**
   * The subject, which runs during all rounds, and which several contenders can share. Absent if
   * `measure` starts its own subject.
   */
  readonly subject?: Subject
  /** The subject's first request, if it differs from the usual request. */
  readonly first?: Target
  /** If true, the contender does not share its subject with other contenders. */
  readonly alone?: true
  /** Measures one round. */
  measure(context: Context): Promise<Readonly<Record<string, number>>>
}

export interface Context {
  /** The contender's subject, if it has one. */
  readonly server: Running
  readonly seconds: number
  /** Our response to the usual request, for the static subjects. */
  readonly answerOfOurs: string
}

export const PER_SECOND = { name: 'requests/s', unit: '/s', better: 'more' } as const
export const P50 = { name: 'p50', unit: 'ms', better: 'less' } as const
export const P99 = { name: 'p99', unit: 'ms', better: 'less' } as const
export const CPU = { name: 'CPU/request', unit: 'µs', better: 'less' } as const
export const ROWS = { name: 'rows/s', unit: '/s', better: 'more' } as const
export const RUNS = { name: 'runs/s', unit: '/s', better: 'more' } as const
export const PROBE_P99 = { name: 'probe p99', unit: 'ms', better: 'less' } as const
export const SINGLE_P99 = { name: 'single row p99', unit: 'ms', better: 'less' } as const
export const PEAK = { name: 'peak RSS', unit: 'MiB', better: 'less' } as const
export const LAG = { name: 'load’s own lag p99', unit: 'ms', better: 'less' } as const
export const START = { name: 'start to first 200', unit: 'ms', better: 'less' } as const

/** Sends requests in sequence on this many connections. `CPU/request` is user and system time. */
export function underLoad(
  subject: Subject,
  target: Target,
  connections: number,
  name = subject.name,
): Contender {
  return {
    name,
    subject,
    async measure({ server, seconds }) {
      const before = server.cpuMs()
      const result = await closedLoop(server.port, target.at(subject.path), connections, {
        seconds,
      })
      const cpuMs = server.cpuMs() - before
      return {
        'requests/s': result.perSecond,
        p50: result.p50,
        p99: result.p99,
        'CPU/request': (cpuMs * 1_000) / result.allRequests,
        loadBusy: result.loadBusy,
      }
    },
  }
}
