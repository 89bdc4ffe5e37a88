import { parser } from '@prometheus-io/lezer-promql'

export interface Selector {
  readonly name: string
  readonly matchers: readonly {
    readonly label: string
    readonly operator: string
    readonly value: string
  }[]
}

export interface Parsed {
  readonly selectors: readonly Selector[]
  readonly grouping: readonly string[]
}

/** Grafana replaces these variables with numbers or durations; others are inside strings. */
const NUMBERS = /\$\{?__(?:from|to|range_m?s|interval_ms)\}?/g
const DURATIONS = /\$\{?__(?:rate_)?(?:interval|range)\}?/g

export function parsePromQL(written: string): Parsed {
  const text = written.replace(NUMBERS, '1').replace(DURATIONS, '5m')
  const selectors: {
    name: string
    matchers: { label: string; operator: string; value: string }[]
  }[] = []
  const grouping: string[] = []
  const within: string[] = []
  parser.parse(text).iterate({
    enter({ name, from, to, type }) {
      const said = text.slice(from, to)
      if (type.isError)
        throw new Error(
          `invalid PromQL at ${text.slice(Math.max(from - 20, 0), to + 20)} in ${text}`,
        )
      const selector = selectors.at(-1)
      const matcher = selector?.matchers.at(-1)
      if (name === 'VectorSelector') selectors.push({ name: '', matchers: [] })
      else if (name === 'Identifier' && within.at(-1) === 'VectorSelector' && selector)
        selector.name = said
      else if (name === 'UnquotedLabelMatcher')
        selector?.matchers.push({ label: '', operator: '', value: '' })
      else if (name === 'LabelName' && within.at(-1) === 'UnquotedLabelMatcher' && matcher)
        matcher.label = said
      else if (name === 'MatchOp' && matcher) matcher.operator = said
      else if (name === 'StringLiteral' && within.at(-1) === 'UnquotedLabelMatcher' && matcher)
        matcher.value = said.slice(1, -1)
      else if (name === 'LabelName' && within.at(-1) === 'GroupingLabels') grouping.push(said)
      within.push(name)
    },
    leave() {
      within.pop()
    },
  })
  return { selectors, grouping }
}
