import type { Result } from './check.ts'

const WIDTHS = { query: 60, where: 50, at: 10, expected: 40, got: 40 } as const

const row = (mark: string, cells: Readonly<Record<keyof typeof WIDTHS, string>>) =>
  [mark, ...Object.entries(WIDTHS).map(([name, width]) => fit(cells[name as 'at'], width))].join(
    ' ',
  )

const fit = (text: string, width: number) =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width)

export function report(results: readonly Result[]): string {
  const wrong = results.filter(({ right }) => !right)
  const count = (kind: string) =>
    new Set(results.filter(one => one.kind === kind).map(({ name, query }) => name + query)).size
  return [
    row(' ', { query: 'query', where: 'where', at: 'at', expected: 'expected', got: 'got' }),
    ...results.map(({ kind, name, query, at, expected, got, right }) =>
      row(right ? '✓' : '✗', { query: query.trim(), where: `${kind} ${name}`, at, expected, got }),
    ),
    ...wrong.map(
      ({ kind, name, query, at, expected, got }) =>
        `\n✗ ${kind} ${name}, at ${at}\n  ${query}\n  expected ${expected}\n  got      ${got}`,
    ),
    `\n${count('panel')} panel queries, ${count('variable')} variables, ${count('alert')} alerts, ${count('recording rule')} recording rules: ${results.length - wrong.length} of ${results.length} results are as expected`,
  ].join('\n')
}
