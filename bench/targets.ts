import { figuresOf, type Results } from './results.ts'
import { ratio, type Spread, spread } from './statistics.ts'

/*
 * The project's performance targets. No test enforces them, because the figures depend on the
 * machine.
 */

interface Side {
  readonly workload: string
  readonly contender: string
  readonly metric: string
}

export interface Target {
  readonly what: string
  /** The figure in `unit`, or divided by the figure of `over` in the same round. */
  readonly side: Side
  readonly over?: Side
  readonly unit?: string
  readonly atLeast?: number
  readonly atMost?: number
}

const OURS = 'onnx-function'
const STATIC = 'node:http, static response'
const NODE_HTTP = 'node:http, one run per request'
const HTTP_JOIN = 'node:http, joined runs'

const between = (
  what: string,
  workload: string,
  metric: string,
  over: string,
  limit: object,
  contender = OURS,
): Target => ({
  what,
  side: { workload, contender, metric },
  over: { workload, contender: over, metric },
  ...limit,
})

const absolute = (
  what: string,
  workload: string,
  contender: string,
  metric: string,
  unit: string,
  atMost: number,
): Target => ({
  what,
  side: { workload, contender, metric },
  unit,
  atMost,
})

const PEERS = ['MLServer', 'KServe SDK', 'FastAPI', 'PyTriton'] as const

export const TARGETS: readonly Target[] = [
  between(
    'requests/s / those of the static server, 64 connections',
    'connections-64',
    'requests/s',
    STATIC,
    { atLeast: 0.95 },
  ),
  between(
    'requests/s / those of bare `node:http` with joined runs, 64 connections',
    'native-connections-64',
    'requests/s',
    HTTP_JOIN,
    { atLeast: 0.95 },
  ),
  between(
    'requests/s / those of furnace-server with batches, probabilities alone, 64 connections',
    'native-probabilities-64',
    'requests/s',
    'furnace-server, batches of 8',
    { atLeast: 1.05 },
  ),
  between(
    'requests/s / those of Express, 64 connections',
    'connections-64',
    'requests/s',
    'Express 5, one run per request',
    { atLeast: 4 },
  ),
  between(
    'requests/s / those of MLServer, 64 connections',
    'peers-connections-64',
    'requests/s',
    'MLServer',
    { atLeast: 10 },
  ),
  between(
    'requests/s / those of the KServe SDK, 64 connections',
    'peers-connections-64',
    'requests/s',
    'KServe SDK',
    { atLeast: 10 },
  ),
  between(
    'requests/s / those of PyTriton, 64 connections',
    'peers-connections-64',
    'requests/s',
    'PyTriton',
    {
      atLeast: 1.5,
    },
  ),
  ...(['transformer', 'slow-5'] as const).flatMap(model => [
    between(
      `requests/s with ${model} / those of the native limit`,
      `native-${model}`,
      'requests/s',
      'native limit',
      {
        atLeast: 0.95,
      },
    ),
    ...PEERS.map(peer =>
      between(`requests/s with ${model} / those of ${peer}`, `peers-${model}`, 'requests/s', peer, {
        atLeast: 1,
      }),
    ),
  ]),
  between(
    'p50 / that of bare `node:http` with one run per request, 1 connection',
    'connections-1',
    'p50',
    NODE_HTTP,
    { atMost: 1.15 },
  ),
  between('p99 / that of the static server, 64 connections', 'connections-64', 'p99', STATIC, {
    atMost: 1.5,
  }),
  between(
    'rows/s / those of a loop of `session.run`, 1,024 rows as binary data',
    'rows-binary',
    'rows/s',
    'session.run in a loop',
    { atLeast: 0.8 },
  ),
  between(
    'binary events per second / V2 requests per second',
    'events',
    'requests/s',
    'V2 requests',
    { atLeast: 0.85 },
    'binary events',
  ),
  between(
    'start to first 200 / that of bare `node:http` with ONNX Runtime',
    'start',
    'start to first 200',
    NODE_HTTP,
    { atMost: 0.85 },
  ),
  ...PEERS.map(peer =>
    between(`start to first 200 / that of ${peer}`, 'peers-start', 'start to first 200', peer, {
      atMost: 0.1,
    }),
  ),
  absolute(
    'p99 of probes beside a 500 ms model under load',
    'slow-500',
    OURS,
    'probe p99',
    'ms',
    10,
  ),
  between(
    'runs/s of the 500 ms model / those of a loop of `session.run`',
    'slow-500',
    'runs/s',
    'session.run in a loop',
    { atLeast: 0.95 },
  ),
  ...(['beside 64 MiB binary', 'beside the largest JSON'] as const).flatMap(body => [
    absolute(`p99 of probes ${body}`, 'large-bodies', body, 'probe p99', 'ms', 20),
    absolute(`p99 of single rows ${body}`, 'large-bodies', body, 'single row p99', 'ms', 20),
    absolute(`peak memory ${body}`, 'large-bodies', body, 'peak RSS', 'MiB', 512),
  ]),
  between('idle memory / that of bare `node:http` with ONNX Runtime', 'memory', 'idle', NODE_HTTP, {
    atMost: 1.2,
  }),
  {
    what: 'memory after 1,000,000 requests / after 10,000 requests',
    side: { workload: 'memory-million', contender: OURS, metric: 'after 1,000,000' },
    over: { workload: 'memory-million', contender: OURS, metric: 'after 10,000' },
    atMost: 1.1,
  },
]

export interface Reached extends Target {
  /** Undefined if this figure or its divisor was not measured. */
  readonly figure: Spread | undefined
  readonly isReached: boolean | undefined
}

export const reached = (results: Results): readonly Reached[] =>
  TARGETS.map(target => {
    const figure = figureOf(results, target)
    const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target
    return {
      ...target,
      figure,
      isReached: figure && figure.median >= atLeast && figure.median <= atMost,
    }
  })

function figureOf(results: Results, { side, over }: Target): Spread | undefined {
  const of = ({ workload, contender, metric }: Side) =>
    figuresOf(results, workload, contender, metric)
  const values = of(side)
  if (values === undefined) return undefined
  if (over === undefined) return spread(values)
  const others = of(over)
  return others && ratio(values, others)
}
