import { parseArgs } from 'node:util'
import type { Plan } from './decide.ts'
import { RESOURCES, type Resource } from './rollout/state.ts'

export const HELP = `npm start --prefix kserve/canary -- NAME [options]

  NAME                  an InferenceService; with --kind service, a Knative Service; with
                        --kind httproute, an HTTPRoute, of whose two backendRefs the last is the new
  -n, --namespace NAME  its namespace (the kubeconfig's, or the pod's own)
  --context NAME        a context of the kubeconfig
  --prometheus URL      (PROMETHEUS_URL, or http://prometheus.monitoring.svc:9090)

  --apply               change the object; without it, a dry run
  --watch               go on until all traffic has moved, or moved back
  --start               start a new revision that stands at 0 %
  --json                print each look as a line of JSON

  --steps 10,25,50      percents at which it is judged before it gets all traffic
  --hold 10m            least duration of a step
  --every 1m            time between two looks
  --patience 2h         too little to judge by is an error after this long
  --requests 500        requests that each revision must have answered since the step began
  --alpha 0.01          largest probability of rolling back a version that is no different
  --drift 0.1           share of predictions that may move to another label

exit code  0 promoted, waiting, or nothing to do  5 a person has to decide
           2 wrong arguments                      6 rolled back
           3 Prometheus does not answer           7 the route does not carry the percent
           4 the API server does not answer,      8 too little to judge by for --patience
             or refuses
`

/** The command's arguments are wrong. */
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
 * @throws {UsageError} naming the option, its value and what is allowed
 */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0)
    throw new UsageError(`one name is wanted, not ${positionals.length}; see --help`)
  const resource = RESOURCES[values.kind as keyof typeof RESOURCES]
  if (resource === undefined)
    throw new UsageError(
      `--kind is "${values.kind}"; it is one of ${Object.keys(RESOURCES).join(', ')}`,
    )
  if (!/^https?:$/.test(URL.parse(values.prometheus)?.protocol ?? ''))
    throw new UsageError(`--prometheus is "${values.prometheus}"; it is a URL`)
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
    // With fewer requests no test has the power to find a difference.
    requests: number('requests', values.requests, [50, 1e9]),
    alpha: number('alpha', values.alpha, [1e-9, 0.5]),
    drift: number('drift', values.drift, [0, 1]),
  }
}

function percents(text: string): number[] {
  const steps = text.split(',').map(Number)
  if (!steps.every((step, i) => Number.isInteger(step) && step > (steps[i - 1] ?? 0) && step < 100))
    throw new UsageError(`--steps is "${text}"; it is whole percents that rise, from 1 to 99`)
  return steps
}

function number(flag: string, text: string, [least, most]: readonly [number, number]): number {
  const value = Number(text)
  if (!(value >= least && value <= most))
    throw new UsageError(`--${flag} is "${text}"; it is a number from ${least} to ${most}`)
  return value
}

function seconds(text: string, flag: string, least: number): number {
  const [, count = '', unit = ''] = /^(\d+)([smh])$/.exec(text) ?? []
  const value = Number(count) * ({ s: 1, m: 60, h: 3600 }[unit] ?? Number.NaN)
  if (!(value >= least))
    throw new UsageError(
      `${flag} is "${text}"; it is seconds, minutes or hours, at least ${least}s, such as 90s or 10m`,
    )
  return value
}
