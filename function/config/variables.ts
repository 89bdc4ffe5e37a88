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
 * All environment variables, keyed by the field of the configuration. `npm run docs:write`
 * generates the tables of docs/configuration.md.
 */

const file = text('a file')
const segment = text('text without /', value => !value.includes('/'))

/** Seen from build/ the project is one level up; seen from this source file, two. */
const SHIPPED_MODELS = new URL(
  import.meta.url.endsWith('.ts') ? '../../models/' : '../models/',
  import.meta.url,
)
const SHIPPED_MODEL = 'iris/v1.0.0'

const folder: Kind<string> = {
  ...text('a folder, or a .onnx file'),
  show: path => path.slice(fileURLToPath(new URL('..', SHIPPED_MODELS)).length),
}

export const SERVING = {
  port: variable('PORT', integer({ min: 0, max: 65535 }), {
    default: 8080,
    meaning: 'The port for inference, events, health, metrics and pages. 0 selects a free port.',
  }),
  listenHost: variable('LISTEN_HOST', text('an address'), {
    otherwise: 'all interfaces',
    meaning: 'The address to listen on.',
  }),
  metricsPort: variable('METRICS_PORT', integer({ min: 0, max: 65535 }), {
    otherwise: 'the same as `PORT`',
    meaning:
      'A separate port for `/metrics` and the health routes, over plain HTTP without ' +
      'authentication. `PORT` then no longer serves `/metrics`. 0 selects a free port.',
  }),
  modelDir: variable('MODEL_DIR', folder, {
    default: fileURLToPath(new URL(SHIPPED_MODEL, SHIPPED_MODELS)),
    meaning:
      'The path of the model: a `.onnx` file, or a folder with one `.onnx` file and an optional ' +
      '`model.json` ([sources](models.md)). If this variable is not set, `model/` or ' +
      '`model.onnx` in the current folder takes precedence over the default.',
  }),
  modelName: variable('MODEL_NAME', segment, {
    otherwise: 'from `model.json`',
    meaning: 'The model’s name in paths and responses.',
  }),
  modelVersion: variable('MODEL_VERSION', segment, {
    otherwise: 'from `model.json`',
    meaning: 'The model’s version in paths and responses.',
  }),
  transform: variable('TRANSFORM', text('a file, or off'), {
    otherwise: 'transform.js, .mjs or .ts beside the model',
    meaning:
      'The file with your own code, which runs before and after the model ' +
      '([transform](transform.md)). For a model that KServe mounts, the server loads no other ' +
      'transform ([reason](security.md#your-own-code)).',
  }),
  execution: variable('EXECUTION', oneOf(['auto', 'inline', 'worker']), {
    default: 'auto',
    meaning:
      '`inline` runs the model on the main thread. `worker` runs it in worker threads, so that ' +
      'other requests do not wait. `auto` selects `worker` for a model with a transform, with a ' +
      'run time that depends on input values (as in a Loop), or with more than 5 ms of CPU time ' +
      'per run, 100 ms of load time, or 32 MiB. With `inline`, only SIGKILL stops an endless run.',
  }),
  ortThreads: variable('ORT_THREADS', integer({ min: 1, max: 1024 }), {
    otherwise: 'the number of CPUs that this process may use',
    meaning:
      'The number of ONNX Runtime threads within a run, at most the number of CPUs (or the ' +
      'cgroup’s quota). CPUs / `ORT_THREADS` worker threads run in parallel, if the memory has ' +
      'room for a copy of the model in each thread.',
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
      '`on` shows browsers a page for trying the model at `GET /`. `off` sends browsers the ' +
      'same metadata as other clients. `/docs` is served in both cases.',
  }),
  logLevel: variable('LOG_LEVEL', oneOf(LOG_LEVELS), {
    default: 'info',
    meaning: 'The lowest level that is logged. `debug` adds a line for each request.',
  }),
} as const

export const LIMITS = {
  maxBodyBytes: variable('MAX_BODY_BYTES', integer({ min: 1 }), {
    default: 64 * 1024 * 1024,
    meaning:
      'The maximum size of a request body, before and after decompression; a larger body gets ' +
      '413. The same limit applies to the tensors and the response of a large request, and to ' +
      'all waiting requests together. All bodies and responses in memory together may use twice ' +
      'as much; beyond that, requests get 503.',
  }),
  maxJsonBytes: variable('MAX_JSON_BYTES', integer({ min: 1 }), {
    default: 16 * 1024 * 1024,
    meaning:
      'The maximum size of the JSON in a request or its response, within `MAX_BODY_BYTES`; larger ' +
      'JSON gets 413. Reading JSON needs several times its size in memory, and binary tensor ' +
      'data only its own size. With the default, the process stays within 512 MiB.',
  }),
  maxQueueRows: variable('MAX_QUEUE_ROWS', integer({ min: 1 }), {
    default: 4096,
    meaning:
      'The maximum number of rows that wait for a run; beyond that, requests get 503. A request ' +
      'counts as at most `MAX_BATCH_ROWS` rows.',
  }),
  maxBatchRows: variable('MAX_BATCH_ROWS', integer({ min: 1 }), {
    default: 256,
    meaning:
      'The maximum number of rows in a run that waiting requests share; a request with more rows ' +
      'runs alone.',
  }),
  maxConnections: variable('MAX_CONNECTIONS', integer({ min: 8 }), {
    otherwise: 'one per 512 KiB of the memory limit, from 64 to 32768',
    meaning:
      'The maximum number of open connections, and also of HTTP/2 streams on all connections ' +
      'together. With TLS, up to a quarter as many handshakes may be in progress as well. At ' +
      'the limit, a new connection replaces a connection that waits for its client; if all ' +
      'connections are busy, the new connection is dropped. `METRICS_PORT` has a separate limit ' +
      'of 64 connections.',
  }),
  requestTimeoutMs: variable('REQUEST_TIMEOUT_MS', integer({ min: 1 }), {
    default: 30_000,
    meaning:
      'The time limit for the arrival of a request (then 408), for the wait until its run (then ' +
      '504), and for the client to read the response (then the connection is closed).',
  }),
  runTimeoutMs: variable('RUN_TIMEOUT_MS', integer({ min: 0, max: 2_147_483_647 }), {
    default: 60_000,
    meaning:
      'The time limit for a run in a worker thread. After that, the callers of the run get 504, ' +
      'and the process [replaces itself](reliability.md#runs-that-do-not-end). 0 means no limit.',
  }),
  drainDelayMs: variable('DRAIN_DELAY_MS', integer({ min: 0 }), {
    default: 0,
    meaning:
      'The time after SIGTERM during which the process accepts new connections; less than ' +
      '`DRAIN_TIMEOUT_MS`. [Knative needs no ' +
      'delay](reliability.md#rolling-restarts-without-lost-requests).',
  }),
  drainTimeoutMs: variable('DRAIN_TIMEOUT_MS', integer({ min: 0 }), {
    default: 10_000,
    meaning: 'The time limit for requests in flight after SIGTERM, including `DRAIN_DELAY_MS`.',
  }),
  idleExitMs: variable('IDLE_EXIT_SECONDS', integer({ min: 0, max: 2_147_483, factor: 1_000 }), {
    default: 0,
    meaning:
      'After this time without connections or requests, the process exits with status 0, and ' +
      '[systemd](deploy.md#one-machine-with-systemd) starts it again at the next connection. ' +
      'Requests for health and metrics do not count. 0 means never.',
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

/** OpenTelemetry's exporters and resource detector read some of these variables directly. */
export const PUSHING = {
  endpoint: variable('OTEL_EXPORTER_OTLP_ENDPOINT', httpUrl, {
    otherwise: 'nothing is pushed',
    meaning:
      'The base URL that receives [spans and metrics](metrics.md); `/v1/traces` and ' +
      '`/v1/metrics` are appended.',
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
    meaning: 'The headers of each push request, such as an API key.',
  }),
  protocol: variable('OTEL_EXPORTER_OTLP_PROTOCOL', oneOf(['http/protobuf']), {
    default: 'http/protobuf',
    meaning: 'The protocol of each push request.',
  }),
  serviceName: variable('OTEL_SERVICE_NAME', text('text'), {
    otherwise: 'the Knative or KServe service, or onnx-function',
    meaning: 'The `service.name` of spans and metrics.',
  }),
  resourceAttributes: variable(
    'OTEL_RESOURCE_ATTRIBUTES',
    text('name=value,name=value, percent-encoded'),
    {
      otherwise: 'none',
      meaning:
        'Additional resource attributes. They override the attributes that the process sets.',
    },
  ),
  sampler: variable('OTEL_TRACES_SAMPLER', oneOf(SAMPLERS), {
    default: 'parentbased_always_on',
    meaning:
      'Selects the requests whose spans are sent. The `parentbased_` samplers follow the ' +
      'request’s `traceparent`.',
  }),
  samplerShare: variable('OTEL_TRACES_SAMPLER_ARG', share, {
    default: 1,
    meaning: 'The share of requests that the `traceidratio` samplers select.',
  }),
  metricIntervalMs: variable('OTEL_METRIC_EXPORT_INTERVAL', integer({ min: 1 }), {
    default: 60_000,
    meaning:
      'The time between two pushes of metrics, in milliseconds. Metrics are also pushed at ' +
      'startup and at shutdown.',
  }),
  disabled: variable('OTEL_SDK_DISABLED', either('true', 'false'), {
    default: false,
    meaning: '`true` disables all pushes.',
  }),
} as const

// HMAC is not allowed: anyone with the issuer's public key could use the key to sign a token.
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

/**
 * Requires https, except on this machine: over http, an attacker on the path could replace the
 * keys. Refuses a user name, because fetch() would refuse it with an error that shows the password.
 */
function isSafe({ protocol, hostname, username, password }: URL): boolean {
  if (username !== '' || password !== '') return false
  if (protocol === 'https:') return true
  return protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}

const keySource: Kind<URL | string> = {
  allowed: 'an https URL, or an http URL of this machine, without a password; or a file',
  parse(text) {
    if (!isUrl(text)) return text
    const url = URL.parse(text)
    return url !== null && isSafe(url) ? url : undefined
  },
}

export const AUTH = {
  secret: variable(
    'AUTH_SECRET',
    text('at least 16 of the characters A–Z a–z 0–9 - . _ ~ + / and, at the end, ='),
    {
      otherwise: 'none',
      meaning:
        'A secret that callers send as `Authorization: Bearer …`. If this variable, ' +
        '`AUTH_SECRET_FILE` or `AUTH_JWKS` is set, every request except health checks needs a ' +
        'secret or a token ([security](security.md)).',
    },
  ),
  secretFile: variable('AUTH_SECRET_FILE', file, {
    otherwise: 'none',
    meaning: 'A file with one secret per line; every secret in the file is valid.',
  }),
  jwks: variable('AUTH_JWKS', keySource, {
    otherwise: 'none',
    meaning:
      'The token issuer’s public keys (a JSON Web Key Set). This variable requires `AUTH_ISSUER` ' +
      'and `AUTH_AUDIENCE`.',
  }),
  issuer: variable('AUTH_ISSUER', text('text'), {
    otherwise: 'none',
    meaning: 'The `iss` claim of valid tokens.',
  }),
  audience: variable('AUTH_AUDIENCE', text('text'), {
    otherwise: 'none',
    meaning: 'The `aud` claim of valid tokens.',
  }),
  eventsAudience: variable('AUTH_EVENTS_AUDIENCE', text('text'), {
    otherwise: 'the same as `AUTH_AUDIENCE`',
    meaning:
      'The `aud` claim of valid tokens sent with events, such as the `audience` of a ' +
      'Trigger’s subscriber.',
  }),
  subjects: variable('AUTH_SUBJECTS', list('text, separated by commas'), {
    otherwise: 'all',
    meaning:
      'The `sub` claims of allowed tokens; a request whose token has a different subject gets 403.',
  }),
  algorithms: variable(
    'AUTH_ALGORITHMS',
    list(`any of ${JWT_ALGORITHMS.join(', ')}; separated by commas`, name =>
      JWT_ALGORITHMS.includes(name),
    ),
    { default: ['RS256'], meaning: 'The allowed signature algorithms of tokens.' },
  ),
  clockSkewSeconds: variable('AUTH_CLOCK_SKEW_SECONDS', integer({ min: 0, max: 300 }), {
    default: 30,
    meaning:
      'The maximum accepted difference, in seconds, between the issuer’s clock and this ' +
      'machine’s clock.',
  }),
} as const

export const TLS = {
  certFile: variable('TLS_CERT_FILE', file, {
    otherwise: 'none',
    meaning:
      'A PEM file with the certificate and its chain. `PORT` then accepts only HTTPS. This ' +
      'variable requires `TLS_KEY_FILE`.',
  }),
  keyFile: variable('TLS_KEY_FILE', file, {
    otherwise: 'none',
    meaning: 'A PEM file with the private key of the certificate.',
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
    meaning: 'Origins of web pages whose scripts may read responses.',
  }),
  webhookOrigins: variable('WEBHOOK_ORIGINS', senders, {
    otherwise: 'none',
    meaning:
      'Senders that may deliver CloudEvents to this server, as named in their ' +
      '`WebHook-Request-Origin` header.',
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

export const VARIABLES = Object.fromEntries(ROWS.map(row => [row.name, row])) as Readonly<
  Record<VariableName, Variable>
>

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
    meaning:
      'names the model if no other source names it, and the service if Knative does not name it',
  },
  {
    names: ['LISTEN_FDS', 'LISTEN_PID'],
    by: 'systemd',
    meaning:
      'pass a listening socket instead of `PORT` and `LISTEN_HOST`, if `LISTEN_PID` is the id of ' +
      'this process ([one machine](deploy.md#one-machine-with-systemd))',
  },
  {
    names: ['MODEL_INIT_MODE'],
    by: 'KServe',
    meaning: 'If it is `async`, the predictor waits up to a minute for the model folder.',
  },
  {
    names: ['KUBERNETES_SERVICE_HOST'],
    by: 'Kubernetes',
    meaning: 'omits the example `curl` command after startup, so that the log contains only JSON',
  },
] as const
