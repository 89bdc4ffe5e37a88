import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { MOUNTED_MODEL } from '../function/config/config.ts'
import type { VariableName } from '../function/config/variables.ts'

/**
 * Arguments of KServe's model server that correspond to a variable (kserve/kserve:
 * python/kserve/kserve/model_server.py).
 */
const HONOURED: Readonly<Record<string, VariableName>> = {
  model_name: 'MODEL_NAME',
  model_dir: 'MODEL_DIR',
  http_port: 'PORT',
}

/** Other arguments of that server in existing manifests, and their replacements here. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  workers: 'threads follow the CPU limit (EXECUTION, ORT_THREADS)',
  max_threads: 'threads follow the CPU limit (EXECUTION, ORT_THREADS)',
  max_asyncio_workers: 'threads follow the CPU limit (EXECUTION, ORT_THREADS)',
  grpc_port: 'gRPC is not served',
  enable_grpc: 'gRPC is not served',
  grpc_max_send_message_length: 'gRPC is not served',
  grpc_max_receive_message_length: 'gRPC is not served',
  enable_docs_url: '/docs is always served',
  enable_latency_logging: '/metrics has the latencies; LOG_LEVEL=debug logs each request',
  configure_logging: 'the log is JSON (LOG_LEVEL)',
  log_config_file: 'the log is JSON (LOG_LEVEL)',
  access_log_format: 'the log is JSON (LOG_LEVEL)',
  'event-loop': 'Node has one event loop',
  'timeout-keep-alive': 'connections are kept longer than the queue-proxy keeps them',
  predictor_host: 'this is a predictor, not a transformer',
  protocol: 'this is a predictor, not a transformer; V1 and V2 are both answered',
  predictor_protocol: 'this is a predictor, not a transformer; V1 and V2 are both answered',
  predictor_use_ssl: 'this is a predictor, not a transformer',
  predictor_request_timeout_seconds: 'this is a predictor, not a transformer',
  predictor_request_retries: 'this is a predictor, not a transformer',
  enable_predictor_health_check: 'this is a predictor, not a transformer',
}

const FLAGS = ['enable_predictor_health_check']

/** The settings with which a predictor is started. */
export interface PredictorArguments {
  /** The environment, in which arguments override the variables they correspond to. */
  readonly env: NodeJS.ProcessEnv
  /** The variables that arguments set, with the arguments as written. */
  readonly givenAs: Partial<Record<VariableName, string>>
  /** A message for each of KServe's arguments that has no effect here. */
  readonly withoutEffect: readonly string[]
}

/**
 * Reads KServe's arguments, as `--flag value` or `--flag=value`; the last one counts. They take
 * precedence over the environment. If neither names a model folder, the default is the folder that
 * KServe mounts, if it exists.
 *
 * KServe itself adds no argument to a predictor's container. All come from an InferenceService or a
 * runtime, so an unknown one is a mistake there.
 * @param args as process.argv, from the first argument on
 * @param mounted the folder in which KServe mounts models
 * @throws {Error} of one line that names the argument and the allowed values
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
      `${givenAs.MODEL_DIR ?? 'MODEL_DIR'} is "${folder}"; it must be a folder. KServe downloads what STORAGE_URI names to ${MOUNTED_MODEL}`,
    )
  }
  if (!folder && (isMountedLate(env) || existsSync(mounted))) variables.MODEL_DIR = mounted
  return { env: { ...env, ...variables }, givenAs, withoutEffect }
}

/**
 * KServe sets this for a model that comes as an image: another container links its folder after
 * this one has started.
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
        `argument ${JSON.stringify(args[token.index])} is unknown; arguments are ${ALLOWED}`,
      )
    if (!Object.hasOwn(options, token.name))
      throw new Error(`argument ${token.rawName} is unknown; arguments are ${ALLOWED}`)
    // parseArgs takes any following argument as the value.
    const missing = token.inlineValue === false && token.value.startsWith('--')
    return { name: token.name, value: missing ? undefined : token.value }
  })
}

const ALLOWED = Object.keys(HONOURED)
  .map(name => `--${name}`)
  .join(', ')
