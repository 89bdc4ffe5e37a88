/*
 * One page about one run: what Artillery counted, over time, and for cold starts what each was made of. Nothing is loaded from elsewhere.
 */

export interface Summary {
  readonly count: number
  readonly min: number
  readonly max: number
  readonly median: number
  readonly p95: number
  readonly p99: number
}

/** Of a stretch of time; of the whole run. */
export interface Period {
  readonly firstMetricAt: number
  readonly lastMetricAt: number
  readonly counters: Readonly<Record<string, number>>
  readonly summaries: Readonly<Record<string, Summary>>
}

/** Artillery's own file (`--output`). */
export interface Recorded {
  readonly aggregate: Period
  readonly intermediate: readonly Period[]
}

/** Milliseconds: of all of a wake-up as its caller saw it, and what the process says its start took. */
export interface WakeUp {
  readonly total: number
  readonly phases: Readonly<Record<string, number>>
}

export interface Ensure {
  readonly maxErrorRate?: number
  readonly thresholds?: readonly Readonly<Record<string, number>>[]
}

export interface Run {
  readonly scenario: string
  readonly environment: string
  readonly target: string
  readonly date: string
  readonly recorded: Recorded
  readonly ensure: Ensure
  readonly wakeUps: readonly WakeUp[]
}

const [WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP] = [920, 240, 56, 28, 26, 12]

/** The whole document. */
export function page(run: Run): string {
  const { scenario, environment, target, date, recorded, wakeUps } = run
  const checks = checksOf(run)
  const held = checks.every(({ ok }) => ok)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escaped(scenario)}: load on ${escaped(target)}</title>
<style>${STYLE}</style>
<main>
<header>
<h1>${escaped(scenario)} <span class="verdict ${held ? 'good' : 'bad'}">${held ? 'held' : 'not held'}</span></h1>
<p class="note">${escaped(environment)}, ${escaped(target)}, ${escaped(date)}</p>
</header>
${tiles(recorded.aggregate)}
${section('What had to hold', table(['check', 'measured', ''], checksRows(checks)))}
${wakeUps.length > 0 ? wakeUpSection(wakeUps) : timeSections(recorded.intermediate)}
${canarySection(recorded.aggregate.counters)}
${section('Answers and errors', table(['what', 'how often'], outcomeRows(recorded.aggregate.counters)))}
</main>
</html>
`
}

const section = (title: string, content: string) =>
  `<section><h2>${title}</h2>\n${content}\n</section>`

export interface Check {
  readonly what: string
  readonly measured: string
  readonly ok: boolean
}

/** What artillery's ensure plugin checks, with the figures beside it. */
export function checksOf({ ensure, recorded: { aggregate } }: Run): readonly Check[] {
  const { 'vusers.created': created = 0, 'vusers.completed': completed = 0 } = aggregate.counters
  const errorRate = created === 0 ? 100 : (100 * (created - completed)) / created
  const rate =
    ensure.maxErrorRate === undefined
      ? []
      : [
          {
            what: `users that failed ≤ ${ensure.maxErrorRate} %`,
            measured: `${digits(errorRate)} %`,
            ok: errorRate <= ensure.maxErrorRate,
          },
        ]
  const limits = (ensure.thresholds ?? []).flatMap(threshold =>
    Object.entries(threshold).map(([metric, limit]) => {
      const [, name = '', figure = ''] = /^(.*)\.(\w+)$/.exec(metric) ?? []
      const value = aggregate.summaries[name]?.[figure as keyof Summary]
      return {
        what: `${metric} < ${limit} ms`,
        measured: value === undefined ? 'never' : took(value),
        ok: value !== undefined && value < limit,
      }
    }),
  )
  return [...rate, ...limits]
}

const checksRows = (checks: readonly Check[]) =>
  checks.map(({ what, measured, ok }) => [
    escaped(what),
    measured,
    `<span class="${ok ? 'good' : 'bad'}">${ok ? '✓ holds' : '✗ does not'}</span>`,
  ])

function tiles({ counters, summaries }: Period): string {
  const time = summaries['http.response_time']
  const errors = sumOf(counters, name => name.startsWith('errors.'))
  const shown: [string, string][] = [
    ['requests', whole(counters['http.requests'] ?? 0)],
    ['errors', whole(errors)],
    ...(time === undefined
      ? []
      : ([
          ['median', took(time.median)],
          ['p95', took(time.p95)],
          ['p99', took(time.p99)],
          ['longest', took(time.max)],
        ] as [string, string][])),
  ]
  return `<dl class="tiles">${shown.map(([name, value]) => `<div><dt>${name}</dt><dd${name === 'errors' && errors > 0 ? ' class="bad"' : ''}>${value}</dd></div>`).join('')}</dl>`
}

function outcomeRows(counters: Period['counters']): string[][] {
  return Object.entries(counters)
    .filter(([name]) =>
      /^(http\.codes\.|errors\.|vusers\.(created|completed|failed|skipped)$|cold\.still_awake)/.test(
        name,
      ),
    )
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => [escaped(name), whole(count)])
}

/** The platform's share first, then ours, phase by phase; the slowest wake-up at the top. */
function wakeUpSection(wakeUps: readonly WakeUp[]): string {
  const split = wakeUps
    .map(({ total, phases }) => ({ total, ours: sum(Object.values(phases)) }))
    .sort((a, b) => b.total - a.total)
  const shares = {
    'as the caller saw it': wakeUps.map(({ total }) => total),
    'the platform’s share': split.map(({ total, ours }) => Math.max(0, total - ours)),
    'our share': split.map(({ ours }) => ours),
    ...Object.fromEntries(
      Object.keys(wakeUps[0]?.phases ?? {}).map(phase => [
        `– ${phase}`,
        wakeUps.map(({ phases }) => phases[phase] ?? 0),
      ]),
    ),
  }
  const rows = Object.entries(shares).map(([name, values]) => [
    name,
    ...[0, 0.5, 0.95, 1].map(q => ms(quantile(values, q))),
  ])
  const top = niceCeiling(Math.max(...split.map(({ total }) => total)))
  const bar = Math.max(4, Math.min(18, 420 / split.length))
  const height = split.length * bar + BOTTOM + TOP
  const x = (value: number) => LEFT + (value / top) * (WIDTH - LEFT - RIGHT)
  const bars = split.map(({ total, ours }, i) => {
    const y = (TOP + i * bar).toFixed(1)
    const platform = Math.max(0, total - ours)
    const box = (from: number, to: number, name: string) =>
      `<rect class="${name}" x="${x(from).toFixed(1)}" y="${y}" width="${(x(to) - x(from)).toFixed(1)}" height="${(bar - 2).toFixed(1)}"/>`
    return `<g><title>${ms(total)}: ${ms(platform)} platform, ${ms(ours)} ours</title>${box(0, platform, 'platform')}${box(platform, platform + ours, 'ours')}</g>`
  })
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    part =>
      `<line class="grid" x1="${x(part * top)}" x2="${x(part * top)}" y1="${TOP}" y2="${height - BOTTOM}"/><text x="${x(part * top)}" y="${height - 8}" text-anchor="middle">${ms(part * top)}</text>`,
  )
  return section(
    `${split.length} wake-ups`,
    `<p class="legend"><i class="platform"></i> platform: from the request to the start of our process <i class="ours"></i> ours: from there to the answer</p>
<svg viewBox="0 0 ${WIDTH} ${height.toFixed(0)}" role="img" aria-label="each wake-up, the slowest first">${ticks.join('')}${bars.join('')}</svg>
${table(['', 'shortest', 'median', 'p95', 'longest'], rows)}`,
  )
}

function timeSections(periods: readonly Period[]): string {
  if (periods.length < 2) return ''
  const ordered = [...periods].sort((a, b) => a.firstMetricAt - b.firstMetricAt)
  const began = ordered[0]?.firstMetricAt as number
  // The first and the last are shorter than the rest.
  const lengths = ordered.map(({ firstMetricAt, lastMetricAt }) =>
    Math.max(1, (lastMetricAt - firstMetricAt) / 1_000),
  )
  const seconds = ordered.map(
    ({ firstMetricAt, lastMetricAt }) => ((firstMetricAt + lastMetricAt) / 2 - began) / 1_000,
  )
  const times = (['median', 'p95', 'p99'] as const).map(name => ({
    name,
    values: ordered.map(({ summaries }) => summaries['http.response_time']?.[name]),
  }))
  const perSecond = (matches: (counter: string) => boolean) =>
    ordered.map(({ counters }, i) => sumOf(counters, matches) / (lengths[i] as number))
  const rates = [
    { name: 'requests', values: perSecond(name => name === 'http.requests') },
    { name: 'errors', values: perSecond(name => name.startsWith('errors.')) },
  ]
  return (
    section('Time to answer', lines(seconds, times, ms)) +
    section('Per second', lines(seconds, rates, whole))
  )
}

interface Line {
  readonly name: string
  readonly values: readonly (number | undefined)[]
}

function lines(
  seconds: readonly number[],
  all: readonly Line[],
  format: (value: number) => string,
): string {
  const top = niceCeiling(Math.max(...all.flatMap(({ values }) => values.map(value => value ?? 0))))
  const last = seconds.at(-1) as number
  const x = (second: number) => LEFT + (second / last) * (WIDTH - LEFT - RIGHT)
  const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    part =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(part * top)}" y2="${y(part * top)}"/><text x="${LEFT - 8}" y="${y(part * top) + 4}" text-anchor="end">${format(part * top)}</text>`,
  )
  const clock = [0, 0.25, 0.5, 0.75, 1].map(
    part =>
      `<text x="${x(part * last)}" y="${HEIGHT - 8}" text-anchor="middle">${whole(part * last)} s</text>`,
  )
  const drawn = all.map(({ name, values }) => {
    const points = values.flatMap((value, i) =>
      value === undefined ? [] : [`${x(seconds[i] as number).toFixed(1)},${y(value).toFixed(1)}`],
    )
    return `<polyline class="line ${name}" points="${points.join(' ')}"><title>${name}</title></polyline>`
  })
  return `<p class="legend">${all.map(({ name }) => `<i class="${name}"></i> ${name}`).join(' ')}</p>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${all.map(({ name }) => name).join(', ')} over time">${grid.join('')}${clock.join('')}${drawn.join('')}</svg>`
}

/** Which version answered how often, and what. */
function canarySection(counters: Period['counters']): string {
  const versions = Object.entries(counters).filter(([name]) => name.startsWith('canary.version.'))
  if (versions.length === 0) return ''
  const all = sum(versions.map(([, count]) => count))
  const rows = versions.map(([name, count]) => {
    const version = name.slice('canary.version.'.length)
    const prefix = `canary.answer.${version}.`
    const answers = Object.entries(counters)
      .filter(([counter]) => counter.startsWith(prefix))
      .sort(([, a], [, b]) => b - a)
      .map(
        ([counter, times]) => `${escaped(counter.slice(prefix.length))} ${percent(times / count)}`,
      )
    return [
      escaped(version),
      whole(count),
      `<span class="share" style="width:${(100 * count) / all}px"></span> ${percent(count / all)}`,
      answers.join(', '),
    ]
  })
  return section('Versions', table(['version', 'answers', 'share', 'what they said'], rows))
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  `<div class="wide"><table><thead><tr>${head.map(cell => `<th>${cell}</th>`).join('')}</tr></thead><tbody>${rows
    .map(row => `<tr>${row.map(cell => `<td>${cell}</td>`).join('')}</tr>`)
    .join('')}</tbody></table></div>`

/** Of the counters whose names match. */
const sumOf = (counters: Period['counters'], matches: (name: string) => boolean) =>
  sum(Object.entries(counters).flatMap(([name, count]) => (matches(name) ? [count] : [])))

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
const digits = (value: number) =>
  value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 })
/** Artillery measures whole milliseconds. */
const took = (milliseconds: number) => (milliseconds < 1 ? '< 1 ms' : ms(milliseconds))

const ms = (value: number) =>
  value >= 1_000
    ? `${(value / 1_000).toLocaleString('en', { maximumFractionDigits: 2 })} s`
    : `${digits(value)} ms`
const whole = (value: number) =>
  value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 })
const percent = (share: number) => `${digits(100 * share)} %`

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[
    Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - (q > 0 ? 1 : 0))
  ] as number
}

/** 1, 2, 4, 5 or 8 times a power of ten: its quarters are round. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)))
  return ([1, 2, 4, 5, 8, 10].find(step => step * power >= value) as number) * power
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

const STYLE = `
:root { --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --card: #f6f8fa; --page: #fff; --a: #0969da; --b: #bc4c00; --c: #8250df; --good: #1a7f37; --bad: #cf222e; --other: #afb8c1 }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --card: #151b23; --page: #0d1117; --a: #4493f8; --b: #db6d28; --c: #ab7df8; --good: #3fb950; --bad: #f85149; --other: #656c76 } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 960px; margin: 0 auto; padding: 24px 16px 64px }
h1 { margin: 0; font-size: 28px } h2 { font-size: 18px; margin: 32px 0 8px }
.note, .legend, dt, th { color: var(--soft) } .note, .legend { margin: 4px 0 }
.verdict { font-size: 14px; border: 1px solid; border-radius: 99px; padding: 2px 10px; vertical-align: middle }
.good { color: var(--good) } .bad { color: var(--bad) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); gap: 8px; margin: 16px 0 }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px }
dt { font-size: 13px } dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums } th { font-weight: 500; font-size: 13px }
svg { width: 100%; height: auto; display: block } svg text { font: 12px system-ui, sans-serif; fill: var(--soft) }
.grid { stroke: var(--line) } .line { fill: none; stroke-width: 2; stroke-linejoin: round }
.line.median, .line.requests { stroke: var(--a) } .line.p95 { stroke: var(--c) } .line.p99 { stroke: var(--b) } .line.errors { stroke: var(--bad) }
rect.ours { fill: var(--a) } rect.platform { fill: var(--other) }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-left: 12px; vertical-align: -1px } .legend i:first-child { margin-left: 0 }
i.median, i.requests, i.ours { background: var(--a) } i.p95 { background: var(--c) } i.p99 { background: var(--b) } i.errors { background: var(--bad) } i.platform { background: var(--other) }
.share { display: inline-block; height: 10px; border-radius: 3px; background: var(--a) }
`
