import { fileURLToPath } from 'node:url'
import { availableCpus } from './cpu-quota.ts'
import { LOG_LEVELS, type LogLevel } from './telemetry/log.ts'

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
  readonly logLevel: LogLevel
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
  /** Whether GET / is a page for browsers. */
  readonly playground: boolean
  /** Undefined: made from the service's and the model's name. */
  readonly eventSource: string | undefined
  /** The Knative service, or KServe InferenceService, this process belongs to. */
  readonly service: string | undefined
  readonly inferenceService: string | undefined
  readonly revision: string | undefined
  /** True in a Kubernetes pod. */
  readonly inCluster: boolean
  /** Undefined: nothing is pushed. */
  readonly push: PushConfig | undefined
  /** Undefined: the same port as everything else. */
  readonly metricsPort: number | undefined
  /** Undefined: whoever reaches the port may ask. */
  readonly auth: AuthConfig | undefined
  /** Undefined: plain HTTP. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
  /** Origins of pages that may read answers, or `*` for all; undefined: none. */
  readonly corsOrigins: readonly string[] | '*' | undefined
}

/** Who may ask: whoever knows the secret, or has a token; at least one of the three is there. */
export interface AuthConfig {
  readonly secret: string | undefined
  /** One secret a line. */
  readonly secretFile: string | undefined
  readonly jwt: JwtConfig | undefined
}

/** What a token (JWT) must be. */
export interface JwtConfig {
  readonly issuer: string
  readonly audience: string
  /** Of tokens for events. */
  readonly eventsAudience: string
  /** The issuer's public keys: a URL, or a file. */
  readonly jwks: URL | string
  readonly algorithms: readonly string[]
  /** Undefined: everybody whom the issuer gives a token for this audience. */
  readonly subjects: readonly string[] | undefined
  readonly clockSkewSeconds: number
}

/** What is pushed by OTLP; where to, with which headers and under which names OpenTelemetry's own code reads from the environment. */
export interface PushConfig {
  readonly traces: boolean
  readonly metrics: boolean
  readonly sampler: {
    /** A trace that began elsewhere is sampled where it was sampled there. */
    readonly parentBased: boolean
    /** Of other traces. */
    readonly share: number
  }
  readonly metricIntervalMs: number
}

interface Variable {
  /** The default, as docs/configuration.md shows it. */
  readonly default: string
  readonly allowed: string
  readonly meaning: string
}

const EXECUTIONS = ['auto', 'inline', 'worker']
/** By OTEL_TRACES_SAMPLER: the share of new traces that is sampled, of `ratio` as OTEL_TRACES_SAMPLER_ARG says. */
const SAMPLERS: Readonly<
  Record<string, { readonly parentBased: boolean; readonly share: 0 | 1 | 'ratio' }>
> = {
  always_on: { parentBased: false, share: 1 },
  always_off: { parentBased: false, share: 0 },
  traceidratio: { parentBased: false, share: 'ratio' },
  parentbased_always_on: { parentBased: true, share: 1 },
  parentbased_always_off: { parentBased: true, share: 0 },
  parentbased_traceidratio: { parentBased: true, share: 'ratio' },
}
const SWITCH = ['on', 'off']
// None of them can be made from a public key, as those of HMAC can.
const JWT_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
]

/** Every variable a user may set; docs/configuration.md is this table, and a test compares them. */
export const VARIABLES = {
  PORT: {
    default: '8080',
    allowed: 'an integer from 0 to 65535',
    meaning:
      'The port for everything: inference, events, health, metrics, pages. 0 takes a free one.',
  },
  LISTEN_HOST: {
    default: 'all interfaces',
    allowed: 'an address',
    meaning: 'The address to listen on.',
  },
  MODEL_DIR: {
    default: 'models/iris/v1.0.0',
    allowed: 'a folder',
    meaning:
      'The model folder: `model.onnx` (or the only `*.onnx` there) and optionally `model.json`.',
  },
  MODEL_NAME: {
    default: 'from `model.json`',
    allowed: 'text without /',
    meaning: 'The model’s name in paths and answers.',
  },
  MODEL_VERSION: {
    default: 'from `model.json`',
    allowed: 'text without /',
    meaning: 'The model’s version in paths and answers.',
  },
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
    meaning:
      'Rows that may wait for a run; beyond, the answer is 503 with Retry-After. A request counts for at most `MAX_BATCH_ROWS`.',
  },
  MAX_BATCH_ROWS: {
    default: '256',
    allowed: 'an integer of 1 or more',
    meaning: 'Rows that waiting requests are joined up to in one run; a larger request runs alone.',
  },
  REQUEST_TIMEOUT_MS: {
    default: '30000',
    allowed: 'an integer from 1 to 2147483647',
    meaning:
      'How long a request may take to arrive (408) and to begin its run (504), and its answer to be read (else the connection is cut).',
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
  PLAYGROUND: {
    default: 'on',
    allowed: 'on, off',
    meaning:
      'Whether `GET /` gives browsers the page to try the model in; `off`, they get the server’s metadata as everybody does. `/docs` stays.',
  },
  CE_SOURCE: {
    default: '/onnx-function/{service}/{model}',
    allowed: 'a URI reference',
    meaning: 'The `source` of reply events.',
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    default: 'nothing is pushed',
    allowed: 'an http or https URL',
    meaning:
      'Where spans and metrics are pushed to ([tracing](tracing.md)): `/v1/traces` and `/v1/metrics` are added to it.',
  },
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {
    default: 'from `OTEL_EXPORTER_OTLP_ENDPOINT`',
    allowed: 'an http or https URL',
    meaning: 'Where spans are pushed to, as it is.',
  },
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: {
    default: 'from `OTEL_EXPORTER_OTLP_ENDPOINT`',
    allowed: 'an http or https URL',
    meaning: 'Where metrics are pushed to, as it is.',
  },
  OTEL_EXPORTER_OTLP_HEADERS: {
    default: 'none',
    allowed: 'name=value,name=value, percent-encoded',
    meaning: 'Headers of what is pushed, such as a key.',
  },
  OTEL_EXPORTER_OTLP_PROTOCOL: {
    default: 'http/protobuf',
    allowed: 'http/protobuf',
    meaning: 'How it is pushed.',
  },
  OTEL_SERVICE_NAME: {
    default: 'the Knative or KServe service, else onnx-function',
    allowed: 'text',
    meaning: 'The `service.name` of what is pushed.',
  },
  OTEL_RESOURCE_ATTRIBUTES: {
    default: 'none',
    allowed: 'name=value,name=value, percent-encoded',
    meaning: 'Further attributes of what is pushed; they win over the process’s own.',
  },
  OTEL_TRACES_SAMPLER: {
    default: 'parentbased_always_on',
    allowed: Object.keys(SAMPLERS).join(', '),
    meaning: 'Which requests spans are sent of; `parentbased_` samplers follow a `traceparent`.',
  },
  OTEL_TRACES_SAMPLER_ARG: {
    default: '1',
    allowed: 'a number from 0 to 1',
    meaning: 'The share that the `traceidratio` samplers take.',
  },
  OTEL_METRIC_EXPORT_INTERVAL: {
    default: '60000',
    allowed: 'an integer from 1 to 2147483647',
    meaning:
      'Milliseconds from one push of the metrics to the next; they are pushed at the start and at the end as well.',
  },
  OTEL_SDK_DISABLED: {
    default: 'false',
    allowed: 'true, false',
    meaning: '`true`: nothing is pushed after all.',
  },
  METRICS_PORT: {
    default: 'the same as `PORT`',
    allowed: 'an integer from 0 to 65535',
    meaning:
      'A port of its own for `/metrics`, which is then nowhere else; health is answered there, too. Plain HTTP, and open to whoever reaches it. 0 takes a free one.',
  },
  AUTH_SECRET: {
    default: 'none',
    allowed: 'at least 16 of the characters A–Z a–z 0–9 - . _ ~ + / =',
    meaning:
      'A secret that callers send as `Authorization: Bearer …`. With it, or any of the next two, everything but health needs it: [docs/security.md](security.md).',
  },
  AUTH_SECRET_FILE: {
    default: 'none',
    allowed: 'a file',
    meaning:
      'The same from a file, one secret a line, each of which is taken; read again when it changes.',
  },
  AUTH_JWKS: {
    default: 'none',
    allowed: 'an https URL, an http URL of this machine, or a file',
    meaning:
      'The public keys of who issues tokens (a JSON Web Key Set): callers send a token signed by one of them. A file is read again when it changes; a URL is asked again for a key that is new, and every ten minutes. Needs `AUTH_ISSUER` and `AUTH_AUDIENCE`.',
  },
  AUTH_ISSUER: { default: 'none', allowed: 'text', meaning: 'The `iss` that tokens must have.' },
  AUTH_AUDIENCE: { default: 'none', allowed: 'text', meaning: 'The `aud` that tokens must name.' },
  AUTH_EVENTS_AUDIENCE: {
    default: 'the same as `AUTH_AUDIENCE`',
    allowed: 'text',
    meaning:
      'The `aud` that tokens of events must name instead, such as the `audience` of a Trigger’s subscriber.',
  },
  AUTH_SUBJECTS: {
    default: 'all',
    allowed: 'text, separated by commas',
    meaning: 'The `sub` of tokens that are taken; any other gets 403.',
  },
  AUTH_ALGORITHMS: {
    default: 'RS256',
    allowed: `of ${JWT_ALGORITHMS.join(', ')}; separated by commas`,
    meaning: 'The algorithms that tokens may be signed with.',
  },
  AUTH_CLOCK_SKEW_SECONDS: {
    default: '30',
    allowed: 'an integer from 0 to 300',
    meaning: 'How far the issuer’s clock may be from this one.',
  },
  TLS_CERT_FILE: {
    default: 'none',
    allowed: 'a file',
    meaning:
      'The certificate with its chain, in PEM: `PORT` then speaks HTTPS only. Read again when it changes. Needs `TLS_KEY_FILE`.',
  },
  TLS_KEY_FILE: { default: 'none', allowed: 'a file', meaning: 'Its private key, in PEM.' },
  CORS_ORIGINS: {
    default: 'none',
    allowed: '*, or origins such as https://example.com, separated by commas',
    meaning: 'Whose pages may read answers in a browser.',
  },
} satisfies Record<string, Variable>

export type VariableName = keyof typeof VARIABLES

const SHIPPED_MODEL = fileURLToPath(new URL('../models/iris/v1.0.0', import.meta.url))

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3

/**
 * @param env as process.env; a variable that is set but empty counts as not set, but for those that keep others out
 * @param givenAs what the user wrote instead of a variable, such as a command line's argument, for errors to name
 * @throws {Error} of one line, naming the variable, its value and what is allowed
 */
export function readConfig(
  env: NodeJS.ProcessEnv,
  givenAs: Partial<Record<VariableName, string>> = {},
): Config {
  const text = (name: VariableName, isAllowed: (value: string) => boolean = () => true) => {
    const value = env[name]
    if (value === undefined || value === '') return undefined
    if (!isAllowed(value))
      throw new Error(
        `${givenAs[name] ?? name} is ${JSON.stringify(value)}; it must be ${VARIABLES[name].allowed}`,
      )
    return value
  }
  const integer = (name: VariableName, least: number, most = 2 ** 31 - 1) => {
    const value = text(
      name,
      digits => /^\d{1,10}$/.test(digits) && Number(digits) >= least && Number(digits) <= most,
    )
    return Number(value ?? VARIABLES[name].default)
  }
  const list = (name: VariableName, isAllowed: (value: string) => boolean = () => true) =>
    text(name, value =>
      value.split(',').every(item => item.trim() !== '' && isAllowed(item.trim())),
    )
      ?.split(',')
      .map(item => item.trim())
  /** All of these or none. */
  const together = (...names: VariableName[]) => {
    const missing = names.find(name => !env[name])
    const given = names.find(name => env[name])
    if (missing !== undefined && given !== undefined)
      throw new Error(`${missing} is missing; it belongs to ${given}`)
    return given !== undefined
  }
  // Elsewhere nothing stands for the default, which here would let everybody in.
  const empty = (Object.keys(VARIABLES) as VariableName[]).find(
    name => /^(?:AUTH|TLS)_/.test(name) && env[name] === '',
  )
  if (empty !== undefined)
    throw new Error(`${empty} is ""; it must be ${VARIABLES[empty].allowed}, or be left out`)
  const segment = (name: VariableName) => text(name, value => !value.includes('/'))
  const push = () => {
    const url = (name: VariableName) =>
      text(name, value => /^https?:$/.test(URL.parse(value)?.protocol ?? ''))
    const either = url('OTEL_EXPORTER_OTLP_ENDPOINT')
    const traces = (url('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? either) !== undefined
    const metrics = (url('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT') ?? either) !== undefined
    text('OTEL_EXPORTER_OTLP_PROTOCOL', protocol => protocol === 'http/protobuf')
    const name =
      text('OTEL_TRACES_SAMPLER', value => Object.hasOwn(SAMPLERS, value)) ??
      VARIABLES.OTEL_TRACES_SAMPLER.default
    const { parentBased, share } = SAMPLERS[name] as (typeof SAMPLERS)[string]
    const ratio = Number(
      text('OTEL_TRACES_SAMPLER_ARG', value => /^(?:0?\.\d+|0|1(?:\.0+)?)$/.test(value)) ?? 1,
    )
    const metricIntervalMs = integer('OTEL_METRIC_EXPORT_INTERVAL', 1)
    const isDisabled = /^true$/i.test(
      text('OTEL_SDK_DISABLED', value => /^(?:true|false)$/i.test(value)) ?? '',
    )
    if (isDisabled || !(traces || metrics)) return undefined
    return {
      traces,
      metrics,
      sampler: { parentBased, share: share === 'ratio' ? ratio : share },
      metricIntervalMs,
    }
  }
  const cpus = availableCpus()
  const [drainDelayMs, drainTimeoutMs] = [
    integer('DRAIN_DELAY_MS', 0),
    integer('DRAIN_TIMEOUT_MS', 0),
  ]
  if (drainDelayMs > 0 && drainDelayMs >= drainTimeoutMs) {
    throw new Error(
      `DRAIN_DELAY_MS is "${drainDelayMs}"; it must be less than DRAIN_TIMEOUT_MS (${drainTimeoutMs}), which includes it`,
    )
  }
  return Object.freeze({
    port: integer('PORT', 0, 65535),
    listenHost: text('LISTEN_HOST'),
    listenFd: passedSocket(env),
    modelDir: text('MODEL_DIR') ?? SHIPPED_MODEL,
    modelName: segment('MODEL_NAME'),
    modelVersion: segment('MODEL_VERSION'),
    logLevel: (text('LOG_LEVEL', level => (LOG_LEVELS as readonly string[]).includes(level)) ??
      'info') as LogLevel,
    maxBodyBytes: integer('MAX_BODY_BYTES', 1),
    maxQueueRows: integer('MAX_QUEUE_ROWS', 1),
    maxBatchRows: integer('MAX_BATCH_ROWS', 1),
    requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 1),
    drainDelayMs,
    drainTimeoutMs,
    idleExitMs: 1_000 * integer('IDLE_EXIT_SECONDS', 0, 2_147_483),
    execution: (text('EXECUTION', value => EXECUTIONS.includes(value)) ??
      'auto') as Config['execution'],
    cpus,
    ortThreads: Math.min(
      cpus,
      text('ORT_THREADS') === undefined ? cpus : integer('ORT_THREADS', 1, 1024),
    ),
    playground: text('PLAYGROUND', value => SWITCH.includes(value)) !== 'off',
    eventSource: text(
      'CE_SOURCE',
      source => source.trim() === source && URL.canParse(source, 'http://function/'),
    ),
    service: env.K_SERVICE || env.INFERENCE_SERVICE_NAME || undefined,
    inferenceService: env.INFERENCE_SERVICE_NAME || undefined,
    revision: env.K_REVISION || undefined,
    inCluster: Boolean(env.KUBERNETES_SERVICE_HOST),
    push: push(),
    metricsPort: readMetricsPort(),
    auth: readAuth(),
    tls: together('TLS_CERT_FILE', 'TLS_KEY_FILE')
      ? { certFile: env.TLS_CERT_FILE as string, keyFile: env.TLS_KEY_FILE as string }
      : undefined,
    corsOrigins: env.CORS_ORIGINS === '*' ? '*' : list('CORS_ORIGINS', isOrigin),
  })

  function readMetricsPort(): number | undefined {
    if (text('METRICS_PORT') === undefined) return undefined
    const port = integer('METRICS_PORT', 0, 65535)
    if (port !== 0 && port === integer('PORT', 0, 65535))
      throw new Error(`METRICS_PORT is "${port}"; it must differ from PORT, or be left out`)
    return port
  }

  function readAuth(): AuthConfig | undefined {
    const secret = env.AUTH_SECRET || undefined
    const secretFile = text('AUTH_SECRET_FILE')
    const jwt = readJwt()
    return secret === undefined && secretFile === undefined && jwt === undefined
      ? undefined
      : { secret, secretFile, jwt }
  }

  function readJwt(): JwtConfig | undefined {
    const algorithms = list('AUTH_ALGORITHMS', name => JWT_ALGORITHMS.includes(name)) ?? [
      VARIABLES.AUTH_ALGORITHMS.default,
    ]
    const clockSkewSeconds = integer('AUTH_CLOCK_SKEW_SECONDS', 0, 300)
    const [eventsAudience, subjects] = [text('AUTH_EVENTS_AUDIENCE'), list('AUTH_SUBJECTS')]
    const jwks = text('AUTH_JWKS', isKeySource)
    if (!together('AUTH_JWKS', 'AUTH_ISSUER', 'AUTH_AUDIENCE')) {
      const alone = (['AUTH_EVENTS_AUDIENCE', 'AUTH_SUBJECTS'] as const).find(name => env[name])
      if (alone !== undefined) throw new Error(`AUTH_JWKS is missing; it belongs to ${alone}`)
      return undefined
    }
    const audience = env.AUTH_AUDIENCE as string
    return {
      issuer: env.AUTH_ISSUER as string,
      audience,
      eventsAudience: eventsAudience ?? audience,
      jwks: isUrl(jwks as string) ? new URL(jwks as string) : (jwks as string),
      algorithms,
      subjects,
      clockSkewSeconds,
    }
  }
}

const isUrl = (text: string) => /^\w+:\/\//.test(text)

/** Keys that anybody on the way can change are none. */
function isKeySource(text: string): boolean {
  if (!isUrl(text)) return true
  if (!URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return (
    protocol === 'https:' ||
    (protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname))
  )
}

const isOrigin = (text: string) => URL.canParse(text) && new URL(text).origin === text

/** Sockets for another process, whose environment this one inherited, are none of ours. */
function passedSocket({ LISTEN_PID, LISTEN_FDS }: NodeJS.ProcessEnv): number | undefined {
  if (LISTEN_FDS === undefined || LISTEN_PID !== `${process.pid}`) return undefined
  if (LISTEN_FDS !== '1')
    throw new Error(
      `LISTEN_FDS is ${JSON.stringify(LISTEN_FDS)}; it must be 1: one socket for everything`,
    )
  return LISTEN_FDS_START
}
