/** One series' value, as prom-client writes it. */
export interface Sample {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export interface Described {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
}

/** All series of one metric. */
export interface Family extends Described {
  readonly samples: () => Sample[]
}
