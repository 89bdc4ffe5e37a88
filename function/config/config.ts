import { existsSync } from 'node:fs'
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { type AuthConfig, readAuth, readTls, type TlsConfig } from './access.ts'
import { availableCpus } from './cpu-quota.ts'
import { type PushConfig, readPush } from './push.ts'
import { readRows, type Source, type Values } from './variable.ts'
import { LIMITS, ORIGINS, SERVING, type VariableName } from './variables.ts'

const ROWS = { ...SERVING, ...LIMITS, ...ORIGINS }
type Rows = Values<typeof ROWS>

/** The configuration, as read from the environment. */
export interface Config extends Omit<Rows, 'ortThreads' | 'maxConnections'> {
  /** The number of ONNX Runtime's threads within a run; at most `cpus`. */
  readonly ortThreads: number
  readonly maxConnections: number
  /** The number of CPUs that this process may use at once. */
  readonly cpus: number
  /** The cgroup's memory limit, or else the machine's memory. */
  readonly memoryBytes: number
  /** True if KServe mounts the model: files beside it then do not belong to this project. */
  readonly isModelStored: boolean
  /** A listening socket from systemd, which replaces the port and the host. */
  readonly listenFd: number | undefined
  /** The service's name, from Knative or KServe. */
  readonly service: string | undefined
  readonly inferenceService: string | undefined
  readonly revision: string | undefined
  readonly inCluster: boolean
  readonly push: PushConfig | undefined
  readonly auth: AuthConfig | undefined
  readonly tls: TlsConfig | undefined
}

/**
 * @param env like process.env; empty variables count as not set, except for authentication and TLS
 * @param givenAs the options that replaced variables, such as `--http_port`, for error messages
 * @throws {Error} with one line: the variable, its value, and the allowed values
 */
export function readConfig(
  env: NodeJS.ProcessEnv,
  givenAs: Partial<Record<VariableName, string>> = {},
): Config {
  const source: Source = { env, givenAs }
  const values = readRows(ROWS, source)
  checkPorts(values)
  checkDrain(values)
  const cpus = availableCpus()
  const memoryBytes = Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
  return Object.freeze({
    ...values,
    modelDir: env.MODEL_DIR ? values.modelDir : (modelHere() ?? values.modelDir),
    ortThreads: Math.min(cpus, values.ortThreads ?? cpus),
    cpus,
    memoryBytes,
    maxJsonBytes: Math.min(values.maxJsonBytes, values.maxBodyBytes),
    maxConnections: values.maxConnections ?? connectionsFor(memoryBytes),
    isModelStored: isStored(values.modelDir, givenAs.MODEL_DIR),
    listenFd: passedSocket(env),
    service: env.K_SERVICE || env.INFERENCE_SERVICE_NAME || undefined,
    inferenceService: env.INFERENCE_SERVICE_NAME || undefined,
    revision: env.K_REVISION || undefined,
    inCluster: Boolean(env.KUBERNETES_SERVICE_HOST),
    push: readPush(source),
    auth: readAuth(source),
    tls: readTls(source),
  })
}

/**
 * A connection needs 30 KB, with TLS 75 KB; an HTTP/2 stream with the largest headers needs 40 KB.
 * All connections and streams together then need at most a fifth of the memory.
 */
const MEMORY_PER_CONNECTION = 512 * 1024
const LEAST_CONNECTIONS = 64
/** V8's heap has room for this many connections on any machine. */
const MOST_CONNECTIONS = 32_768

const connectionsFor = (memoryBytes: number) =>
  Math.min(
    Math.max(Math.floor(memoryBytes / MEMORY_PER_CONNECTION), LEAST_CONNECTIONS),
    MOST_CONNECTIONS,
  )

/** KServe's folder for the model of STORAGE_URI or of a runtime's storageUri. */
export const MOUNTED_MODEL = '/mnt/models'

/** @param givenAs the option that named the folder, such as KServe's `--model_dir` */
const isStored = (folder: string, givenAs: string | undefined) =>
  givenAs === '--model_dir' || `${resolve(folder)}/`.startsWith(`${MOUNTED_MODEL}/`)

const modelHere = () => ['model', 'model.onnx'].find(path => existsSync(path))

function checkPorts({ port, metricsPort }: Rows): void {
  if (metricsPort === 0 || metricsPort !== port) return
  throw new Error(`METRICS_PORT is "${metricsPort}"; it must differ from PORT, or be left out`)
}

function checkDrain({ drainDelayMs: delay, drainTimeoutMs: timeout }: Rows): void {
  if (delay === 0 || delay < timeout) return
  const allowed = `less than DRAIN_TIMEOUT_MS (${timeout}), which includes the delay`
  throw new Error(`DRAIN_DELAY_MS is "${delay}"; it must be ${allowed}`)
}

/** See sd_listen_fds(3). */
const LISTEN_FDS_START = 3

/** Returns systemd's socket. An inherited environment may name another process's socket. */
function passedSocket({ LISTEN_PID, LISTEN_FDS }: NodeJS.ProcessEnv): number | undefined {
  if (!LISTEN_FDS || LISTEN_PID !== `${process.pid}`) return undefined
  if (LISTEN_FDS === '1') return LISTEN_FDS_START
  throw new Error(`LISTEN_FDS is ${JSON.stringify(LISTEN_FDS)}; it must be 1 (one socket)`)
}
