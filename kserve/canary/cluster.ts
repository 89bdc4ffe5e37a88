import { STATUS_CODES } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import {
  ApiException,
  type ConfigurationOptions,
  CustomObjectsApi,
  EventsV1Api,
  KubeConfig,
  setHeaderMiddleware,
  V1MicroTime,
  Watch,
} from '@kubernetes/client-node'
import { FIELD_MANAGER, type Find, type KubernetesObject, type Resource } from './rollout/state.ts'

export class ClusterError extends Error {
  readonly status: number | undefined
  constructor(message: string, status?: number) {
    super(message)
    this.status = status
  }
}

const TIMEOUT_MS = 10_000
const PAUSE_MS = 1_000
/** The address that the client uses if it finds no configuration. */
const NO_CLUSTER = 'http://localhost:8080'
const MERGE_PATCH = 'application/merge-patch+json'
/** The API server rejects an Event whose note has more characters. */
const LONGEST_NOTE = 1024

function request(contentType = 'application/json'): ConfigurationOptions {
  const header = setHeaderMiddleware('Content-Type', contentType)
  return {
    middlewareMergeStrategy: 'append',
    middleware: [
      {
        pre(context) {
          context.setSignal(AbortSignal.timeout(TIMEOUT_MS))
          return header.pre(context)
        },
        post: header.post,
      },
    ],
  }
}

export interface Target {
  readonly resource: Resource
  readonly name: string
  readonly namespace: string | undefined
  readonly context: string | undefined
}

export interface EventOf {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly note: string
}

/**
 * Reads $KUBECONFIG or ~/.kube/config. If neither exists, uses the pod's service account.
 * @throws {ClusterError} if no cluster is configured
 */
export function connect({ resource, name, namespace, context }: Target): Cluster {
  const config = new KubeConfig()
  config.loadFromDefault()
  if (context !== undefined) config.setCurrentContext(context)
  if (config.getCurrentCluster()?.server === NO_CLUSTER)
    throw new ClusterError('found neither a kubeconfig nor a service account: set KUBECONFIG')
  const current = config.getContextObject(config.currentContext)
  if (current === null)
    throw new ClusterError(`the kubeconfig has no context "${config.currentContext}"`)
  return new Cluster(config, resource, name, namespace ?? current.namespace ?? 'default')
}

export class Cluster {
  readonly what: string
  readonly #config: KubeConfig
  readonly #kind: string
  readonly #path: { group: string; version: string; plural: string; namespace: string }
  readonly #name: string

  constructor(
    config: KubeConfig,
    { group, version, plural, kind }: Resource,
    name: string,
    namespace: string,
  ) {
    this.what = `${kind} ${namespace}/${name}`
    this.#config = config
    this.#kind = kind
    this.#path = { group, version, plural, namespace }
    this.#name = name
  }

  read(): Promise<KubernetesObject> {
    return this.#config
      .makeApiClient(CustomObjectsApi)
      .getNamespacedCustomObject({ ...this.#path, name: this.#name }, request())
      .catch(failed(`reading ${this.what}`))
  }

  /** @throws {ClusterError} */
  readonly find: Find = ({ group, version, plural, kind }, name) => {
    const { namespace } = this.#path
    return this.#config
      .makeApiClient(CustomObjectsApi)
      .getNamespacedCustomObject({ group, version, plural, namespace, name }, request())
      .catch((error: unknown) =>
        error instanceof ApiException && error.code === 404
          ? undefined
          : failed(`reading ${kind} ${namespace}/${name}`)(error),
      )
  }

  /**
   * Applies a merge patch, unless the object has changed since it was read.
   * @returns false if nothing was written
   * @throws {ClusterError}
   */
  patch(read: KubernetesObject, change: object): Promise<boolean> {
    // With this version, the API server rejects the patch if the object has changed.
    const body = { ...change, metadata: { resourceVersion: read.metadata.resourceVersion } }
    return this.#config
      .makeApiClient(CustomObjectsApi)
      .patchNamespacedCustomObject(
        { ...this.#path, name: this.#name, body, fieldManager: FIELD_MANAGER },
        request(MERGE_PATCH),
      )
      .then(
        () => true,
        (error: unknown) =>
          error instanceof ApiException && error.code === 409
            ? false
            : failed(`changing ${this.what}`)(error),
      )
  }

  async writeEvent(
    { apiVersion, metadata }: KubernetesObject,
    { type, reason, note }: EventOf,
  ): Promise<void> {
    const { namespace } = this.#path
    const body = {
      metadata: { generateName: `${this.#name}-`, namespace },
      eventTime: new V1MicroTime(),
      type,
      reason,
      action: reason,
      note: note.length <= LONGEST_NOTE ? note : `${note.slice(0, LONGEST_NOTE - 1)}…`,
      regarding: {
        apiVersion,
        kind: this.#kind,
        namespace,
        name: this.#name,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
      },
      reportingController: FIELD_MANAGER,
      reportingInstance: process.env.HOSTNAME ?? FIELD_MANAGER,
    }
    await this.#config
      .makeApiClient(EventsV1Api)
      .createNamespacedEvent({ namespace, body }, request())
      .catch(failed(`creating an Event about ${this.what}`))
  }

  /** Resolves when the object differs from `read`, or at `deadline`. */
  async untilChanged(read: KubernetesObject, deadline: Date): Promise<void> {
    const over = new AbortController()
    const timer = setTimeout(() => over.abort(), Math.max(0, deadline.getTime() - Date.now()))
    const { group, version, plural, namespace } = this.#path
    const path = `/apis/${group}/${version}/namespaces/${namespace}/${plural}`
    const since = {
      fieldSelector: `metadata.name=${this.#name}`,
      resourceVersion: read.metadata.resourceVersion,
    }
    try {
      while (!over.signal.aborted) {
        const ended = await watch(this.#config, path, since, over.signal)
        if (ended === 'changed') return
        if (ended === 'refused') return await aborted(over.signal)
        // The pause loses no change: the next watch starts from the version that was read.
        await wait(PAUSE_MS, undefined, { signal: over.signal }).catch(() => {})
      }
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Returns a rejection handler whose error names the failed step. */
const failed = (doing: string) => (error: unknown) => {
  if (!(error instanceof ApiException)) {
    const { message, cause } = error as Error
    throw new ClusterError(
      `${doing}: the API server does not respond: ${(cause as Error | undefined)?.message || message}`,
    )
  }
  throw new ClusterError(`${doing}: ${error.code} ${messageOf(error)}`, error.code)
}

/** The message of a Status object; the reason phrase for a 401, whose body the client drops. */
function messageOf({ code, body }: ApiException<unknown>): string {
  try {
    return (typeof body === 'string' ? JSON.parse(body) : body).message
  } catch {
    return STATUS_CODES[code] ?? ''
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

type WatchEnd = 'changed' | 'closed' | 'refused'

/**
 * Watches until the object changes. A version that is too old (410 Gone) counts as a change.
 * `refused` is an error that would recur.
 */
async function watch(
  config: KubeConfig,
  path: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<WatchEnd> {
  let stop = () => {}
  const ended = new Promise<WatchEnd>(resolve => {
    const heard = (type: string, { code }: { code?: number }) =>
      resolve(type !== 'ERROR' || code === 410 ? 'changed' : 'refused')
    const done = (error: { name?: string; statusCode?: number } | null) => {
      if (error?.statusCode === 410) resolve('changed')
      // The client closes a watch if the server sends nothing for too long.
      const closed = error === null || ['TimeoutError', 'AbortError'].includes(error.name ?? '')
      resolve(closed ? 'closed' : 'refused')
    }
    new Watch(config).watch(path, query, heard, done).then(
      controller => {
        stop = () => controller.abort()
        if (signal.aborted) stop()
      },
      () => resolve('refused'),
    )
    signal.addEventListener('abort', () => resolve('closed'), { once: true })
  })
  return ended.finally(() => stop())
}
