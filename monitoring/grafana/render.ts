/*
 * Draws what the dashboards' queries gave in the demo:
 *
 *   node render.ts RESULTS FOLDER
 *
 * writes a page for each dashboard, and a picture of it where Chromium is there. A RENDERING, NOT GRAFANA: panels lie where Grafana
 * puts them and have its titles, units and thresholds, but a chart library draws them.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as echarts from 'echarts'
import type { Dashboard, Panel } from '../demo/judge.ts'
import type { Drawn, Recording } from '../demo/record.ts'

const WIDTH = 1600
const COLUMN = (WIDTH - 32) / 24
const ROW = 38
const GAP = 8
const HEAD = 96

const [results = '', folder = '.'] = process.argv.slice(2)
const recording: Recording = JSON.parse(readFileSync(results, 'utf8'))

const COLORS = {
  blue: '#5794f2',
  green: '#73bf69',
  yellow: '#fade2a',
  red: '#f2495c',
  text: '#d8d9da',
}
const SERIES = [
  '#73bf69',
  '#fade2a',
  '#5794f2',
  '#ff9830',
  '#f2495c',
  '#b877d9',
  '#8ab8ff',
  '#56a64b',
]

const STYLE = `
  body { margin: 0; background: #111217; color: #ccccdc; font: 13px Inter, system-ui, sans-serif; width: ${WIDTH}px }
  header { padding: 14px 16px; height: ${HEAD - 28}px; box-sizing: border-box }
  h1 { font-size: 20px; margin: 0 0 4px } .not { color: #fade2a }
  main { position: relative }
  section { position: absolute; box-sizing: border-box; background: #181b1f; border: 1px solid #2c3235; border-radius: 3px; padding: 6px 8px; overflow: hidden }
  section.row { background: none; border: none; font-size: 15px; font-weight: 600; padding: 8px 0 }
  h2 { font-size: 13px; font-weight: 500; margin: 0 0 2px; white-space: nowrap }
  .stat { display: flex; justify-content: space-around; align-items: center; height: calc(100% - 22px) }
  .stat div { text-align: center } .stat b { font-size: 38px; font-weight: 500; display: block } .stat .many b { font-size: 26px }
  .words { font-size: 18px; color: #9fa7b3 }
  table { border-collapse: collapse; width: 100%; font-size: 12px; margin-top: 4px } th { text-align: left; color: #6e9fff; font-weight: 500 }
  th, td { padding: 4px 6px; border-bottom: 1px solid #2c3235 } code { background: #2c3235; padding: 1px 4px; border-radius: 2px }`

function page({ title }: Dashboard, panels: readonly Drawn[]) {
  const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h))
  const height = HEAD + bottom * ROW + 16
  const sections = panels.map(drawn => {
    const { x, y, w, h } = drawn.panel.gridPos
    const place = `left:${16 + x * COLUMN}px;top:${y * ROW}px;width:${w * COLUMN - GAP}px;height:${h * ROW - GAP}px`
    if (drawn.panel.type === 'row')
      return `<section class="row" style="${place}">${asHtml(drawn.panel.title)}</section>`
    return `<section style="${place}"><h2>${asHtml(drawn.panel.title)}</h2>${content(drawn, w * COLUMN - GAP - 18, h * ROW - GAP - 34)}</section>`
  })
  const html = `<!doctype html><meta charset="utf-8"><title>${asHtml(title)}</title><style>${STYLE}</style>
<header><h1>${asHtml(title)}</h1><span class="not">A rendering of this dashboard’s queries, answered by Prometheus ${asHtml(recording.prometheus)} in npm run monitoring:demo. This is not Grafana.</span>
Knative’s and kube-state-metrics’ series come from a stand-in.</header><main>${sections.join('\n')}</main>`
  return { html, height }
}

function content(drawn: Drawn, width: number, height: number): string {
  switch (drawn.panel.type) {
    case 'text':
      return `<p>${asHtml(drawn.panel.options.content).replace(/`([^`]*)`/g, '<code>$1</code>')}</p>`
    case 'stat':
      return stat(drawn)
    case 'table':
      return table(drawn)
    default:
      return svg(drawn, width, height)
  }
}

// ── What Grafana would do with an answer ───────────────────────────────────────────────────────────────────────────────────────────

interface Line {
  readonly name: string
  readonly query: number
  readonly labels: Readonly<Record<string, string>>
  readonly points: readonly (readonly [at: number, value: number])[]
}

const lines = ({ panel, results }: Drawn): Line[] =>
  results.flatMap((series, query) =>
    series.map(({ labels, values }) => ({
      name: (panel.targets?.[query]?.legendFormat ?? '')
        .replace(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '')
        .trim(),
      query,
      labels,
      points: values.map(([at, value]) => [at * 1000, Number(value)] as const),
    })),
  )

/** A stat's, at the moment that it is looked at; what is over is not shown. */
function lastValue({ points }: Line, end: number): number | undefined {
  const last = points.findLast(([, value]) => !Number.isNaN(value))
  return last !== undefined && last[0] > end - 5_000 ? last[1] : undefined
}

const endOf = ({ results }: Drawn) =>
  Math.max(...results.flat().flatMap(({ values }) => values.map(([at]) => at * 1000)))

interface Thresholds {
  readonly steps: readonly { readonly value: number | null; readonly color: keyof typeof COLORS }[]
}

function override(panel: Panel, query: number, id: string) {
  const refId = panel.targets?.[query]?.refId
  const legend = panel.targets?.[query]?.legendFormat
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    const matches =
      matcher.options === refId ||
      matcher.options === titleOf(panel, query) ||
      matcher.options === legend
    if (matches) return properties.find((property: { id: string }) => property.id === id)?.value
  }
}

function colorOf(panel: Panel, query: number, value: number): string {
  const { steps }: Thresholds = override(panel, query, 'thresholds') ??
    panel.fieldConfig.defaults.thresholds ?? { steps: [] }
  const step = steps.findLast(({ value: from }) => from === null || value >= from)
  return COLORS[step?.color ?? 'text']
}

/** Of a line whose name an override has a colour for. */
function colorByName(panel: Panel, name: string): string | undefined {
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.id !== 'byRegexp' || !new RegExp(matcher.options.slice(1, -1)).test(name)) continue
    const color = properties.find(({ id }: { id: string }) => id === 'color')?.value.fixedColor
    return COLORS[color as keyof typeof COLORS]
  }
}

function formatted(value: number, unit: string): string {
  const short = (number: number) => String(Number(number.toPrecision(3)))
  switch (unit) {
    case 's':
      return value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`
    case 'percentunit':
      return `${short(value * 100)}%`
    case 'percent':
      return `${short(value)}%`
    case 'reqps':
      return `${short(value)} req/s`
    case 'bytes':
      return `${short(value / 2 ** 20)} MiB`
    case 'h':
      return value < 1 ? `${short(value * 60)} min` : `${short(value)} hours`
    case 'suffix:×':
      return `${short(value)}×`
    default:
      return Math.abs(value) >= 1000 ? value.toFixed(0) : short(value)
  }
}

const unitOf = (panel: Panel, query: number): string =>
  override(panel, query, 'unit') ?? panel.fieldConfig.defaults.unit

function stat(drawn: Drawn): string {
  const { panel } = drawn
  const end = endOf(drawn)
  const values = lines(drawn).flatMap(line => {
    const value = lastValue(line, end)
    return value === undefined ? [] : [{ ...line, value }]
  })
  if (values.length === 0)
    return `<div class="stat"><span class="words">${asHtml(panel.fieldConfig.defaults.noValue)}</span></div>`
  const cells = values.map(
    ({ name, query, value }) =>
      `<div class="${values.length > 1 ? 'many' : ''}"><b style="color:${colorOf(panel, query, value)}">${formatted(value, unitOf(panel, query))}</b>${values.length > 1 ? asHtml(name) : ''}</div>`,
  )
  return `<div class="stat">${cells.join('')}</div>`
}

const titleOf = (panel: Panel, query: number): string | undefined =>
  renamed(panel, panel.targets?.length === 1 ? 'Value' : `Value #${panel.targets?.[query]?.refId}`)

const organized = ({ transformations = [] }: Panel) =>
  transformations.find(({ id }: { id: string }) => id === 'organize')?.options

const renamed = (panel: Panel, column: string): string | undefined =>
  organized(panel)?.renameByName[column]

const placeOf = (panel: Panel, column: string): number =>
  organized(panel)?.indexByName[column] ?? 99

function table(drawn: Drawn): string {
  const { panel, results } = drawn
  const all = lines(drawn)
  const keys = [...new Set(all.flatMap(({ labels }) => Object.keys(labels)))].sort(
    (a, b) => placeOf(panel, a) - placeOf(panel, b),
  )
  const rowKey = ({ labels }: Line) => keys.map(key => labels[key] ?? '').join('\u0000')
  const rows = new Map(all.map(line => [rowKey(line), line.labels]))
  if (rows.size === 0)
    return `<div class="stat"><span class="words">${asHtml(panel.fieldConfig.defaults.noValue)}</span></div>`
  const head = [
    ...keys.map(key => renamed(panel, key) ?? key),
    ...results.map((_, query) => titleOf(panel, query) ?? ''),
  ]
    .map(text => `<th>${asHtml(text)}</th>`)
    .join('')
  const body = [...rows].map(([key, labels]) => {
    const values = results.map((_, query) => {
      const value = all
        .find(line => line.query === query && rowKey(line) === key)
        ?.points.at(-1)?.[1]
      if (value === undefined) return '<td></td>'
      const color =
        override(panel, query, 'thresholds') === undefined
          ? 'inherit'
          : colorOf(panel, query, value)
      return `<td style="color:${color}">${formatted(value, unitOf(panel, query))}</td>`
    })
    return `<tr>${keys.map(label => `<td>${asHtml(labels[label] ?? '')}</td>`).join('')}${values.join('')}</tr>`
  })
  return `<table><tr>${head}</tr>${body.join('')}</table>`
}

// ── Charts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function svg(drawn: Drawn, width: number, height: number): string {
  const all = lines(drawn)
  if (all.length === 0)
    return `<div class="stat"><span class="words">${asHtml(drawn.panel.fieldConfig.defaults.noValue)}</span></div>`
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
  chart.setOption({
    animation: false,
    color: SERIES,
    backgroundColor: 'transparent',
    ...option(drawn, all, width),
  })
  const image = chart.renderToSVGString()
  // It would keep this process alive.
  chart.dispose()
  return image
}

const axis = {
  axisLine: { lineStyle: { color: '#484b51' } },
  splitLine: { lineStyle: { color: '#25282d' } },
  axisLabel: { color: '#8e9297', hideOverlap: true },
}

function option(drawn: Drawn, all: readonly Line[], width: number): echarts.EChartsOption {
  const { panel } = drawn
  const unit = unitOf(panel, 0)
  const splitNumber = Math.max(2, Math.floor(width / 110))
  const time = {
    type: 'time' as const,
    min: recording.began * 1000,
    max: endOf(drawn),
    splitNumber,
    ...axis,
  }
  const label = { ...axis.axisLabel, formatter: (value: number) => formatted(value, unit) }
  if (panel.type === 'bargauge') {
    const values = all.map(line => ({ ...line, value: line.points.at(-1)?.[1] ?? 0 })).reverse()
    return {
      grid: { left: 90, right: 70, top: 4, bottom: 4 },
      xAxis: { type: 'value', show: false },
      yAxis: { type: 'category', data: values.map(({ name }) => name), ...axis },
      series: [
        {
          type: 'bar',
          data: values.map(({ value, query }) => ({
            value,
            itemStyle: { color: colorOf(panel, query, value) },
          })),
          label: {
            show: true,
            position: 'right',
            color: '#d8d9da',
            formatter: ({ value }) => formatted(Number(value), unit),
          },
        },
      ],
    }
  }
  if (panel.type === 'state-timeline') return timeline(drawn, all, time)
  if (panel.type === 'heatmap') return heatmap(all, time)
  const stacking: string = panel.fieldConfig.defaults.custom.stacking?.mode ?? 'none'
  const totals = new Map<number, number>()
  if (stacking === 'percent') {
    for (const { points } of all)
      for (const [at, value] of points)
        if (!Number.isNaN(value)) totals.set(at, (totals.get(at) ?? 0) + value)
  }
  return {
    grid: { left: 66, right: 14, top: 10, bottom: 44 },
    legend: {
      bottom: 0,
      left: 0,
      type: 'scroll',
      itemGap: 24,
      itemHeight: 8,
      itemWidth: 14,
      textStyle: { color: '#ccccdc', fontSize: 11 },
    },
    xAxis: time,
    yAxis: {
      type: 'value',
      min: ({ min }) => Math.min(0, min),
      ...(stacking === 'percent' ? { max: 1 } : {}),
      ...axis,
      axisLabel: label,
    },
    series: all.map(({ name, points }) => ({
      type: 'line',
      name,
      ...(colorByName(panel, name) === undefined
        ? {}
        : { color: colorByName(panel, name) as string }),
      showSymbol: points.length === 1,
      step: panel.fieldConfig.defaults.custom.lineInterpolation === 'stepAfter' ? 'end' : false,
      lineStyle: { width: stacking === 'none' ? 2 : 1 },
      ...(stacking === 'none' ? {} : { stack: 'all' }),
      areaStyle: { opacity: stacking === 'none' ? 0.06 : 0.45 },
      // Where there is nothing, there is no line; a scrape more or less is no gap.
      data: withGaps(points).map(([at, value]) => [
        at,
        Number.isNaN(value) ? null : stacking === 'percent' ? value / (totals.get(at) || 1) : value,
      ]),
    })),
  }
}

function withGaps(points: Line['points']): (readonly [number, number])[] {
  return points.flatMap((point, i) => {
    const before = points[i - 1]
    return before !== undefined && point[0] - before[0] > 3_000
      ? [[before[0] + 1, Number.NaN] as const, point]
      : [point]
  })
}

function timeline({ panel }: Drawn, all: readonly Line[], time: object): echarts.EChartsOption {
  return {
    grid: { left: 190, right: 14, top: 4, bottom: 24 },
    xAxis: { ...time, splitLine: { show: false } } as echarts.XAXisComponentOption,
    yAxis: {
      type: 'category',
      data: all.map(({ name }) => name),
      ...axis,
      axisLabel: { ...axis.axisLabel, interval: 0 },
    },
    series: [
      {
        type: 'scatter',
        symbol: 'rect',
        symbolSize: [6, 14],
        data: all.flatMap(({ name, query, points }) =>
          points.map(([at, value]) => ({
            value: [at, name],
            itemStyle: { color: colorOf(panel, query, value) },
          })),
        ),
      },
    ],
  }
}

function heatmap(all: readonly Line[], time: object): echarts.EChartsOption {
  const sorted = all.toSorted((a, b) => bound(a) - bound(b))
  // Each bucket holds the smaller ones too.
  const cells = sorted.flatMap((line, i) =>
    line.points.map(([at, value], j) => ({
      at,
      name: line.name,
      value: value - (i === 0 ? 0 : (sorted[i - 1]?.points[j]?.[1] ?? 0)),
    })),
  )
  const most = Math.max(...cells.map(({ value }) => value))
  return {
    grid: { left: 66, right: 14, top: 10, bottom: 24 },
    xAxis: time as echarts.XAXisComponentOption,
    yAxis: {
      type: 'category',
      data: sorted.map(({ name }) => (name === '+Inf' ? name : formatted(Number(name), 's'))),
      ...axis,
    },
    series: [
      {
        type: 'scatter',
        symbol: 'rect',
        symbolSize: [5, 13],
        data: cells
          .filter(({ value }) => value > 0)
          .map(({ at, name, value }) => ({
            value: [at, name === '+Inf' ? name : formatted(Number(name), 's')],
            itemStyle: { color: '#5794f2', opacity: 0.15 + 0.85 * (value / most) },
          })),
      },
    ],
  }
}

const bound = ({ name }: Line) => (name === '+Inf' ? Number.POSITIVE_INFINITY : Number(name))

function asHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

mkdirSync(folder, { recursive: true })
for (const { dashboard, panels } of recording.dashboards) {
  const file = join(folder, `${dashboard.uid.replace('onnx-function-', '')}.html`)
  const { html, height } = page(dashboard, panels)
  writeFileSync(file, html)
  const flags = [
    '--headless',
    '--no-sandbox',
    '--hide-scrollbars',
    '--force-device-scale-factor=1',
    `--window-size=${WIDTH},${height}`,
  ]
  spawnSync('chromium', [
    ...flags,
    `--screenshot=${file.replace('.html', '.png')}`,
    pathToFileURL(resolve(file)).href,
  ])
}
