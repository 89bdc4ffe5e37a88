import { fillIn } from './check.ts'
import { readDashboards } from './dashboards.ts'
import { DASHBOARDS } from './expected/dashboards.ts'
import type { Prometheus, RangeSeries } from './prometheus.ts'
import type { Moment, Recorded } from './scenario.ts'

/* The results of all panels, for ../grafana/render.ts. */

export interface Drawing {
  readonly prometheus: string
  readonly began: number
  readonly dashboards: readonly {
    readonly uid: string
    /** The time at which the dashboard was opened, in seconds since 1970. */
    readonly opened: number
    readonly panels: readonly (readonly RangeSeries[])[][]
  }[]
}

const OPENED: Readonly<Record<string, Moment>> = { Inference: 'overload', Canary: 'canary' }

export async function draw(prometheus: Prometheus, recorded: Recorded): Promise<Drawing> {
  const dashboards = []
  for (const { uid, title, panels } of readDashboards()) {
    const at = OPENED[title] ?? 'again'
    const opened = recorded.moments[at]
    const variables = DASHBOARDS[title]?.variables ?? {}
    const answers: RangeSeries[][][] = []
    for (const { targets = [] } of panels) {
      const ask = async (expr: string, instant = false): Promise<RangeSeries[]> => {
        const query = fillIn(expr, recorded, { at, variables })
        if (!instant) return prometheus.range(query, recorded.began, opened)
        const found = await prometheus.query(query, opened)
        return found.map(({ labels, value }) => ({ labels, values: [[opened, String(value)]] }))
      }
      answers.push(await Promise.all(targets.map(({ expr, instant }) => ask(expr, instant))))
    }
    dashboards.push({ uid, opened, panels: answers })
  }
  return { prometheus: prometheus.version, began: recorded.began, dashboards }
}
