import { figuresOf, type Results } from './results.ts'
import { ratio, type Spread } from './statistics.ts'

/*
 * The chart of docs/performance.md: a panel per metric, a bar per subject, and on each bar a line
 * for the range over the rounds.
 */

interface Panel {
  readonly title: string
  readonly workload: string
  readonly metric: string
  readonly over: string
  readonly better: 'more' | 'less'
}

const STATIC = 'node:http, static response'
const NODE_HTTP = 'node:http, one run per request'
const OURS = 'onnx-function'

const PANELS: readonly Panel[] = [
  {
    title: 'Requests per second, 64 connections',
    workload: 'connections-64',
    metric: 'requests/s',
    over: STATIC,
    better: 'more',
  },
  {
    title: 'Requests per second, 64 connections, with peers',
    workload: 'peers-connections-64',
    metric: 'requests/s',
    over: STATIC,
    better: 'more',
  },
  {
    title: 'Median time, 1 connection',
    workload: 'connections-1',
    metric: 'p50',
    over: STATIC,
    better: 'less',
  },
  {
    title: 'Rows per second, 1,024 rows as JSON',
    workload: 'rows-json',
    metric: 'rows/s',
    over: 'session.run in a loop',
    better: 'more',
  },
  {
    title: 'Start to first response',
    workload: 'start',
    metric: 'start to first 200',
    over: NODE_HTTP,
    better: 'less',
  },
  {
    title: 'Start to first response, with peers',
    workload: 'peers-start',
    metric: 'start to first 200',
    over: NODE_HTTP,
    better: 'less',
  },
  { title: 'Memory, idle', workload: 'memory', metric: 'idle', over: NODE_HTTP, better: 'less' },
  {
    title: 'Memory, idle, with peers',
    workload: 'peers-memory',
    metric: 'idle',
    over: NODE_HTTP,
    better: 'less',
  },
]

const WIDTH = 960
const COLUMN = 470
const GAP = 20
const BAR = 20
const HEAD = 46
const FOOT = 18
const LABEL = 228
const SCALE = COLUMN - LABEL - 58

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 14px; font-weight: 600 }
  .note { fill: #57606a; font-size: 11px }
  .bar { fill: #afb8c1 } .ours { fill: #0969da } .label-ours { font-weight: 600 }
  .spread { stroke: #24292f; stroke-width: 1.25 } .one { stroke: #57606a; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #545d68 } .ours { fill: #4493f8 }
    .spread { stroke: #e6edf3 } .one { stroke: #9198a1 }
  }`

export function chart(results: Results): string {
  const panels = PANELS.map(panel => ({ panel, bars: barsOf(results, panel) })).filter(
    ({ bars }) => bars.length > 1,
  )
  // Each panel goes below the shorter column.
  const bottoms = [0, 0]
  const drawn = panels.map(({ panel, bars }) => {
    const column = (bottoms[0] as number) <= (bottoms[1] as number) ? 0 : 1
    const top = bottoms[column] as number
    bottoms[column] = top + HEAD + bars.length * BAR + FOOT
    return `<g transform="translate(${column * (COLUMN + GAP)} ${top})">${draw(panel, bars)}</g>`
  })
  const height = Math.max(...bottoms, 1)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="onnx-function beside floors and peers">
<style>${STYLE}
</style>
${drawn.join('\n')}
</svg>
`
}

interface Bar {
  readonly name: string
  readonly figure: Spread
}

function barsOf(results: Results, { workload, metric, over, better }: Panel): readonly Bar[] {
  const reference = figuresOf(results, workload, over, metric)
  if (reference === undefined) return []
  const names = Object.keys(results.workloads[workload]?.contenders ?? {})
  const bars = names.flatMap(name => {
    const values = figuresOf(results, workload, name, metric)
    return values === undefined ? [] : [{ name, figure: ratio(values, reference) }]
  })
  return bars.sort((a, b) =>
    better === 'more' ? b.figure.median - a.figure.median : a.figure.median - b.figure.median,
  )
}

function draw({ title, over, better }: Panel, bars: readonly Bar[]): string {
  const longest = Math.max(...bars.map(({ figure }) => figure.median))
  const x = (value: number) => LABEL + Math.min(value / longest, 1.05) * SCALE
  const px = (value: number) => value.toFixed(1)
  const one = `<line class="one" x1="${px(x(1))}" x2="${px(x(1))}" y1="${HEAD - 4}" y2="${HEAD + bars.length * BAR}"/>`
  const rows = bars.map(({ name, figure: { median, min, max } }, index) => {
    const y = HEAD + index * BAR
    const middle = y + BAR / 2
    const isOurs = name === OURS
    return `<text x="${LABEL - 8}" y="${middle + 4}" text-anchor="end"${isOurs ? ' class="label-ours"' : ''}>${escaped(name)}</text>
<rect class="bar${isOurs ? ' ours' : ''}" x="${LABEL}" y="${y + 3}" width="${px(x(median) - LABEL)}" height="${BAR - 6}" rx="2"/>
<line class="spread" x1="${px(x(min))}" x2="${px(x(max))}" y1="${middle}" y2="${middle}"/>
<text x="${px(Math.max(x(median), x(max)) + 6)}" y="${middle + 4}">${median >= 10 ? median.toFixed(1) : median.toFixed(2)}</text>`
  })
  return `<text class="title" x="0" y="18">${escaped(title)}</text>
<text class="note" x="0" y="35">1 = ${escaped(over)}; ${better === 'more' ? 'longer' : 'shorter'} is better</text>
${one}
${rows.join('\n')}`
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
