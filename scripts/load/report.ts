/** A period in the file that Artillery writes (`--output`). */
export interface Period {
  readonly firstMetricAt: number
  readonly lastMetricAt: number
  readonly counters: Readonly<Record<string, number>>
  readonly summaries: Readonly<Record<string, Readonly<Record<string, number>>>>
}

interface Line {
  readonly name: string
  readonly values: readonly (number | undefined)[]
}

const [WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP] = [920, 240, 56, 28, 26, 12]
const COLORS = ['#0969da', '#8250df', '#bc4c00']
const QUARTERS = [0, 0.25, 0.5, 0.75, 1]

export function page(title: string, periods: readonly Period[]): string {
  const ordered = periods.toSorted((a, b) => a.firstMetricAt - b.firstMetricAt)
  const began = ordered[0]?.firstMetricAt ?? 0
  const middles = ordered.map(
    ({ firstMetricAt, lastMetricAt }) => ((firstMetricAt + lastMetricAt) / 2 - began) / 1_000,
  )
  const times = ['median', 'p95', 'p99'].map(name => ({
    name,
    values: ordered.map(({ summaries }) => summaries['http.response_time']?.[name]),
  }))
  const rates = [
    { name: 'requests', values: ordered.map(perSecond(/^http\.requests$/)) },
    { name: 'errors', values: ordered.map(perSecond(/^errors\./)) },
  ]
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>body { font: 15px system-ui; max-width: 960px; margin: 24px auto } path { fill: none; stroke-width: 2 } text { font-size: 12px }</style>
<h1>${escaped(title)}</h1>
<h2>Response time, ms</h2>
${chart(middles, times)}
<h2>Per second</h2>
${chart(middles, rates)}
</html>
`
}

/** Divides by the period's length, because the first and the last period are shorter. */
const perSecond =
  (names: RegExp) =>
  ({ counters, firstMetricAt, lastMetricAt }: Period) =>
    sumOf(counters, names) / Math.max(1, (lastMetricAt - firstMetricAt) / 1_000)

function chart(seconds: readonly number[], lines: readonly Line[]): string {
  const top = Math.max(1, ...lines.flatMap(({ values }) => values.map(value => value ?? 0)))
  const last = Math.max(1, ...seconds)
  const x = (second: number) => Math.round(LEFT + (second / last) * (WIDTH - LEFT - RIGHT))
  const y = (value: number) => Math.round(TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM))
  const axes = QUARTERS.map(
    part =>
      `<text x="${LEFT - 8}" y="${y(part * top) + 4}" text-anchor="end">${rounded(part * top)}</text>` +
      `<text x="${x(part * last)}" y="${HEIGHT - 8}" text-anchor="middle">${rounded(part * last)} s</text>`,
  )
  const drawn = lines.map(({ name, values }, i) => {
    const points = values.flatMap((value, j) =>
      value === undefined ? [] : [`${x(seconds[j] as number)},${y(value)}`],
    )
    return `<path stroke="${COLORS[i]}" d="M${points.join('L')}"><title>${name}</title></path>`
  })
  const names = lines.map(({ name }, i) => `<b style="color:${COLORS[i]}">${name}</b>`)
  return `<p>${names.join(' ')}</p>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}">${axes.join('')}${drawn.join('')}</svg>`
}

export function shares(counters: Period['counters']): string[] {
  const versions = Object.entries(counters).filter(([name]) => name.startsWith('canary.version.'))
  const all = sumOf(counters, /^canary\.version\./)
  return versions.map(([name, count]) => {
    const version = name.slice('canary.version.'.length)
    const prefix = `canary.answer.${version}.`
    const answers = Object.entries(counters)
      .filter(([counter]) => counter.startsWith(prefix))
      .sort(([, a], [, b]) => b - a)
      .map(([counter, times]) => `${counter.slice(prefix.length)} ${percent(times / count)}`)
    return `${version} sent ${percent(count / all)} of the responses: ${answers.join(', ')}`
  })
}

const sumOf = (counters: Period['counters'], names: RegExp) =>
  Object.entries(counters).reduce((sum, [name, count]) => sum + (names.test(name) ? count : 0), 0)

const rounded = (value: number) =>
  value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 })
const percent = (share: number) => `${rounded(100 * share)} %`

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
