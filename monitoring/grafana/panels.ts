import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge'
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import * as common from '@grafana/grafana-foundation-sdk/common'
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard'
import * as heatmap from '@grafana/grafana-foundation-sdk/heatmap'
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus'
import * as stat from '@grafana/grafana-foundation-sdk/stat'
import * as statetimeline from '@grafana/grafana-foundation-sdk/statetimeline'
import * as table from '@grafana/grafana-foundation-sdk/table'
import * as text from '@grafana/grafana-foundation-sdk/text'
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries'
import { knativeSeries, sinceAll } from '../knative-series.ts'

/*
 * Builds Grafana dashboards with Grafana's own builders. The queries are in inference.ts,
 * scale-to-zero.ts and canary.ts.
 */

export interface Query {
  readonly expr: string
  readonly legend: string
  /** The default is the panel's unit. */
  readonly unit?: string
  readonly thresholds?: Thresholds
}

/** The colour from each value upwards, in ascending order. */
export type Thresholds = readonly (readonly [
  from: number | null,
  color: 'blue' | 'green' | 'yellow' | 'red' | 'text',
])[]

export interface Panel {
  readonly title: string
  /** Grafana shows this in the panel's corner. */
  readonly description: string
  readonly draw:
    | 'stat'
    | 'lines'
    | 'stacked'
    | 'shares'
    | 'steps'
    | 'bars'
    | 'table'
    | 'timeline'
    | 'heatmap'
  readonly unit: string
  readonly queries: readonly Query[]
  /** The width in columns, of which a dashboard has 24. */
  readonly width: number
  readonly height?: number
  readonly thresholds?: Thresholds
  readonly nothing?: string
  /** The label on which the queries of a table are joined. */
  readonly rows?: string
  /** The titles of a table's labels, in the order of the columns. */
  readonly columns?: Readonly<Record<string, string>>
}

export interface Note {
  readonly title: string
  readonly markdown: string
  readonly width: number
  readonly height: number
}

export interface Row {
  readonly title: string
  readonly panels: readonly (Panel | Note)[]
}

export interface Variable {
  readonly name: string
  readonly label: string
  readonly description: string
  readonly query: string
  /**
   * Allows a single value, initially the first or the last by name. By default, all values are
   * selected, and any number is allowed.
   */
  readonly one?: 'first' | 'last'
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly variables: readonly Variable[]
  readonly rows: readonly Row[]
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana replaces the variable
const DATA_SOURCE = { type: 'prometheus', uid: '${datasource}' }
const TAG = 'onnx-function'
const COLUMNS = 24

/** The JSON model that Grafana reads from a file (the classic model). */
export function build({ uid, title, description, variables, rows }: Dashboard): object {
  const built = new dashboard.DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags([TAG])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('10s')
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .link(
      new dashboard.DashboardLinkBuilder('Other dashboards')
        .type(dashboard.DashboardLinkType.Dashboards)
        .tags([TAG])
        .includeVars(true)
        .keepTime(true),
    )
    .withVariable(
      new dashboard.DatasourceVariableBuilder('datasource')
        .label('Data source')
        .type('prometheus')
        .current({ text: 'Prometheus', value: 'prometheus', selected: true }),
    )
  for (const each of variables) built.withVariable(variable(each))
  let id = 0
  let top = 0
  for (const { title, panels } of rows) {
    built.withRow(
      new dashboard.RowBuilder(title).id(++id).gridPos({ x: 0, y: top, w: COLUMNS, h: 1 }),
    )
    const { places, end } = place(panels, top + 1)
    panels.forEach((each, i) => {
      built.withPanel(
        ('markdown' in each ? note(each) : panel(each))
          .id(++id)
          .gridPos(places[i] as dashboard.GridPos),
      )
    })
    top = end
  }
  const { links = [], ...rest } = built.build()
  // With `placement`, Grafana would hide the links in the menu. `id: null`, which the builders
  // omit, makes Grafana assign an id.
  return { id: null, ...rest, links: links.map(({ placement, ...link }) => link) }
}

/**
 * Places each panel as high as possible, and then as far left as possible, so that small panels
 * fill the space beside a tall panel.
 */
function place(panels: readonly (Panel | Note)[], top: number) {
  const ends = new Array<number>(COLUMNS).fill(top)
  const places = panels.map(each => {
    const [w, h] = [each.width, heightOf(each)]
    const starts = Array.from({ length: COLUMNS - w + 1 }, (_, x) => ({
      x,
      y: Math.max(...ends.slice(x, x + w)),
    }))
    const { x, y } = starts.reduce((best, start) => (start.y < best.y ? start : best))
    ends.fill(y + h, x, x + w)
    return { x, y, w, h }
  })
  return { places, end: Math.max(...ends) }
}

const heightOf = (each: Panel | Note) =>
  each.height ?? ('draw' in each && each.draw === 'stat' ? 5 : 8)

function variable({ name, label, description, query, one }: Variable) {
  const built = new dashboard.QueryVariableBuilder(name)
    .label(label)
    .description(description)
    .datasource(DATA_SOURCE)
    .query({ query, refId: 'StandardVariableQuery' })
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(one === 'last' ? dashboard.VariableSort.NaturalDesc : dashboard.VariableSort.NaturalAsc)
  if (one !== undefined) return built
  // "All" also matches series without the label: with compose.yaml, series have no revision.
  return built
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ text: 'All', value: '$__all', selected: true })
}

const note = ({ title, markdown }: Note) =>
  new text.PanelBuilder().title(title).mode(text.TextMode.Markdown).content(markdown)

function panel(spec: Panel) {
  const built = visualization(spec)
    .title(spec.title)
    .description(descriptionOf(spec))
    .datasource(DATA_SOURCE)
    .targets(spec.queries.map((query, i) => target(query, refId(i), spec.draw)))
    .unit(spec.unit)
    .noValue(spec.nothing ?? '–')
  if (spec.thresholds !== undefined) built.thresholds(thresholds(spec.thresholds))
  spec.queries.forEach((query, i) => {
    const properties: dashboard.DynamicConfigValue[] = []
    if (query.unit !== undefined) properties.push({ id: 'unit', value: query.unit })
    if (query.thresholds !== undefined) {
      properties.push({ id: 'thresholds', value: thresholds(query.thresholds).build() })
      if (spec.draw === 'table')
        properties.push({ id: 'custom.cellOptions', value: { type: 'color-text' } })
    }
    if (properties.length === 0) return
    // A table's queries are joined, so its title identifies a column.
    if (spec.draw === 'table') built.overrideByName(query.legend, properties)
    else built.overrideByQuery(refId(i), properties)
  })
  return built
}

const refId = (i: number) => String.fromCharCode(65 + i)

const thresholds = (steps: Thresholds) =>
  new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps(steps.map(([value, color]) => ({ value, color })))

/**
 * A panel with a single value queries the current one: at zero pods, the last value in the time
 * range may be hours old.
 */
function target({ expr, legend }: Query, id: string, draw: Panel['draw']): Builder<Dataquery> {
  const built = new prometheus.DataqueryBuilder().refId(id).datasource(DATA_SOURCE).expr(expr)
  if (draw === 'table') return built.instant().format(prometheus.PromQueryFormat.Table)
  if (draw === 'heatmap')
    return built.range().format(prometheus.PromQueryFormat.Heatmap).legendFormat(legend)
  return (draw === 'stat' || draw === 'bars' ? built.instant() : built.range()).legendFormat(legend)
}

function visualization(spec: Panel) {
  const byThreshold = new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Thresholds)
  switch (spec.draw) {
    case 'stat':
      return new stat.PanelBuilder()
        .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
        .colorMode(common.BigValueColorMode.Value)
        .graphMode(common.BigValueGraphMode.None)
        .textMode(
          spec.queries.length > 1 || spec.queries[0]?.legend.includes('{{')
            ? common.BigValueTextMode.ValueAndName
            : common.BigValueTextMode.Value,
        )
        .colorScheme(byThreshold)
    case 'bars':
      return new bargauge.PanelBuilder()
        .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
        .orientation(common.VizOrientation.Horizontal)
        .displayMode(common.BarGaugeDisplayMode.Basic)
        .colorScheme(byThreshold)
    case 'table':
      return joined(spec, new table.PanelBuilder().cellHeight(common.TableCellHeight.Sm))
    case 'timeline':
      return new statetimeline.PanelBuilder()
        .showValue(common.VisibilityMode.Never)
        .mergeValues(true)
        .legend(new common.VizLegendOptionsBuilder().showLegend(false))
        .colorScheme(byThreshold)
    case 'heatmap':
      return new heatmap.PanelBuilder()
        .calculate(false)
        .cellGap(1)
        .yAxis(new heatmap.YAxisConfigBuilder().unit(spec.unit))
        .color(
          new heatmap.HeatmapColorOptionsBuilder()
            .scheme('Blues')
            .mode(heatmap.HeatmapColorMode.Scheme)
            .steps(32),
        )
    default:
      return graph(spec)
  }
}

function graph({ draw, thresholds }: Panel) {
  const built = new timeseries.PanelBuilder()
    .lineWidth(draw === 'stacked' || draw === 'shares' ? 1 : 2)
    .fillOpacity(draw === 'stacked' || draw === 'shares' ? 40 : 8)
    .showPoints(common.VisibilityMode.Never)
    .axisSoftMin(0)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .calcs(['lastNotNull']),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .overrideByRegexp('/(^|, )error$|^5..$/', [fixedColor('red')])
    .overrideByRegexp('/(^|, )success$/', [fixedColor('green')])
    .overrideByRegexp('/^limit$/', [fixedColor('red')])
  if (draw === 'stacked')
    built.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal))
  if (draw === 'shares')
    built.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Percent))
  if (draw === 'steps') built.lineInterpolation(common.LineInterpolation.StepAfter)
  if (thresholds !== undefined)
    built.thresholdsStyle(
      new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed),
    )
  return built
}

const fixedColor = (fixedColor: string): dashboard.DynamicConfigValue => ({
  id: 'color',
  value: { mode: 'fixed', fixedColor },
})

/**
 * Joins the queries into one table: first the columns of the labels, then a column for each query. Grafana
 * names the columns of queries `Value #A`, `Value #B`, and so on.
 */
function joined({ queries, rows, columns = {} }: Panel, built: table.PanelBuilder) {
  const values = queries.map(
    ({ legend }, i) => [queries.length === 1 ? 'Value' : `Value #${refId(i)}`, legend] as const,
  )
  if (queries.length > 1 && rows !== undefined) {
    built.withTransformation({ id: 'joinByField', options: { byField: rows, mode: 'outer' } })
  }
  const titles = [...Object.entries(columns), ...values]
  const times = ['Time', ...queries.map((_, i) => `Time ${i + 1}`)]
  return built.withTransformation({
    id: 'organize',
    options: {
      excludeByName: Object.fromEntries(times.map(name => [name, true])),
      indexByName: Object.fromEntries(titles.map(([name], i) => [name, i])),
      renameByName: Object.fromEntries(titles),
    },
  })
}

function descriptionOf({ description, queries }: Panel): string {
  const since = sinceAll(queries.flatMap(({ expr }) => knativeSeries(expr)))
  return since === undefined ? description : `${description} Requires ${since}.`
}
