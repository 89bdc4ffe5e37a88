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
import { FIELD_MANAGER, type KubernetesObject, type Resource } from './rollout/state.ts'

/** The API server cannot be reached, or refuses. */
export class ClusterError extends Error {
  /** Its status; undefined where there was no answer. */
  readonly status: number | undefined
  constructor(message: string, status?: number) {
    super(message)
    this.status = status
  }
}

/** What is asked of the API server, with one object of one kind in mind. */
export interface Cluster {
  /** The object's kind, namespace and name. */
  readonly what: string
  /** @throws {ClusterError} */
  read(): Promise<KubernetesObject>
  /**
   * Changes the object as it was read.
   * @returns false where somebody has changed it since: nothing was written then
   * @throws {ClusterError}
   */
  patch(read: KubernetesObject, change: object): Promise<boolean>
  /** @throws {ClusterError} */
  tell(
    about: KubernetesObject,
    type: 'Normal' | 'Warning',
    reason: string,
    note: string,
  ): Promise<void>
  /** Resolves once the object is another than was read, or at `deadline`. */
  untilChanged(read: KubernetesObject, deadline: Date): Promise<void>
}

const TIMEOUT_MS = 10_000
/** Between one watch that ended and the next. */
const PAUSE_MS = 1_000
/** What the client makes up where it finds nothing. */
const NO_CLUSTER = 'http://localhost:8080'
const MERGE_PATCH = 'application/merge-patch+json'

/** Options of one request: it is given up after a while. */
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

/**
 * By $KUBECONFIG or ~/.kube/config, or the pod's own account where there is neither.
 * @throws {ClusterError} where no cluster is configured
 */
export function connect({ resource, name, namespace: given, context }: Target): Cluster {
  const config = new KubeConfig()
  config.loadFromDefault()
  if (context !== undefined) config.setCurrentContext(context)
  if (config.getCurrentCluster()?.server === NO_CLUSTER)
    throw new ClusterError('there is no kubeconfig, and no account of a pod: set KUBECONFIG')
  const current = config.getContextObject(config.currentContext)
  if (current === null)
    throw new ClusterError(`the kubeconfig has no context "${config.currentContext}"`)
  const namespace = given ?? current.namespace ?? 'default'
  const { group, version, plural, kind } = resource
  const objects = config.makeApiClient(CustomObjectsApi)
  const events = config.makeApiClient(EventsV1Api)
  const what = `${kind} ${namespace}/${name}`

  const failed = (doing: string) => (error: unknown) => {
    if (!(error instanceof ApiException)) {
      const { message, cause } = error as Error
      throw new ClusterError(
        `${doing}: the API server does not answer: ${(cause as Error | undefined)?.message || message}`,
      )
    }
    throw new ClusterError(`${doing}: ${error.code} ${messageOf(error)}`, error.code)
  }

  return {
    what,
    read: () =>
      objects
        .getNamespacedCustomObject({ group, version, namespace, plural, name }, request())
        .catch(failed(`reading ${what}`)),

    async patch(read, change) {
      // With the version that was read the API server refuses to write over anybody's change since.
      const body = { ...change, metadata: { resourceVersion: read.metadata.resourceVersion } }
      return objects
        .patchNamespacedCustomObject(
          { group, version, namespace, plural, name, body, fieldManager: FIELD_MANAGER },
          request(MERGE_PATCH),
        )
        .then(
          () => true,
          (error: unknown) =>
            error instanceof ApiException && error.code === 409
              ? false
              : failed(`changing ${what}`)(error),
        )
    },

    async tell({ apiVersion, metadata }, type, reason, note) {
      const body = {
        metadata: { generateName: `${name}-`, namespace },
        eventTime: new V1MicroTime(),
        type,
        reason,
        action: reason,
        // The API server takes no longer one.
        note: note.length <= 1024 ? note : `${note.slice(0, 1023)}…`,
        regarding: {
          apiVersion,
          kind,
          namespace,
          name,
          uid: metadata.uid,
          resourceVersion: metadata.resourceVersion,
        },
        reportingController: FIELD_MANAGER,
        reportingInstance: process.env.HOSTNAME ?? FIELD_MANAGER,
      }
      await events
        .createNamespacedEvent({ namespace, body }, request())
        .catch(failed(`an event about ${what}`))
    },

    async untilChanged(read, deadline) {
      const over = new AbortController()
      const timer = setTimeout(() => over.abort(), Math.max(0, deadline.getTime() - Date.now()))
      const path = `/apis/${group}/${version}/namespaces/${namespace}/${plural}`
      const since = {
        fieldSelector: `metadata.name=${name}`,
        resourceVersion: read.metadata.resourceVersion,
      }
      try {
        while (!over.signal.aborted) {
          const ended = await watch(config, path, since, over.signal)
          if (ended === 'told') return
          if (ended === 'refused') return await aborted(over.signal)
          // Nothing is missed meanwhile: it goes on from the version that was read.
          await wait(PAUSE_MS, undefined, { signal: over.signal }).catch(() => {})
        }
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

/** What a Status object says; the client keeps none of a 401. */
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

/**
 * Watches until something is told: a change, or that the version watched from is too old (410 Gone), which is to read again, too.
 * `closed` is what happens to every watch after a while; `refused` is what asking again would not mend.
 */
async function watch(
  config: KubeConfig,
  path: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<'told' | 'closed' | 'refused'> {
  let stop = () => {}
  const ended = new Promise<'told' | 'closed' | 'refused'>(resolve => {
    const heard = (type: string, { code }: { code?: number }) =>
      resolve(type !== 'ERROR' || code === 410 ? 'told' : 'refused')
    const done = (error: { name?: string; statusCode?: number } | null) => {
      if (error?.statusCode === 410) resolve('told')
      // Nothing was heard for a while, which ends it as well.
      resolve(
        error === null || error.name === 'TimeoutError' || error.name === 'AbortError'
          ? 'closed'
          : 'refused',
      )
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
