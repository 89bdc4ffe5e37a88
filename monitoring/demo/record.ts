import { type Dashboard, fillIn, type Panel, readDashboards, type Verdict } from './judge.ts'
import { IRIS, type Life, type Moment } from './life.ts'
import type { Labels, Prometheus } from './prometheus.ts'

/*
 * What the panels would show of the whole life, for those who draw it (../grafana/render.ts).
 */

export interface Drawn {
  readonly panel: Panel
  readonly results: readonly {
    readonly labels: Labels
    readonly values: readonly (readonly [at: number, value: string])[]
  }[][]
}

export interface Recording {
  readonly prometheus: string
  readonly began: number
  readonly ended: number
  readonly moments: Readonly<Record<Moment, number>>
  readonly dashboards: readonly {
    readonly dashboard: Dashboard
    readonly panels: readonly Drawn[]
  }[]
  readonly verdicts: readonly Verdict[]
}

/** For a dashboard that is opened at another moment than at the end. */
const OPENED: Readonly<
  Record<string, { at: Moment; variables?: Readonly<Record<string, string>> }>
> = {
  Inference: { at: 'overload' },
  'Scale to zero': { at: 'again' },
  Canary: {
    at: 'canary',
    variables: { service: IRIS.service, revision: IRIS.canary, baseline: IRIS.stable },
  },
}

export async function record(
  prometheus: Prometheus,
  life: Life,
  verdicts: readonly Verdict[],
): Promise<Recording> {
  const { began, ended, moments } = life
  const dashboards = []
  for (const dashboard of readDashboards()) {
    const { at, variables = {} } = OPENED[dashboard.title] ?? { at: 'again' as const }
    const panels: Drawn[] = []
    for (const panel of dashboard.panels) {
      const results = []
      for (const { expr, instant } of panel.targets ?? []) {
        const query = fillIn(expr, life, { at, variables })
        if (instant) {
          const series = await prometheus.query(query, moments[at])
          results.push(
            series.map(({ labels, value }) => ({
              labels,
              values: [[moments[at], String(value)] as const],
            })),
          )
        } else {
          results.push(await prometheus.range(query, began, moments[at], 0.5))
        }
      }
      panels.push({ panel, results })
    }
    dashboards.push({ dashboard, panels })
  }
  return { prometheus: prometheus.version, began, ended, moments, dashboards, verdicts }
}
