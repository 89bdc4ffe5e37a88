import { closedLoop } from './load.ts'
import type { Target } from './requests.ts'
import type { Metric } from './results.ts'
import type { Running, Subject } from './subjects.ts'

/* A workload has contenders, which are subjects under a load, and the figures of each round. */

export interface Workload {
  readonly name: string
  readonly title: string
  readonly metrics: readonly Metric[]
  /** The first contender is the reference. */
  readonly contenders: readonly Contender[]
  /** Set if a round is one event, such as a startup, and not a period. */
  readonly rounds?: Rounds
  /** Whether the workload is measured only with --full. */
  readonly full?: true
}

interface Rounds {
  readonly quick: number
  readonly usual: number
}

export interface Contender {
  readonly name: string
  /**
   * Runs during all rounds; contenders may share it. Absent if `measure` starts its own subject.
   */
  readonly subject?: Subject
  /** The first request, if it differs from the usual one. */
  readonly first?: Target
  readonly alone?: true
  measure(context: Context): Promise<Readonly<Record<string, number>>>
}

export interface Context {
  readonly server: Running
  readonly seconds: number
  /** Our response to the usual request. The static subjects send this response. */
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

/** Each connection sends one request after the other. `CPU/request` is user and system time. */
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
