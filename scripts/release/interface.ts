// Prints the names that users rely on, read from the code. docs/interface.json is this output at the
// last release.
//
//   node scripts/release/interface.ts
import { VARIABLES } from '../../function/config/variables.ts'
import { replyAttributes } from '../../function/events/reply.ts'
import { openApi } from '../../function/http/pages/openapi.ts'
import { DEAD_LETTER_METRICS, type Declaration, METRICS } from '../../function/telemetry/metrics.ts'

export type Interface = Readonly<
  Record<'environment' | 'events' | 'metrics' | 'routes', readonly string[]>
>

export const currentInterface = (): Interface => ({
  environment: Object.keys(VARIABLES).sort(),
  events: eventAttributes(),
  metrics: metricNames({ ...METRICS, ...DEAD_LETTER_METRICS }),
  routes: routeNames(),
})

/** The attributes of a reply, including forwarded ones, and the types of two replies. */
function eventAttributes(): string[] {
  const type = 'a.request'
  const request = {
    specversion: '1.0',
    id: '1',
    source: '/a',
    type,
    correlationid: 'c',
    traceparent: 't',
    tracestate: 's',
  }
  const replier = { source: '/b', modelName: 'm', modelVersion: undefined }
  const content = { contentType: 'application/json' }
  const types = (['response', 'error'] as const).map(
    outcome => replyAttributes(request, outcome, replier, content).type,
  )
  const attributes = Object.keys(replyAttributes(request, 'response', replier, content))
  return [...attributes, ...types.map(reply => `type: ${type} → ${reply}`)].sort()
}

/** The names of metrics: each metric, and each combination of a metric and one of its labels. */
const metricNames = (metrics: Readonly<Record<string, Declaration>>) =>
  Object.entries(metrics)
    .flatMap(([name, { labels }]) => [
      name,
      ...Object.keys(labels).map(label => `${name}{${label}}`),
    ])
    .sort()

/** The routes in the OpenAPI document, which a test compares with the server's. */
function routeNames(): string[] {
  const model = { name: 'MODEL', version: 'VERSION', description: undefined }
  const { paths } = openApi(
    model,
    { signature: { inputs: [], outputs: [] }, example: [] },
    { playground: true, auth: undefined, metricsPort: undefined },
  )
  return Object.entries(paths as object)
    .flatMap(([path, methods]) =>
      Object.keys(methods as object).map(method => `${method.toUpperCase()} ${path}`),
    )
    .map(route => route.replace('MODEL', '{model}').replace('VERSION', '{version}'))
    .sort()
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(currentInterface(), undefined, 2)}\n`)
