import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { MOUNTED_MODEL } from '../function/config/config.ts'
import type { VariableName } from '../function/config/variables.ts'

/**
 * Arguments of KServe's model server, and the variables to which they correspond (kserve/kserve:
 * python/kserve/kserve/model_server.py).
 */
const HONOURED: Readonly<Record<string, VariableName>> = {
  model_name: 'MODEL_NAME',
  model_dir: 'MODEL_DIR',
  http_port: 'PORT',
}

/** Other arguments that existing manifests may contain, and why each has no effect here. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  workers: 'the number of threads depends on the CPU limit (EXECUTION, ORT_THREADS)',
  max_threads: 'the number of threads depends on the CPU limit (EXECUTION, ORT_THREADS)',
  max_asyncio_workers: 'the number of threads depends on the CPU limit (EXECUTION, ORT_THREADS)',
  grpc_port: 'gRPC is always served on the port of HTTP (--http_port)',
  enable_grpc: 'gRPC is always served on the port of HTTP (--http_port)',
  grpc_max_send_message_length: 'MAX_BODY_BYTES limits messages',
  grpc_max_receive_message_length: 'MAX_BODY_BYTES limits messages',
  enable_docs_url: '/docs is always served',
  enable_latency_logging: '/metrics contains the latencies, and LOG_LEVEL=debug logs each request',
  configure_logging: 'the log is always JSON; set its level with LOG_LEVEL',
  log_config_file: 'the log is always JSON; set its level with LOG_LEVEL',
  access_log_format: 'the log is always JSON; set its level with LOG_LEVEL',
  'event-loop': 'Node has one event loop',
  'timeout-keep-alive':
    'the server keeps idle connections open for longer than the queue-proxy does',
  predictor_host: 'this is a predictor, not a transformer',
  protocol: 'this is a predictor, not a transformer, and it supports both V1 and V2',
  predictor_protocol: 'this is a predictor, not a transformer, and it supports both V1 and V2',
  predictor_use_ssl: 'this is a predictor, not a transformer',
  predictor_request_timeout_seconds: 'this is a predictor, not a transformer',
  predictor_request_retries: 'this is a predictor, not a transformer',
  enable_predictor_health_check: 'this is a predictor, not a transformer',
}

const FLAGS = ['enable_predictor_health_check']

export interface PredictorArguments {
  readonly env: NodeJS.ProcessEnv
  readonly givenAs: Partial<Record<VariableName, string>>
  readonly withoutEffect: readonly string[]
}

/**
 * Reads KServe's arguments, `--flag value` or `--flag=value`; the last value of a repeated argument
 * counts. Arguments override the environment. The default model folder is the one that KServe
 * mounts, if it exists.
 *
 * KServe itself adds no arguments to a predictor's container, so an unknown argument is a mistake
 * in the InferenceService or its runtime.
 * @param args the elements of process.argv from the first argument on
 * @throws {Error} with a one-line message that contains the argument and the allowed values
 */
export function readArguments(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  mounted = MOUNTED_MODEL,
): PredictorArguments {
  const variables: NodeJS.ProcessEnv = {}
  const givenAs: Partial<Record<VariableName, string>> = {}
  const withoutEffect: string[] = []
  for (const { name, value } of tokens(args)) {
    const variable = HONOURED[name]
    if (variable === undefined)
      withoutEffect.push(`--${name} has no effect: ${WITHOUT_EFFECT[name]}`)
    else if (value === undefined || value === '') throw new Error(`--${name} needs a value`)
    else {
      variables[variable] = value
      givenAs[variable] = `--${name}`
    }
  }
  const folder = variables.MODEL_DIR ?? env.MODEL_DIR
  if (folder !== undefined && /^\w+:\/\//.test(folder)) {
    throw new Error(
      `${givenAs.MODEL_DIR ?? 'MODEL_DIR'} is "${folder}"; it must be a folder. KServe downloads the model at STORAGE_URI to ${MOUNTED_MODEL}`,
    )
  }
  if (!folder && (isMountedLate(env) || existsSync(mounted))) variables.MODEL_DIR = mounted
  return { env: { ...env, ...variables }, givenAs, withoutEffect }
}

/**
 * Whether the model folder appears after startup. KServe sets MODEL_INIT_MODE for a model in an
 * image, whose container links its folder later.
 */
export const isMountedLate = (env: NodeJS.ProcessEnv) => env.MODEL_INIT_MODE === 'async'

interface Token {
  readonly name: string
  readonly value: string | undefined
}

function tokens(args: readonly string[]): readonly Token[] {
  const names = [...Object.keys(HONOURED), ...Object.keys(WITHOUT_EFFECT)]
  const options = Object.fromEntries(
    names.map(name => [name, { type: FLAGS.includes(name) ? 'boolean' : 'string' } as const]),
  )
  return parseArgs({ args: [...args], options, strict: false, tokens: true }).tokens.map(token => {
    if (token.kind !== 'option')
      throw new Error(
        `argument ${JSON.stringify(args[token.index])} is unknown; the allowed arguments are ${ALLOWED}`,
      )
    if (!Object.hasOwn(options, token.name))
      throw new Error(`argument ${token.rawName} is unknown; the allowed arguments are ${ALLOWED}`)
    // parseArgs uses the next argument as the value, even if that argument is a flag.
    const missing = token.inlineValue === false && token.value.startsWith('--')
    return { name: token.name, value: missing ? undefined : token.value }
  })
}

const ALLOWED = Object.keys(HONOURED)
  .map(name => `--${name}`)
  .join(', ')
