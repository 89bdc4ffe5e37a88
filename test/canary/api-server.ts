import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'

/*
 * An API server of Kubernetes as it is documented (kubernetes.io/docs/reference/using-api/api-concepts, server-side-apply), for custom
 * resources and Events: resource versions, conflicts, managed fields, watches that go on from a version or have lost it, errors as Status
 * objects. What it is told to do wrong, it does.
 */

// biome-ignore lint/suspicious/noExplicitAny: a custom resource has no type of its own here
export type KubernetesObject = any

/** What a request meets in place of an answer. */
export type Fault = { readonly status: number; readonly message?: string } | 'hang' | 'reset'

export interface ApiServer {
  readonly url: string
  readonly kubeconfig: string
  /** Of each request, in order: method and path with its query. */
  readonly asked: string[]
  /** Event objects that were written. */
  readonly events: KubernetesObject[]
  /** What the next requests meet; undefined lets them pass. */
  fault: (method: string, path: string) => Fault | undefined
  /** Called before a patch is looked at, as somebody else who is faster. */
  beforePatch: () => void
  /** What a controller does once the object has changed. */
  reconcile: (object: KubernetesObject) => void
  readonly object: KubernetesObject
  /** A change by somebody; @param at when, now if it is not said */
  change(by: string, merge: object, at?: Date): void
  /** Changes status, as controllers do. */
  setStatus(status: object): void
  /** Forgets what was before, as etcd's compaction does: watches from there are Gone. */
  compact(): void
  /** Ends every watch. @returns how many there were */
  endWatches(): number
  watches(): number
  /** Listens no more, or again at the same port. */
  stop(): Promise<void>
  start(): Promise<void>
  close(): Promise<void>
}

const GROUPS: Readonly<Record<string, string>> = {
  inferenceservices: 'serving.kserve.io',
  services: 'serving.knative.dev',
}

/** @param given without what the server adds itself; @param plural as its path says */
export async function startApiServer(
  given: KubernetesObject,
  plural: 'inferenceservices' | 'services',
): Promise<ApiServer> {
  const { namespace, name } = given.metadata
  const collection = `/apis/${given.apiVersion}/namespaces/${namespace}/${plural}`
  let version = 1000
  let oldest = version
  let object: KubernetesObject = {
    ...given,
    metadata: {
      ...given.metadata,
      uid: '8f0c-1',
      resourceVersion: String(version),
      generation: 1,
      managedFields: [],
    },
  }
  const log: { version: number; object: KubernetesObject }[] = []
  const watching = new Set<ServerResponse>()
  const sockets = new Set<{ destroy(): void }>()

  function write(next: KubernetesObject) {
    version++
    object = { ...next, metadata: { ...next.metadata, resourceVersion: String(version) } }
    log.push({ version, object })
    for (const response of watching)
      response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`)
  }

  function change(by: string, patch: object, at = new Date(), operation = 'Update') {
    const next = merged(object, patch)
    const paths = differences(object, next).filter(([top]) => top === 'spec' || top === 'metadata')
    if (paths.length === 0) return
    const time = at.toISOString().replace(/\.\d+Z$/, 'Z')
    const others = object.metadata.managedFields
      .map((entry: KubernetesObject) => ({
        ...entry,
        fieldsV1: paths.reduce(without, entry.fieldsV1),
      }))
      .filter(
        ({ manager, fieldsV1, subresource }: KubernetesObject) =>
          subresource !== undefined || (manager !== by && Object.keys(fieldsV1).length > 0),
      )
    const own = object.metadata.managedFields.find(
      ({ manager, subresource }: KubernetesObject) => manager === by && subresource === undefined,
    )
    const kept = paths.filter(path => path.reduce((value, key) => value?.[key], next) !== undefined)
    const fieldsV1 = kept.reduce(within, paths.reduce(without, own?.fieldsV1 ?? {}))
    const entry = {
      manager: by,
      operation,
      apiVersion: given.apiVersion,
      time,
      fieldsType: 'FieldsV1',
      fieldsV1,
    }
    const generation =
      next.metadata.generation + (isDeepStrictEqual(next.spec, object.spec) ? 0 : 1)
    write({
      ...next,
      metadata: { ...next.metadata, generation, managedFields: [...others, entry] },
    })
    api.reconcile(object)
  }

  function answer(request: IncomingMessage, response: ServerResponse, body: Buffer) {
    const { pathname, searchParams } = new URL(String(request.url), 'http://api')
    const method = String(request.method)
    api.asked.push(`${method} ${request.url}`)
    const fault = api.fault(method, String(request.url))
    if (fault === 'hang') return
    if (fault === 'reset') return request.socket.destroy()
    const json = (status: number, value: object) =>
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
    const refuse = (code: number, reason: string, message: string) =>
      json(code, {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message,
        reason,
        code,
      })
    if (fault !== undefined)
      return refuse(fault.status, '', fault.message ?? `told to answer ${fault.status}`)
    if (request.headers.authorization !== 'Bearer secret')
      return refuse(401, 'Unauthorized', 'Unauthorized')
    if (method === 'GET' && pathname === collection && searchParams.get('watch') === 'true')
      return watch(response, searchParams)
    if (method === 'POST' && pathname === `/apis/events.k8s.io/v1/namespaces/${namespace}/events`) {
      const event = JSON.parse(body.toString())
      // pkg/apis/core/validation/events.go; a name's beginning must be a name, but for a dash at its end (apimachinery, api/validation).
      if (
        !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?-?$/.test(event.metadata.generateName) ||
        event.note.length > 1024 ||
        !event.reportingController ||
        !event.reportingInstance ||
        !event.action ||
        !event.reason ||
        !event.eventTime
      ) {
        return refuse(422, 'Invalid', 'the Event is invalid')
      }
      api.events.push(event)
      return json(201, event)
    }
    if (pathname !== `${collection}/${name}`) {
      return refuse(
        404,
        'NotFound',
        `${plural}.${GROUPS[plural]} "${pathname.split('/').at(-1)}" not found`,
      )
    }
    if (method === 'GET') return json(200, object)
    if (method !== 'PATCH')
      return refuse(
        405,
        'MethodNotAllowed',
        'the server does not allow this method on the requested resource',
      )
    if (request.headers['content-type'] !== 'application/merge-patch+json') {
      return refuse(
        415,
        'UnsupportedMediaType',
        `the body of the request was in an unknown format: ${request.headers['content-type']}`,
      )
    }
    api.beforePatch()
    const patch = JSON.parse(body.toString())
    const { resourceVersion } = patch.metadata ?? {}
    if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
      return refuse(
        409,
        'Conflict',
        `Operation cannot be fulfilled on ${plural}.${GROUPS[plural]} "${name}": the object has been modified`,
      )
    }
    delete patch.metadata
    change(searchParams.get('fieldManager') ?? 'unknown', patch)
    return json(200, object)
  }

  function watch(response: ServerResponse, query: URLSearchParams) {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' })
    const from = Number(query.get('resourceVersion'))
    if (from < oldest) {
      const message = `too old resource version: ${from} (${oldest})`
      return response.end(
        `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', status: 'Failure', reason: 'Expired', code: 410, message } })}\n`,
      )
    }
    response.flushHeaders()
    if (query.get('fieldSelector') !== `metadata.name=${name}`) return
    for (const { version, object } of log)
      if (version > from) response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`)
    watching.add(response)
    response.on('close', () => watching.delete(response))
  }

  const server = createServer(async (request, response) =>
    answer(request, response, await buffer(request)),
  )
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const folder = mkdtempSync(join(tmpdir(), 'canary-api-'))
  const kubeconfig = join(folder, 'config')
  let port = 0

  const api: ApiServer = {
    get url() {
      return `http://127.0.0.1:${port}`
    },
    kubeconfig,
    asked: [],
    events: [],
    fault: () => undefined,
    beforePatch: () => {},
    reconcile: () => {},
    get object() {
      return object
    },
    change,
    setStatus(status) {
      const entry = {
        manager: 'manager',
        operation: 'Update',
        subresource: 'status',
        time: new Date().toISOString(),
        fieldsV1: { 'f:status': {} },
      }
      const managedFields = [
        ...object.metadata.managedFields.filter(
          ({ subresource }: KubernetesObject) => subresource === undefined,
        ),
        entry,
      ]
      write({
        ...object,
        status: merged(object.status ?? {}, status),
        metadata: { ...object.metadata, managedFields },
      })
    },
    compact() {
      log.length = 0
      oldest = ++version
      object = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
    },
    endWatches() {
      const count = watching.size
      for (const response of watching) response.end()
      return count
    },
    watches: () => watching.size,
    async start() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      port = (server.address() as AddressInfo).port
    },
    async stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
    async close() {
      if (server.listening) await this.stop()
      rmSync(folder, { recursive: true })
    },
  }
  await api.start()
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      // Without it the client refuses an address without TLS.
      clusters: [{ name: 'test', cluster: { server: api.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'test', user: { token: 'secret' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
    }),
  )
  return api
}

/** A merge patch (RFC 7386) on a value. */
function merged(value: KubernetesObject, patch: KubernetesObject): KubernetesObject {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const next =
    typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
  for (const [key, part] of Object.entries(patch)) {
    if (part === null) delete next[key]
    else next[key] = merged(next[key], part)
  }
  return next
}

/** Paths of the fields that differ; a list is one field, as the lists here are to Kubernetes. */
function differences(
  a: KubernetesObject,
  b: KubernetesObject,
  path: readonly string[] = [],
): string[][] {
  const isMap = (value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMap(a) || !isMap(b)) {
    if (isDeepStrictEqual(a, b)) return []
    return isMap(b)
      ? Object.keys(b).flatMap(key => differences(undefined, b[key], [...path, key]))
      : [[...path]]
  }
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap(key =>
    differences(a[key], b[key], [...path, key]),
  )
}

function within(fields: KubernetesObject, [key, ...rest]: readonly string[]): KubernetesObject {
  return key === undefined
    ? fields
    : { ...fields, [`f:${key}`]: within(fields[`f:${key}`] ?? {}, rest) }
}

function without(fields: KubernetesObject, [key, ...rest]: readonly string[]): KubernetesObject {
  const name = `f:${key}`
  if (fields[name] === undefined) return fields
  const { [name]: inner, ...others } = fields
  const left = rest.length === 0 ? {} : without(inner, rest)
  return Object.keys(left).length === 0 ? others : { ...others, [name]: left }
}
