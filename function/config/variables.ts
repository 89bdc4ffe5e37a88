import { fileURLToPath } from 'node:url'
import { LOG_LEVELS } from '../telemetry/log.ts'
import {
  either,
  httpUrl,
  integer,
  type Kind,
  list,
  oneOf,
  share,
  text,
  type Variable,
  variable,
} from './variable.ts'

/*
 * Every environment variable of the function: a row each, under the field that holds its value.
 * `npm run docs:write` makes docs/configuration.md's tables of it.
 */

const file = text('a file')
const segment = text('text without /', value => !value.includes('/'))

/** The build is one folder below the project's, this file two. */
const SHIPPED_MODELS = new URL(
  import.meta.url.endsWith('.ts') ? '../../models/' : '../models/',
  import.meta.url,
)
const SHIPPED_MODEL = 'iris/v1.0.0'

const folder: Kind<string> = {
  ...text('a folder, or a .onnx file'),
  show: path => path.slice(fileURLToPath(new URL('..', SHIPPED_MODELS)).length),
}

/** The model, and how requests are served and events answered. */
export const SERVING = {
  port: variable('PORT', integer({ min: 0, max: 65535 }), {
    default: 8080,
    meaning: 'The port for inference, events, health, metrics and pages. 0 takes a free one.',
  }),
  listenHost: variable('LISTEN_HOST', text('an address'), {
    otherwise: 'all interfaces',
    meaning: 'The address to listen on.',
  }),
  metricsPort: variable('METRICS_PORT', integer({ min: 0, max: 65535 }), {
    otherwise: 'the same as `PORT`',
    meaning:
      'A separate port for `/metrics` (and health), over plain HTTP without authentication; ' +
      '`PORT` then no longer serves `/metrics`. 0 takes a free one.',
  }),
  modelDir: variable('MODEL_DIR', folder, {
    default: fileURLToPath(new URL(SHIPPED_MODEL, SHIPPED_MODELS)),
    meaning:
      'The model: a `.onnx` file, or a folder with one and an optional `model.json` ' +
      '([sources](models.md)). If it is not set, `model/` or `model.onnx` in the folder where ' +
      'the process starts comes before the default.',
  }),
  modelName: variable('MODEL_NAME', segment, {
    otherwise: 'from `model.json`',
    meaning: 'The model’s name in paths and answers.',
  }),
  modelVersion: variable('MODEL_VERSION', segment, {
    otherwise: 'from `model.json`',
    meaning: 'The model’s version in paths and answers.',
  }),
  transform: variable('TRANSFORM', text('a file, or off'), {
    otherwise: 'transform.js, .mjs or .ts beside the model',
    meaning:
      'Your own code before and after the model ([transform](transform.md)). Beside a model ' +
      'that KServe mounts (`--model_dir`, `/mnt/models`), only a file named here is loaded: a ' +
      'model store must not become code.',
  }),
  execution: variable('EXECUTION', oneOf(['auto', 'inline', 'worker']), {
    default: 'auto',
    meaning:
      '`inline` runs the model on the main thread, `worker` in worker threads, so that other ' +
      'requests do not wait. `auto` chooses `worker` for a model with a transform, one whose ' +
      'run time depends on input values (such as a Loop), one that takes more than 5 ms of CPU ' +
      'for a run or 100 ms to load, and one larger than 32 MiB. With `inline`, only SIGKILL ' +
      'ends an endless run.',
  }),
  ortThreads: variable('ORT_THREADS', integer({ min: 1, max: 1024 }), {
    otherwise: 'the CPUs this process may use',
    meaning:
      'Threads of ONNX Runtime within a run, at most the CPUs (or the cgroup’s quota). CPUs / ' +
      '`ORT_THREADS` worker threads run in parallel, if memory has room for a copy of the model ' +
      'in each.',
  }),
  ceSource: variable(
    'CE_SOURCE',
    text(
      'a URI reference',
      value => value.trim() === value && URL.canParse(value, 'http://function/'),
    ),
    {
      otherwise: '/onnx-function/{service}/{model}',
      meaning: 'The `source` of reply events.',
    },
  ),
  playground: variable('PLAYGROUND', either('on', 'off'), {
    default: true,
    meaning:
      '`on` gives browsers a page to try the model at `GET /`; `off` gives them the metadata ' +
      'that other clients get. `/docs` stays.',
  }),
  logLevel: variable('LOG_LEVEL', oneOf(LOG_LEVELS), {
    default: 'info',
    meaning: 'The lowest level to log. `debug` adds a line for each request.',
  }),
} as const

/** Bounds of size and time. */
export const LIMITS = {
  maxBodyBytes: variable('MAX_BODY_BYTES', integer({ min: 1 }), {
    default: 64 * 1024 * 1024,
    meaning:
      'The largest body, also after decompression; a larger one gets 413. The same limit holds ' +
      'for the tensors and the answer of a large request, and for all waiting requests ' +
      'together. All bodies and answers in memory may take twice as much; beyond that, requests ' +
      'get 503.',
  }),
  maxJsonBytes: variable('MAX_JSON_BYTES', integer({ min: 1 }), {
    default: 16 * 1024 * 1024,
    meaning:
      'The largest JSON of a request and of its answer, within `MAX_BODY_BYTES`; larger gets ' +
      '413. Reading JSON takes several times its size; with the default, the process stays ' +
      'within 512 MiB. Binary tensor data takes only its own size.',
  }),
  maxQueueRows: variable('MAX_QUEUE_ROWS', integer({ min: 1 }), {
    default: 4096,
    meaning:
      'Rows that may wait for a run; beyond that, requests get 503 with `Retry-After`. A ' +
      'request counts for at most `MAX_BATCH_ROWS`.',
  }),
  maxBatchRows: variable('MAX_BATCH_ROWS', integer({ min: 1 }), {
    default: 256,
    meaning:
      'The most rows that waiting requests may have to share a run; a larger request runs alone.',
  }),
  maxConnections: variable('MAX_CONNECTIONS', integer({ min: 8 }), {
    otherwise: 'one for each 512 KiB of the memory limit, 64 to 32768',
    meaning:
      'Open connections; also HTTP/2 streams over all connections and, with TLS, four times the ' +
      'handshakes in progress. At the limit, a new connection replaces one that waits for its ' +
      'client, or is dropped if all are busy. `METRICS_PORT` has 64 of its own.',
  }),
  requestTimeoutMs: variable('REQUEST_TIMEOUT_MS', integer({ min: 1 }), {
    default: 30_000,
    meaning:
      'The longest time for a request to arrive (then 408), to wait for its run (then 504), and ' +
      'for the client to read the answer (then the connection is closed).',
  }),
  runTimeoutMs: variable('RUN_TIMEOUT_MS', integer({ min: 0, max: 2_147_483_647 }), {
    default: 60_000,
    meaning:
      'The longest time for a run in a worker thread. After that its callers get 504, readiness ' +
      'fails, other requests finish within `DRAIN_TIMEOUT_MS`, and the process replaces itself, ' +
      'because a thread cannot be stopped during a run. 0: no limit.',
  }),
  drainDelayMs: variable('DRAIN_DELAY_MS', integer({ min: 0 }), {
    default: 0,
    meaning:
      'How long the process accepts new connections after TERM; less than `DRAIN_TIMEOUT_MS`. ' +
      'Knative needs no delay; plain Kubernetes needs the time to update its endpoints.',
  }),
  drainTimeoutMs: variable('DRAIN_TIMEOUT_MS', integer({ min: 0 }), {
    default: 10_000,
    meaning:
      'How long requests in flight may take to finish after TERM, including `DRAIN_DELAY_MS`.',
  }),
  idleExitMs: variable('IDLE_EXIT_SECONDS', integer({ min: 0, max: 2_147_483, factor: 1_000 }), {
    default: 0,
    meaning:
      'The process exits with 0 after this time without connections and requests (health and ' +
      'metrics do not count), so that [systemd](deploy.md#one-machine-with-systemd) starts it ' +
      'again. Idle connections are closed by then. 0: never.',
  }),
} as const

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const
export type SamplerName = (typeof SAMPLERS)[number]

/** OpenTelemetry's variables; its exporters and resource detector read some of them themselves. */
export const PUSHING = {
  endpoint: variable('OTEL_EXPORTER_OTLP_ENDPOINT', httpUrl, {
    otherwise: 'nothing is pushed',
    meaning:
      'The URL that receives [spans and metrics](metrics.md), with `/v1/traces` and ' +
      '`/v1/metrics` added.',
  }),
  tracesEndpoint: variable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', httpUrl, {
    otherwise: 'from `OTEL_EXPORTER_OTLP_ENDPOINT`',
    meaning: 'The complete URL that receives spans.',
  }),
  metricsEndpoint: variable('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', httpUrl, {
    otherwise: 'from `OTEL_EXPORTER_OTLP_ENDPOINT`',
    meaning: 'The complete URL that receives metrics.',
  }),
  headers: variable('OTEL_EXPORTER_OTLP_HEADERS', text('name=value,name=value, percent-encoded'), {
    otherwise: 'none',
    meaning: 'Headers of each push, such as an API key.',
  }),
  protocol: variable('OTEL_EXPORTER_OTLP_PROTOCOL', oneOf(['http/protobuf']), {
    default: 'http/protobuf',
    meaning: 'The protocol of each push.',
  }),
  serviceName: variable('OTEL_SERVICE_NAME', text('text'), {
    otherwise: 'the Knative or KServe service, else onnx-function',
    meaning: 'The `service.name` of spans and metrics.',
  }),
  resourceAttributes: variable(
    'OTEL_RESOURCE_ATTRIBUTES',
    text('name=value,name=value, percent-encoded'),
    {
      otherwise: 'none',
      meaning: 'Further resource attributes; they override the process’s own.',
    },
  ),
  sampler: variable('OTEL_TRACES_SAMPLER', oneOf(SAMPLERS), {
    default: 'parentbased_always_on',
    meaning: 'Which requests send spans. The `parentbased_` samplers follow a `traceparent`.',
  }),
  samplerShare: variable('OTEL_TRACES_SAMPLER_ARG', share, {
    default: 1,
    meaning: 'The share of the `traceidratio` samplers.',
  }),
  metricIntervalMs: variable('OTEL_METRIC_EXPORT_INTERVAL', integer({ min: 1 }), {
    default: 60_000,
    meaning:
      'Milliseconds between two pushes of metrics. They are also pushed at the start and at the ' +
      'end.',
  }),
  disabled: variable('OTEL_SDK_DISABLED', either('true', 'false'), {
    default: false,
    meaning: '`true` turns off all pushing.',
  }),
} as const

// Each of these needs a private key to sign. HMAC does not: with it, anyone who has the issuer's
// public key could sign a token.
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

const isUrl = (text: string) => /^\w+:\/\//.test(text)

/** Over http, anyone on the path could replace the keys. */
function isSafe({ protocol, hostname }: URL): boolean {
  if (protocol === 'https:') return true
  return protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}

const keySource: Kind<URL | string> = {
  allowed: 'an https URL, an http URL of this machine, or a file',
  parse(text) {
    if (!isUrl(text)) return text
    const url = URL.parse(text)
    return url !== null && isSafe(url) ? url : undefined
  },
}

/** Authentication. */
export const AUTH = {
  secret: variable('AUTH_SECRET', text('at least 16 of the characters A–Z a–z 0–9 - . _ ~ + / ='), {
    otherwise: 'none',
    meaning:
      'A secret that callers send as `Authorization: Bearer …`. With this, `AUTH_SECRET_FILE` ' +
      'or `AUTH_JWKS`, every request except health needs a secret or a token ' +
      '([security](security.md)).',
  }),
  secretFile: variable('AUTH_SECRET_FILE', file, {
    otherwise: 'none',
    meaning: 'A file of secrets, one a line; each is valid. Changes are read.',
  }),
  jwks: variable('AUTH_JWKS', keySource, {
    otherwise: 'none',
    meaning:
      'The token issuer’s public keys (a JSON Web Key Set). A changed file is read again; a URL ' +
      'is fetched again for an unknown key, and every ten minutes. Needs `AUTH_ISSUER` and ' +
      '`AUTH_AUDIENCE`.',
  }),
  issuer: variable('AUTH_ISSUER', text('text'), {
    otherwise: 'none',
    meaning: 'The `iss` of valid tokens.',
  }),
  audience: variable('AUTH_AUDIENCE', text('text'), {
    otherwise: 'none',
    meaning: 'The `aud` of valid tokens.',
  }),
  eventsAudience: variable('AUTH_EVENTS_AUDIENCE', text('text'), {
    otherwise: 'the same as `AUTH_AUDIENCE`',
    meaning:
      'The `aud` of valid tokens of events, such as the `audience` of a Trigger’s subscriber.',
  }),
  subjects: variable('AUTH_SUBJECTS', list('text, separated by commas'), {
    otherwise: 'all',
    meaning: 'The `sub` of allowed tokens; others get 403.',
  }),
  algorithms: variable(
    'AUTH_ALGORITHMS',
    list(`of ${JWT_ALGORITHMS.join(', ')}; separated by commas`, name =>
      JWT_ALGORITHMS.includes(name),
    ),
    { default: ['RS256'], meaning: 'The allowed signature algorithms of tokens.' },
  ),
  clockSkewSeconds: variable('AUTH_CLOCK_SKEW_SECONDS', integer({ min: 0, max: 300 }), {
    default: 30,
    meaning: 'The largest accepted difference between the issuer’s clock and this one.',
  }),
} as const

export const TLS = {
  certFile: variable('TLS_CERT_FILE', file, {
    otherwise: 'none',
    meaning:
      'The certificate with its chain, in PEM; `PORT` then speaks only HTTPS. Changes are read. ' +
      'Needs `TLS_KEY_FILE`.',
  }),
  keyFile: variable('TLS_KEY_FILE', file, {
    otherwise: 'none',
    meaning: 'Its private key, in PEM.',
  }),
} as const

const isDnsName = (text: string) => /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(text)

const isOrigin = (text: string) => URL.parse(text)?.origin === text

const origins: Kind<readonly string[] | '*'> = {
  allowed: '*, or origins such as https://example.com, separated by commas',
  parse: text => (text === '*' ? text : list('', isOrigin).parse(text)),
}

const senders: Kind<readonly string[] | '*'> = {
  allowed: '*, or DNS names such as eventgrid.azure.net, separated by commas',
  parse: text => (text === '*' ? text : list('', isDnsName).parse(text.toLowerCase())),
}

export const ORIGINS = {
  corsOrigins: variable('CORS_ORIGINS', origins, {
    otherwise: 'none',
    meaning: 'Origins of web pages whose scripts may read answers.',
  }),
  webhookOrigins: variable('WEBHOOK_ORIGINS', senders, {
    otherwise: 'none',
    meaning:
      'Senders that may subscribe this server to their CloudEvents, by their ' +
      '`WebHook-Request-Origin`.',
  }),
} as const

const ROWS = [SERVING, LIMITS, PUSHING, AUTH, TLS, ORIGINS].flatMap(rows => Object.values(rows))

type Named<Rows> = Rows extends Readonly<Record<string, Variable<infer Name>>> ? Name : never
export type VariableName =
  | Named<typeof SERVING>
  | Named<typeof LIMITS>
  | Named<typeof PUSHING>
  | Named<typeof AUTH>
  | Named<typeof TLS>
  | Named<typeof ORIGINS>

/** Every variable a user may set. */
export const VARIABLES = Object.fromEntries(ROWS.map(row => [row.name, row])) as Readonly<
  Record<VariableName, Variable>
>

/** Variables that a platform sets. */
export const PLATFORM_VARIABLES = [
  {
    names: ['K_SERVICE', 'K_REVISION'],
    by: 'Knative',
    meaning:
      'name the service and revision in `function_info`, in pushed spans and metrics, and in ' +
      'the source of reply events',
  },
  {
    names: ['INFERENCE_SERVICE_NAME'],
    by: 'KServe',
    meaning: 'names the model if nothing else does, and the service if Knative does not',
  },
  {
    names: ['LISTEN_FDS', 'LISTEN_PID'],
    by: 'systemd',
    meaning:
      'pass a listening socket instead of `PORT` and `LISTEN_HOST`, if the id is this process’s ' +
      '([one machine](deploy.md#one-machine-with-systemd))',
  },
  {
    names: ['MODEL_INIT_MODE'],
    by: 'KServe',
    meaning: '`async`: the predictor waits up to a minute for the model folder',
  },
  {
    names: ['KUBERNETES_SERVICE_HOST'],
    by: 'Kubernetes',
    meaning: 'omits the example `curl` after the start, so that the log is JSON only',
  },
] as const
