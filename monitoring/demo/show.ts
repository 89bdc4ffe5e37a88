import type { Verdict } from './judge.ts'

/** One table of all that was asked: what, where, when, what was expected, and what came. */
export function table(verdicts: readonly Verdict[], width: number): string {
  const heads = ['', 'query', 'where', 'at', 'expected', 'got']
  const rows = verdicts.map(({ kind, dashboard, name, query, at, expected, got, right }) => [
    right ? '✓' : '✗',
    query.replace(/\s+/g, ' '),
    dashboard === undefined ? `${kind} ${name}` : `${dashboard} › ${name}`,
    at,
    expected,
    got,
  ])
  const fixed = 1 + 8 + 3 * (heads.length - 1)
  const share = Math.max(24, Math.floor((width - fixed) / 4))
  const widths = [1, share, share, 8, share, share]
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => fit(cell, widths[i] as number))
      .join(' │ ')
      .trimEnd()
  return [line(heads), widths.map(size => '─'.repeat(size)).join('─┼─'), ...rows.map(line)].join(
    '\n',
  )
}

const fit = (text: string, width: number) =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width)

/** Each that is wrong, in full. */
export const wrong = (verdicts: readonly Verdict[]): string =>
  verdicts
    .filter(({ right }) => !right)
    .map(({ kind, dashboard, name, query, at, expected, got }) =>
      [
        `✗ ${kind} ${dashboard === undefined ? '' : `${dashboard} › `}${name}, at ${at}`,
        `  ${query}`,
        `  expected ${expected}`,
        `  got      ${got}`,
      ].join('\n'),
    )
    .join('\n')

export function summary(verdicts: readonly Verdict[]): string {
  const kinds = Object.entries(Object.groupBy(verdicts, ({ kind }) => kind))
  const asked = kinds.map(([kind, list = []]) => {
    const distinct = new Set(
      list.map(({ dashboard, name, query }) => `${dashboard} ${name} ${query}`),
    ).size
    return `${distinct} ${kind === 'panel' ? 'queries of panels' : `${kind}s`}`
  })
  const failed = verdicts.filter(({ right }) => !right).length
  return `${asked.join(', ')}: ${verdicts.length - failed} of ${verdicts.length} answers are what the script caused`
}
