import { parseArgs } from 'node:util'
import type { Plan } from './decide.ts'
import { RESOURCES, type Resource } from './rollout/state.ts'

export const HELP = `npm start --prefix kserve/canary -- NAME [options]

  NAME                  name of an InferenceService; with --kind service, of a Knative Service;
                        with --kind httproute, of an HTTPRoute with two backendRefs, old then new
  -n, --namespace NAME  namespace of the object (default: the kubeconfig's, or the pod's own)
  --context NAME        context of the kubeconfig (default: the current context)
  --prometheus URL      (default: PROMETHEUS_URL, or http://prometheus.monitoring.svc:9090)

  --apply               change the object; without this option, the command is a dry run
  --watch               continue until the new revision has all traffic or is rolled back
  --start               start sending traffic to a new revision that is at 0 %
  --json                print each look as a line of JSON

  --steps 10,25,50      percentages at which the new revision is judged before it gets all traffic
  --hold 10m            minimum duration of a step
  --every 1m            time between two looks
  --patience 2h         time after which too little data is an error
  --requests 500        requests that each revision must have handled since the step began
  --alpha 0.01          maximum probability of rolling back an equal version
  --drift 0.1           share of predictions that may move to another label

exit code  0 promoted, waiting, or nothing to do  5 a person must decide
           2 wrong arguments                      6 rolled back
           3 Prometheus does not respond          7 the route does not apply the percentage
           4 the API server does not respond,     8 too little data for longer than --patience
             or rejects a request
`

export class UsageError extends Error {}

export interface Options extends Plan {
  readonly resource: Resource
  readonly name: string
  readonly namespace: string | undefined
  readonly context: string | undefined
  readonly prometheus: string
  readonly apply: boolean
  readonly watch: boolean
  readonly json: boolean
  readonly requests: number
  readonly alpha: number
  readonly drift: number
}

const FLAG = { type: 'boolean', default: false } as const
const FLAGS = {
  namespace: { type: 'string', short: 'n' },
  context: { type: 'string' },
  kind: { type: 'string', default: 'inferenceservice' },
  prometheus: {
    type: 'string',
    default: process.env.PROMETHEUS_URL ?? 'http://prometheus.monitoring.svc:9090',
  },
  apply: FLAG,
  watch: FLAG,
  start: FLAG,
  json: FLAG,
  steps: { type: 'string', default: '10,25,50' },
  hold: { type: 'string', default: '10m' },
  every: { type: 'string', default: '1m' },
  patience: { type: 'string', default: '2h' },
  requests: { type: 'string', default: '500' },
  alpha: { type: 'string', default: '0.01' },
  drift: { type: 'string', default: '0.1' },
  help: FLAG,
} as const

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: FLAGS })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/**
 * @returns undefined for --help
 * @throws {UsageError} with the option, its value and the allowed values
 */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0)
    throw new UsageError(
      `${positionals.length} names are given; exactly one is required; see --help`,
    )
  const resource = RESOURCES[values.kind as keyof typeof RESOURCES]
  if (resource === undefined)
    throw new UsageError(
      `--kind is "${values.kind}"; it must be one of ${Object.keys(RESOURCES).join(', ')}`,
    )
  if (!/^https?:$/.test(URL.parse(values.prometheus)?.protocol ?? ''))
    throw new UsageError(`--prometheus is "${values.prometheus}"; it must be an http or https URL`)
  const steps = percents(values.steps)
  return {
    resource,
    name,
    namespace: values.namespace,
    context: values.context,
    prometheus: values.prometheus,
    apply: values.apply,
    watch: values.watch,
    start: values.start,
    json: values.json,
    steps,
    hold: seconds(values.hold, '--hold', 0),
    every: seconds(values.every, '--every', 1),
    patience: seconds(values.patience, '--patience', 1),
    // With fewer than 50 requests, no test can find a difference.
    requests: number('requests', values.requests, [50, 1e9]),
    alpha: number('alpha', values.alpha, [1e-9, 0.5]),
    drift: number('drift', values.drift, [0, 1]),
  }
}

function percents(text: string): number[] {
  const steps = text.split(',').map(Number)
  if (!steps.every((step, i) => Number.isInteger(step) && step > (steps[i - 1] ?? 0) && step < 100))
    throw new UsageError(`--steps is "${text}"; it must be ascending integers from 1 to 99`)
  return steps
}

function number(flag: string, text: string, [least, most]: readonly [number, number]): number {
  const value = Number(text)
  if (!(value >= least && value <= most))
    throw new UsageError(`--${flag} is "${text}"; it must be a number from ${least} to ${most}`)
  return value
}

function seconds(text: string, flag: string, least: number): number {
  const [, count = '', unit = ''] = /^(\d+)([smh])$/.exec(text) ?? []
  const value = Number(count) * ({ s: 1, m: 60, h: 3600 }[unit] ?? Number.NaN)
  if (!(value >= least))
    throw new UsageError(
      `${flag} is "${text}"; it must be a duration of at least ${least}s in s, m or h, such as 90s or 10m`,
    )
  return value
}
