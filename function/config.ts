import { fileURLToPath } from 'node:url'
import { availableCpus } from './cpu-quota.ts'

/** How the process is set up; every value comes from the environment, and only from here. */
export interface Config {
  readonly port: number
  /** Undefined: all interfaces. */
  readonly listenHost: string | undefined
  /** A socket that listens already, passed on by systemd, instead of port and host. */
  readonly listenFd: number | undefined
  readonly modelDir: string
  readonly modelName: string | undefined
  readonly modelVersion: string | undefined
  readonly logLevel: string
  readonly maxBodyBytes: number
  readonly maxQueueRows: number
  readonly maxBatchRows: number
  readonly requestTimeoutMs: number
  readonly drainDelayMs: number
  readonly drainTimeoutMs: number
  /** 0: never. */
  readonly idleExitMs: number
  readonly execution: 'auto' | 'inline' | 'worker'
  /** That this process may use at once. */
  readonly cpus: number
  readonly ortThreads: number
  /** Undefined: made from the service's and the model's name. */
  readonly eventSource: string | undefined
  /** The Knative service, or KServe InferenceService, this process belongs to. */
  readonly service: string | undefined
  readonly inferenceService: string | undefined
  readonly revision: string | undefined
  /** True in a Kubernetes pod. */
  readonly inCluster: boolean
}

interface Variable {
  /** The default, as docs/configuration.md shows it. */
  readonly default: string
  readonly allowed: string
  readonly meaning: string
}

const EXECUTIONS = ['auto', 'inline', 'worker']
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** Every variable a user may set; docs/configuration.md is this table, and a test compares them. */
export const VARIABLES = {
  PORT: {
    default: '8080',
    allowed: 'an integer from 0 to 65535',
    meaning: 'The port for everything: inference, events, health, metrics, pages. 0 takes a free one.',
  },
  LISTEN_HOST: { default: 'all interfaces', allowed: 'an address', meaning: 'The address to listen on.' },
  MODEL_DIR: {
    default: 'models/iris/v1.0.0',
    allowed: 'a folder',
    meaning: 'The model folder: `model.onnx` (or the only `*.onnx` there) and optionally `model.json`.',
  },
  MODEL_NAME: { default: 'from `model.json`', allowed: 'text without /', meaning: 'The model’s name in paths and answers.' },
  MODEL_VERSION: { default: 'from `model.json`', allowed: 'text without /', meaning: 'The model’s version in paths and answers.' },
  LOG_LEVEL: {
    default: 'info',
    allowed: LOG_LEVELS.join(', '),
    meaning: 'The least level that is logged; `debug` adds a line for each request.',
  },
  MAX_BODY_BYTES: {
    default: '67108864',
    allowed: 'an integer from 1 to 2147483647',
    meaning:
      'The largest body, inflated too; a larger one is answered 413. So much may also be what a large request is read to, what is answered to it, and what requests that wait take together; bodies and answers held at once are bounded by twice this, beyond which the answer is 503.',
  },
  MAX_QUEUE_ROWS: {
    default: '4096',
    allowed: 'an integer of 1 or more',
    meaning: 'Rows that may wait for a run; beyond, the answer is 503 with Retry-After. A request counts for at most `MAX_BATCH_ROWS`.',
  },
  MAX_BATCH_ROWS: {
    default: '256',
    allowed: 'an integer of 1 or more',
    meaning: 'Rows that waiting requests are joined up to in one run; a larger request runs alone.',
  },
  REQUEST_TIMEOUT_MS: {
    default: '30000',
    allowed: 'an integer from 1 to 2147483647',
    meaning: 'How long a request may take to arrive (408) and to begin its run (504).',
  },
  DRAIN_DELAY_MS: {
    default: '0',
    allowed: 'an integer from 0 to 2147483647',
    meaning:
      'How long new connections are still accepted after TERM. Knative needs none; plain Kubernetes needs the time its endpoints take to follow.',
  },
  DRAIN_TIMEOUT_MS: {
    default: '10000',
    allowed: 'an integer from 0 to 2147483647',
    meaning: 'How long requests in flight may take to finish after TERM, the delay included.',
  },
  IDLE_EXIT_SECONDS: {
    default: '0',
    allowed: 'an integer from 0 to 2147483',
    meaning:
      'After so long without anybody connected or anything asked, health and metrics aside, the process ends with exit code 0, for systemd to start it again (docs/single-machine.md); 0: never. Idle connections are kept no longer than this.',
  },
  EXECUTION: {
    default: 'auto',
    allowed: 'auto, inline, worker',
    meaning:
      'Where the model runs: `inline` on the main thread, `worker` in worker threads, so that nothing else waits for it. `auto` moves a model to worker threads where its runs take more than 5 ms, or its files are larger than 32 MiB.',
  },
  ORT_THREADS: {
    default: 'the CPUs this process may use',
    allowed: 'an integer from 1 to 1024',
    meaning:
      'Threads ONNX Runtime uses within a run, at most as many as there are CPUs (the cgroup’s quota). There are as many worker threads as fit beside each other: CPUs / `ORT_THREADS`, if the memory has room for a copy of the model in each.',
  },
  CE_SOURCE: { default: '/onnx-function/{service}/{model}', allowed: 'a URI reference', meaning: 'The `source` of reply events.' },
} satisfies Record<string, Variable>

export type VariableName = keyof typeof VARIABLES

const SHIPPED_MODEL = fileURLToPath(new URL('../models/iris/v1.0.0', import.meta.url))

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3

/**
 * @param env as process.env; a variable that is set but empty counts as not set
 * @param givenAs what the user wrote instead of a variable, such as a command line's argument, for errors to name
 * @throws {Error} of one line, naming the variable, its value and what is allowed
 */
export function readConfig(env: NodeJS.ProcessEnv, givenAs: Partial<Record<VariableName, string>> = {}): Config {
  const text = (name: VariableName, isAllowed: (value: string) => boolean = () => true) => {
    const value = env[name]
    if (value === undefined || value === '') return undefined
    if (!isAllowed(value)) throw new Error(`${givenAs[name] ?? name} is ${JSON.stringify(value)}; it must be ${VARIABLES[name].allowed}`)
    return value
  }
  const integer = (name: VariableName, least: number, most = 2 ** 31 - 1) => {
    const value = text(name, digits => /^\d{1,10}$/.test(digits) && Number(digits) >= least && Number(digits) <= most)
    return Number(value ?? VARIABLES[name].default)
  }
  const segment = (name: VariableName) => text(name, value => !value.includes('/'))
  const cpus = availableCpus()
  const [drainDelayMs, drainTimeoutMs] = [integer('DRAIN_DELAY_MS', 0), integer('DRAIN_TIMEOUT_MS', 0)]
  if (drainDelayMs > 0 && drainDelayMs >= drainTimeoutMs) {
    throw new Error(`DRAIN_DELAY_MS is "${drainDelayMs}"; it must be less than DRAIN_TIMEOUT_MS (${drainTimeoutMs}), which includes it`)
  }
  return Object.freeze({
    port: integer('PORT', 0, 65535),
    listenHost: text('LISTEN_HOST'),
    listenFd: passedSocket(env),
    modelDir: text('MODEL_DIR') ?? SHIPPED_MODEL,
    modelName: segment('MODEL_NAME'),
    modelVersion: segment('MODEL_VERSION'),
    logLevel: text('LOG_LEVEL', level => LOG_LEVELS.includes(level)) ?? 'info',
    maxBodyBytes: integer('MAX_BODY_BYTES', 1),
    maxQueueRows: integer('MAX_QUEUE_ROWS', 1),
    maxBatchRows: integer('MAX_BATCH_ROWS', 1),
    requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 1),
    drainDelayMs,
    drainTimeoutMs,
    idleExitMs: 1_000 * integer('IDLE_EXIT_SECONDS', 0, 2_147_483),
    execution: (text('EXECUTION', value => EXECUTIONS.includes(value)) ?? 'auto') as Config['execution'],
    cpus,
    ortThreads: Math.min(cpus, text('ORT_THREADS') === undefined ? cpus : integer('ORT_THREADS', 1, 1024)),
    eventSource: text('CE_SOURCE', source => source.trim() === source && URL.canParse(source, 'http://function/')),
    service: env.K_SERVICE || env.INFERENCE_SERVICE_NAME || undefined,
    inferenceService: env.INFERENCE_SERVICE_NAME || undefined,
    revision: env.K_REVISION || undefined,
    inCluster: Boolean(env.KUBERNETES_SERVICE_HOST),
  })
}

/** Sockets for another process, whose environment this one inherited, are none of ours. */
function passedSocket({ LISTEN_PID, LISTEN_FDS }: NodeJS.ProcessEnv): number | undefined {
  if (LISTEN_FDS === undefined || LISTEN_PID !== `${process.pid}`) return undefined
  if (LISTEN_FDS !== '1') throw new Error(`LISTEN_FDS is ${JSON.stringify(LISTEN_FDS)}; it must be 1: one socket for everything`)
  return LISTEN_FDS_START
}
