/*
 * Expressions that several dashboards use. Grafana inserts $service, $revision and $model as
 * regular expressions, and $__rate_interval as a duration of at least four scrapes.
 */

export const RATE = '$__rate_interval'

/** Service and revision are labels of the target or of the process's own function_info. */
const processes = (revision: string, window: string) =>
  `topk by (job, instance) (1, last_over_time(function_info{service=~"$service", revision=~"${revision}"}[${window}]))`

/**
 * Restricts an expression to the chosen services and revisions. `last_over_time` keeps the last
 * counts of a pod that has stopped; `topk` keeps one series for an address whose revision changed
 * within the window.
 * @param options.window the window of the expression
 */
export const chosen = (
  expression: string,
  { revision = '$revision', window = RATE } = {},
): string =>
  `${expression} * on (job, instance) group_left (service, revision) ${processes(revision, window)}`

/** The rate of requests per second. @param labels label matchers, such as `status="error"` */
export const requests = (labels = '', window = RATE): string =>
  `rate(inference_requests_total{${ofModel(labels)}}[${window}])`

export const durations = (window = RATE): string =>
  `rate(inference_request_duration_seconds_bucket{${ofModel('status="success"')}}[${window}])`

const ofModel = (labels: string) =>
  ['model=~"$model"', ...(labels === '' ? [] : [labels])].join(', ')

/**
 * The share of requests with an error: 0 without errors, no value without requests.
 * @param by a grouping, such as `by (revision) `
 */
export const errorShare = (
  by = '',
  options: { revision?: string; window?: string } = {},
): string => {
  const sum = (labels: string) => `sum ${by}(${chosen(requests(labels, options.window), options)})`
  return `(${sum('status="error"')} or 0 * ${sum('')}) / (${sum('')} > 0)`
}

/** Excludes errors that callers caused. */
export const failureShare = (): string => {
  const failures = `sum(${chosen(`rate(inference_failures_total[${RATE}])`)})`
  return `${failures} / (${failures} + sum(${chosen(requests('status="success"'))}) > 0)`
}

export const quantile = (
  share: number,
  by: string,
  options: { revision?: string; window?: string } = {},
): string =>
  `histogram_quantile(${share}, sum by (${by}) (${chosen(durations(options.window), options)}))`

/**
 * The growth of a counter within the window. `increase` ignores a counter's first value, and so
 * misses the only lost event.
 */
export const grown = (counter: string, window = '$__range'): string =>
  `clamp_min(max_over_time(${counter}[${window}]) - (${counter} offset ${window} or 0 * max_over_time(${counter}[${window}])), 0)`
