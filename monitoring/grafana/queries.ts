/*
 * Expressions of several dashboards. Grafana inserts $service, $revision and $model as regular expressions, and $__rate_interval as
 * a time that holds at least four scrapes.
 */

export const RATE = '$__rate_interval'

/** Service and revision of each process of those chosen, whether Prometheus gave them to the target or only the process tells them. */
const processes = (revision: string, window: string) =>
  `topk by (job, instance) (1, last_over_time(function_info{service=~"$service", revision=~"${revision}"}[${window}]))`

/**
 * Of the services and revisions chosen only, and labelled by them. `last_over_time` keeps what a pod counted last before it was gone;
 * `topk` keeps an address that went from one revision to the next within the window from being two.
 * @param window as the expression's own
 */
export const chosen = (
  expression: string,
  { revision = '$revision', window = RATE } = {},
): string =>
  `${expression} * on (job, instance) group_left (service, revision) ${processes(revision, window)}`

/** Requests a second. @param labels as in `status="error"` */
export const requests = (labels = '', window = RATE): string =>
  `rate(inference_requests_total{${ofModel(labels)}}[${window}])`

export const durations = (window = RATE): string =>
  `rate(inference_request_duration_seconds_bucket{${ofModel('status="success"')}}[${window}])`

const ofModel = (labels: string) =>
  ['model=~"$model"', ...(labels === '' ? [] : [labels])].join(', ')

/** Of the requests, those with an error; 0 where none had one, nothing where there were none. @param by as in `by (revision) ` */
export const errorShare = (
  by = '',
  options: { revision?: string; window?: string } = {},
): string => {
  const sum = (labels: string) => `sum ${by}(${chosen(requests(labels, options.window), options)})`
  return `(${sum('status="error"')} or 0 * ${sum('')}) / (${sum('')} > 0)`
}

/** Of what the function is answerable for, what failed. */
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
 * The growth of a counter in that time. `increase` takes what it sees first for where it began, and so misses the first of all: the only
 * event that died, the request that woke its pod.
 */
export const grown = (counter: string, window = '$__range'): string =>
  `clamp_min(max_over_time(${counter}[${window}]) - (${counter} offset ${window} or 0 * max_over_time(${counter}[${window}])), 0)`
