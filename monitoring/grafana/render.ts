/*
 * Draws the results of the dashboards' queries in the demo:
 *
 * npm run render --prefix monitoring -- RESULTS FOLDER
 *
 * THE PICTURES ARE NOT FROM GRAFANA: the panels' positions, titles, units and thresholds are those
 * of Grafana, but a chart library draws the panels, and Chromium takes the pictures.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as echarts from 'echarts'
import { readDashboards } from '../demo/dashboards.ts'
import type { Drawing } from '../demo/drawing.ts'
import { DASHBOARDS } from './generate.ts'
import type { Panel, Query } from './panels.ts'

const [results = '', folder = '.'] = process.argv.slice(2)
const drawing: Drawing = JSON.parse(readFileSync(results, 'utf8'))

const [WIDTH, HEAD, ROW, GAP] = [1600, 96, 38, 8]
const COLUMN = (WIDTH - 32) / 24
/** A line does not connect points that are further apart than this. */
const GAP_MS = 3_000
const [green, yellow, blue, red] = ['#73bf69', '#fade2a', '#5794f2', '#f2495c'] as const
const COLORS = { green, yellow, blue, red, text: '#d8d9da' }
/** Series names with a fixed colour, as in panels.ts. */
const NAMED = { [red]: /(^|, )error$|^5..$|^limit$/, [green]: /(^|, )success$/ }
const STYLE = `
  body { margin: 0; background: #111217; color: #ccccdc; font: 13px sans-serif; width: ${WIDTH}px }
  header { padding: 14px 16px; height: 68px; box-sizing: border-box } main { position: relative }
  h1 { font-size: 20px; margin: 0 0 4px } .not { color: ${yellow} } .row h2 { font-weight: 600 }
  section { position: absolute; box-sizing: border-box; padding: 6px 8px; overflow: hidden }
  section:not(.row) { background: #181b1f; border: 1px solid #2c3235 } h2 { font: 13px sans-serif; margin: 0 }
  .values { display: flex; justify-content: space-around; align-items: center; height: 90%; text-align: center }
  .values b { font-size: 30px; font-weight: 500; display: block } code { background: #2c3235 }
  table { border-collapse: collapse; width: 100%; font-size: 12px } td b { font-weight: 400 }
  i { display: inline-block; height: 14px; margin-right: 8px; vertical-align: middle } td { white-space: nowrap }
  th, td { padding: 4px 6px; border-bottom: 1px solid #2c3235; text-align: left }`

interface Line {
  readonly query: Query
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly points: readonly (readonly [at: number, value: number])[]
}

interface View {
  readonly panel: Panel
  readonly lines: readonly Line[]
  readonly opened: number
  readonly width: number
  readonly height: number
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const short = (value: number) => String(Number(value.toPrecision(3)))

const UNITS: Readonly<Record<string, (value: number) => string>> = {
  s: value => (value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`),
  percentunit: value => `${short(value * 100)}%`,
  percent: value => `${short(value)}%`,
  reqps: value => `${short(value)} req/s`,
  bytes: value => `${short(value / 2 ** 20)} MiB`,
  h: value => (value < 1 ? `${short(value * 60)} min` : `${short(value)} hours`),
  'suffix:×': value => `${short(value)}×`,
  none: value => (Math.abs(value) >= 1000 ? value.toFixed(0) : short(value)),
}
const formatted = (value: number, unit: string) => (UNITS[unit] ?? short)(value)

function colorOf(value: number, { thresholds }: Panel, query: Query): string {
  const steps = query.thresholds ?? thresholds ?? []
  return COLORS[steps.findLast(([from]) => from === null || value >= from)?.[1] ?? 'text']
}
const last = ({ points }: Line) => points.at(-1)?.[1] ?? Number.NaN
const coloured = (line: Line, panel: Panel) =>
  `<b style="color:${colorOf(last(line), panel, line.query)}">${formatted(last(line), line.query.unit ?? panel.unit)}</b>`

const values = (cells: readonly string[]) =>
  `<div class="values">${cells.map(cell => `<div>${cell}</div>`).join('')}</div>`
const nothing = ({ nothing = '–' }: Panel) => values([escaped(nothing)])

function stat({ panel, lines }: View): string {
  const found = lines.filter(line => !Number.isNaN(last(line)))
  const nameOf = ({ name }: Line) => (found.length > 1 ? escaped(name) : '')
  if (found.length === 0) return nothing(panel)
  return values(found.map(line => coloured(line, panel) + nameOf(line)))
}

function table({ panel, lines }: View): string {
  const columns = Object.entries(panel.columns ?? {})
  const keyOf = ({ labels }: Line) => columns.map(([label]) => labels[label] ?? '').join('\0')
  const heads = [...columns.map(([, title]) => title), ...panel.queries.map(({ legend }) => legend)]
  const body = [...Map.groupBy(lines, keyOf)].map(([key, cells]) => {
    const found = panel.queries.map(query => cells.find(line => line.query === query))
    const texts = found.map(line => (line === undefined ? '' : coloured(line, panel)))
    return [...key.split('\0').map(escaped), ...texts].map(cell => `<td>${cell}</td>`).join('')
  })
  const head = heads.map(title => `<th>${escaped(title)}</th>`).join('')
  return `<table><tr>${head}</tr>${body.map(cells => `<tr>${cells}</tr>`).join('')}</table>`
}

const chart = (option: (view: View) => echarts.EChartsOption) => (view: View) => {
  const { opened, width, height } = view
  const svg = echarts.init(null, 'dark', { renderer: 'svg', ssr: true, width, height })
  const splitNumber = Math.max(2, Math.floor(width / 110))
  svg.setOption({
    animation: false,
    backgroundColor: 'transparent',
    color: [green, yellow, blue, '#ff9830', red, '#b877d9', '#8ab8ff'],
    grid: { left: 66, right: 14, top: 10, bottom: 44 },
    xAxis: { type: 'time', min: drawing.began * 1000, max: opened, splitNumber },
    ...option(view),
  })
  const image = svg.renderToSVGString()
  // A chart that is not disposed would keep the process running.
  svg.dispose()
  return image
}

const graph = chart(({ panel: { draw, unit }, lines }) => {
  const isStacked = draw === 'stacked' || draw === 'shares'
  const totals = new Map<number, number>()
  for (const [at, value] of lines.flatMap(({ points }) => points))
    totals.set(at, (totals.get(at) ?? 0) + (value || 0))
  const share = (at: number) => (draw === 'shares' ? totals.get(at) || 1 : 1)
  const formatter = (value: number) => formatted(value, unit)
  return {
    legend: { bottom: 0, left: 0, type: 'scroll', itemHeight: 8, itemGap: 24 },
    yAxis: { ...(draw === 'shares' ? { max: 1 } : {}), axisLabel: { formatter } },
    series: lines.map(({ name, points }) => ({
      type: 'line',
      name,
      color: Object.entries(NAMED).find(([, names]) => names.test(name))?.[0] as string,
      showSymbol: points.length === 1,
      step: draw === 'steps' ? 'end' : false,
      ...(isStacked ? { stack: 'all' } : {}),
      areaStyle: { opacity: isStacked ? 0.45 : 0.06 },
      data: points.flatMap(([at, value], i) => {
        const before = points[i - 1]?.[0] ?? at
        const gap = at - before > GAP_MS ? [[before + 1, null]] : []
        return [...gap, [at, Number.isNaN(value) ? null : value / share(at)]]
      }),
    })),
  }
})

function bars({ panel, lines }: View): string {
  const most = Math.max(...lines.map(last))
  const rows = lines.map(line => {
    const bar = `width:${(60 * last(line)) / most}%;background:${colorOf(last(line), panel, line.query)}`
    return `<tr><td>${escaped(line.name)}</td><td><i style="${bar}"></i>${coloured(line, panel)}</td></tr>`
  })
  return `<table>${rows.join('')}</table>`
}

/** A rectangle in the row `name`, at the time `at`. */
type Rectangle = { at: number; name: string; color: string; opacity?: number }

const rectangles = (left: number, data: readonly Rectangle[]): echarts.EChartsOption => ({
  grid: { left, right: 14, top: 4, bottom: 24 },
  yAxis: {
    type: 'category',
    data: [...new Set(data.map(({ name }) => name))],
    axisLabel: { interval: 0 },
  },
  series: {
    type: 'scatter',
    symbol: 'rect',
    symbolSize: [7, 13],
    data: data.map(({ at, name, ...itemStyle }) => ({ value: [at, name], itemStyle })),
  },
})

const timeline = chart(({ panel, lines }) => {
  const data = lines.flatMap(({ name, query, points }) =>
    points.map(([at, value]) => ({ at, name, color: colorOf(value, panel, query) })),
  )
  return rectangles(190, data)
})

const heatmap = chart(({ lines }) => {
  const bound = ({ name }: Line) => Number(name.replace('+Inf', 'Infinity'))
  const sorted = lines.toSorted((a, b) => bound(a) - bound(b))
  // Each bucket includes the counts of all smaller buckets.
  const counts = sorted.flatMap((line, i) =>
    line.points.map(([at, value], j) => {
      const name = line.name === '+Inf' ? line.name : formatted(bound(line), 's')
      return { at, name, color: blue, count: value - (sorted[i - 1]?.points[j]?.[1] ?? 0) }
    }),
  )
  const most = Math.max(...counts.map(({ count }) => count))
  const opacityOf = (count: number) => (count > 0 ? 0.15 + 0.85 * (count / most) : 0)
  return rectangles(
    66,
    counts.map(({ count, ...one }) => ({ ...one, opacity: opacityOf(count) })),
  )
})

const DRAW: Readonly<Record<Panel['draw'], (view: View) => string>> = {
  ...{ stat, table, bars, timeline, heatmap },
  ...{ lines: graph, stacked: graph, shares: graph, steps: graph },
}

type Answered = Drawing['dashboards'][number]

function content(
  panel: Panel,
  answers: Answered['panels'][number],
  view: Omit<View, 'panel' | 'lines'>,
) {
  const lines = panel.queries.flatMap((query, i) =>
    (answers[i] ?? []).map(({ labels, values }) => {
      const name = query.legend.replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] ?? '').trim()
      const points = values.map(([at, value]) => [at * 1000, Number(value)] as const)
      return { query, labels, name, points }
    }),
  )
  return lines.length === 0 ? nothing(panel) : DRAW[panel.draw]({ ...view, panel, lines })
}

function page({ uid, opened, panels: answers }: Answered) {
  const spec = Object.values(DASHBOARDS).find(one => one.uid === uid)
  const specs = spec?.rows.flatMap(({ panels }) => panels) ?? []
  const panels = readDashboards().find(one => one.uid === uid)?.panels ?? []
  const sections = panels.map(({ title, type, options, gridPos: { x, y, w, h } }, i) => {
    const [width, height] = [w * COLUMN - GAP, h * ROW - GAP]
    const view = { opened: opened * 1000, width: width - 18, height: height - 34 }
    const place = `left:${16 + x * COLUMN}px;top:${y * ROW}px;width:${width}px;height:${height}px`
    const panel = specs.find(one => one.title === title)
    const text = escaped(options?.content ?? '').replace(/`([^`]*)`/g, '<code>$1</code>')
    const inner =
      panel && 'draw' in panel ? content(panel, answers[i] ?? [], view) : `<p>${text}</p>`
    return `<section class="${type}" style="${place}"><h2>${escaped(title)}</h2>${inner}</section>`
  })
  const bottom = Math.max(...panels.map(({ gridPos: { y, h } }) => y + h))
  const html = `<!doctype html><meta charset="utf-8"><title>${spec?.title}</title><style>${STYLE}</style>
<header><h1>${spec?.title}</h1><span class="not">Query results of Prometheus ${escaped(drawing.prometheus)} in the demo, drawn by a chart library. This is not Grafana.</span>
The series of Knative and kube-state-metrics are simulated.</header><main>${sections.join('\n')}</main>`
  return { html, height: HEAD + bottom * ROW + 16 }
}

const FLAGS = ['--headless', '--no-sandbox', '--hide-scrollbars']

mkdirSync(folder, { recursive: true })
for (const dashboard of drawing.dashboards) {
  const file = resolve(folder, dashboard.uid.replace('onnx-function-', ''))
  const { html, height } = page(dashboard)
  writeFileSync(`${file}.html`, html)
  const url = pathToFileURL(`${file}.html`).href
  spawnSync('chromium', [
    ...FLAGS,
    `--window-size=${WIDTH},${height}`,
    `--screenshot=${file}.png`,
    url,
  ])
}
