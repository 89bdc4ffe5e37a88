import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { VARIABLES, type VariableName } from '../../function/config/variables.ts'

suite('readConfig', () => {
  test('uses the default of every variable if the environment is empty', () => {
    const config = readConfig({})
    assert.deepEqual(
      [
        config.port,
        config.maxBodyBytes,
        config.maxQueueRows,
        config.maxBatchRows,
        config.requestTimeoutMs,
        config.drainDelayMs,
        config.drainTimeoutMs,
      ],
      [8080, 64 * 1024 * 1024, 4096, 256, 30_000, 0, 10_000],
    )
    assert.match(config.modelDir, /models\/iris\/v1\.0\.0$/)
    assert.ok(config.ortThreads >= 1)
  })

  test('treats an empty variable as not set', () => {
    assert.equal(readConfig({ PORT: '', MODEL_NAME: '' }).port, 8080)
  })

  const BAD: readonly [name: VariableName, value: string][] = [
    ['PORT', '65536'],
    ['PORT', '80a'],
    ['PORT', '-1'],
    ['PORT', '0x50'],
    ['PORT', ' 80'],
    ['LOG_LEVEL', 'loud'],
    ['MAX_BODY_BYTES', '0'],
    ['MAX_BODY_BYTES', '64MiB'],
    ['MAX_QUEUE_ROWS', '0'],
    ['MAX_BATCH_ROWS', '1.5'],
    ['REQUEST_TIMEOUT_MS', '0'],
    ['DRAIN_DELAY_MS', '99999999999'],
    ['DRAIN_TIMEOUT_MS', 'never'],
    ['IDLE_EXIT_SECONDS', '2147484'],
    ['IDLE_EXIT_SECONDS', '0.5'],
    ['ORT_THREADS', '0'],
    ['MODEL_NAME', 'a/b'],
    ['MODEL_VERSION', 'v1/2'],
    ['PLAYGROUND', 'false'],
    ['PLAYGROUND', 'constructor'],
    ['EXECUTION', 'toString'],
    ['CE_SOURCE', ' /mine'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', '/v1/traces'],
    ['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', 'file:///metrics'],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc'],
    ['OTEL_TRACES_SAMPLER', 'toString'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_METRIC_EXPORT_INTERVAL', '0'],
    ['OTEL_SDK_DISABLED', 'yes'],
    ['METRICS_PORT', '65536'],
    ['AUTH_JWKS', 'http://issuer.example/keys'],
    ['AUTH_JWKS', 'ftp://issuer.example/keys'],
    ['AUTH_JWKS', 'https://'],
    ['AUTH_ALGORITHMS', 'none'],
    ['AUTH_ALGORITHMS', 'HS256'],
    ['AUTH_ALGORITHMS', 'RS256,HS256'],
    ['AUTH_ALGORITHMS', 'RS256,'],
    ['AUTH_CLOCK_SKEW_SECONDS', '301'],
    ['AUTH_SUBJECTS', ','],
    ['CORS_ORIGINS', 'example.com'],
    ['CORS_ORIGINS', 'https://example.com/'],
    ['CORS_ORIGINS', 'https://example.com,*'],
    ['CORS_ORIGINS', 'null'],
    ['WEBHOOK_ORIGINS', 'https://eventgrid.azure.net'],
    ['WEBHOOK_ORIGINS', 'eventgrid.azure.net,*'],
  ]
  for (const [name, value] of BAD) {
    test(`refuses ${name}=${JSON.stringify(value)}, and names the variable and the allowed values`, () => {
      assert.throws(() => readConfig({ [name]: value }), {
        message: `${name} is ${JSON.stringify(value)}; it must be ${VARIABLES[name].allowed}`,
      })
    })
  }

  test('refuses a password in AUTH_JWKS, and shows no password of a URL', () => {
    for (const [name, value] of [
      ['AUTH_JWKS', 'https://user:hunter2@issuer.example/keys'],
      ['AUTH_JWKS', 'https://hunter2@issuer.example/keys'],
      ['OTEL_EXPORTER_OTLP_ENDPOINT', 'ftp://user:hunter2@collector:4318'],
    ] as const)
      assert.throws(() => readConfig({ [name]: value }), {
        message: `${name} is ${JSON.stringify(value.replace(/user:hunter2|hunter2/, '***'))}; it must be ${VARIABLES[name].allowed}`,
      })
  })

  for (const { name, default: shown, parse, unset } of Object.values(VARIABLES)) {
    // The default folder is absolute; the documentation shows it relative to the project.
    if (unset === undefined || name === 'MODEL_DIR') continue
    test(`accepts the documented default of ${name}, which is the actual default`, () => {
      assert.deepEqual(parse(shown), unset)
    })
  }

  test('refuses a DRAIN_DELAY_MS that is not less than DRAIN_TIMEOUT_MS', () => {
    assert.throws(
      () => readConfig({ DRAIN_DELAY_MS: '10000' }),
      /^Error: DRAIN_DELAY_MS is "10000"; it must be less than DRAIN_TIMEOUT_MS/,
    )
  })

  const TOKENS = {
    AUTH_JWKS: 'https://issuer.example/keys',
    AUTH_ISSUER: 'https://issuer.example',
    AUTH_AUDIENCE: 'iris',
  }
  const TLS = { TLS_CERT_FILE: '/tls/tls.crt', TLS_KEY_FILE: '/tls/tls.key' }
  for (const all of [TOKENS, TLS]) {
    for (const left of Object.keys(all)) {
      test(`refuses the related variables if ${left} is missing`, () => {
        assert.throws(
          () =>
            readConfig(Object.fromEntries(Object.entries(all).filter(([name]) => name !== left))),
          {
            message: new RegExp(`^${left} is missing; (?:${Object.keys(all).join('|')}) needs it$`),
          },
        )
      })
    }
  }

  for (const name of ['AUTH_SECRET', 'AUTH_SECRET_FILE', 'AUTH_JWKS', 'TLS_CERT_FILE'] as const) {
    test(`refuses an empty ${name}, because ignoring it would admit everyone`, () => {
      assert.throws(() => readConfig({ [name]: '' }), {
        message: `${name} is ""; it must be ${VARIABLES[name].allowed}, or be left out`,
      })
    })
  }

  for (const alone of ['AUTH_EVENTS_AUDIENCE', 'AUTH_SUBJECTS']) {
    test(`refuses ${alone} without AUTH_JWKS, because it would admit everyone`, () => {
      assert.throws(() => readConfig({ [alone]: 'iris' }), {
        message: `AUTH_JWKS is missing; ${alone} needs it`,
      })
      assert.throws(
        () => readConfig({ [alone]: 'iris', AUTH_SECRET: 'sixteen-and-more' }),
        /AUTH_JWKS is missing/,
      )
    })
  }

  test('refuses a METRICS_PORT that equals PORT', () => {
    assert.throws(
      () => readConfig({ METRICS_PORT: '8080' }),
      /^Error: METRICS_PORT is "8080"; it must differ from PORT/,
    )
    assert.equal(readConfig({ METRICS_PORT: '9000' }).metricsPort, 9000)
  })

  test('configures no authentication, TLS, CORS or metrics port by default', () => {
    const { auth, tls, corsOrigins, metricsPort } = readConfig({})
    assert.deepEqual(
      [auth, tls, corsOrigins, metricsPort],
      [undefined, undefined, undefined, undefined],
    )
  })

  test('accepts a socket from systemd only if LISTEN_PID is the id of this process', () => {
    const pid = `${process.pid}`
    assert.equal(readConfig({ LISTEN_FDS: '1', LISTEN_PID: pid }).listenFd, 3)
    assert.equal(readConfig({ LISTEN_FDS: '1', LISTEN_PID: `${process.ppid}` }).listenFd, undefined)
    assert.equal(readConfig({ LISTEN_FDS: '1' }).listenFd, undefined)
    assert.throws(
      () => readConfig({ LISTEN_FDS: '2', LISTEN_PID: pid }),
      /^Error: LISTEN_FDS is "2"; it must be 1/,
    )
  })

  test('reads the name of the service from Knative’s variable, or else from KServe’s variable', () => {
    assert.equal(readConfig({ K_SERVICE: 'iris', INFERENCE_SERVICE_NAME: 'other' }).service, 'iris')
    assert.equal(readConfig({ INFERENCE_SERVICE_NAME: 'other' }).service, 'other')
    assert.equal(readConfig({ K_REVISION: 'iris-00001' }).revision, 'iris-00001')
  })
})

test('the server uses the model in the current folder if MODEL_DIR is not set', t => {
  const [before, folder] = [process.cwd(), mkdtempSync(join(tmpdir(), 'started-in-'))]
  t.after(() => {
    process.chdir(before)
    rmSync(folder, { recursive: true })
  })
  process.chdir(folder)
  assert.match(readConfig({}).modelDir, /models.iris.v1\.0\.0/)
  writeFileSync('model.onnx', '')
  assert.equal(readConfig({}).modelDir, 'model.onnx')
  mkdirSync('model')
  assert.equal(readConfig({}).modelDir, 'model')
  assert.equal(readConfig({ MODEL_DIR: 'other' }).modelDir, 'other')
})
