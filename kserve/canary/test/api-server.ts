import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'
import { type KubernetesObject, RESOURCES } from '../rollout/state.ts'
import { differences, merged, within, without } from './merge-patch.ts'

/*
 * A Kubernetes API server for one custom resource and its Events
 * (kubernetes.io/docs/reference/using-api/api-concepts, server-side-apply).
 */

export type Fault = { readonly status: number; readonly message?: string } | 'hang' | 'reset'

export type Plural = (typeof RESOURCES)[keyof typeof RESOURCES]['plural']

const GROUPS = Object.fromEntries(
  Object.values(RESOURCES).map(({ plural, group }) => [plural, group]),
)
const EVENT_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?-?$/
const ONLY_PATCH = 'the server does not allow this method on the requested resource'

export class ApiServer {
  /** Method, path and query of each request. */
  readonly asked: string[] = []
  readonly events: KubernetesObject[] = []
  /** Called for each request; undefined means no fault. */
  fault: (method: string, path: string) => Fault | undefined = () => undefined
  /** Runs before the server compares a patch's version: simulates a concurrent writer. */
  beforePatch: () => void = () => {}
  /** Read-only objects that controllers create for this object, by path. */
  beside: (object: KubernetesObject) => Readonly<Record<string, KubernetesObject>> = () => ({})
  /** Simulates the controller after each change. */
  reconcile: (object: KubernetesObject) => void = () => {}
  readonly kubeconfig: string
  #object: KubernetesObject
  #version = 1000
  #oldest = 1000
  #log: { version: number; object: KubernetesObject }[] = []
  readonly #watches = new Set<ServerResponse>()
  readonly #plural: Plural
  readonly #collection: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'canary-api-'))
  readonly #server = createServer(async (request, response) =>
    this.#answer(request, response, await buffer(request)),
  )
  #port = 0

  /**
   * @param object the object without the fields that the server adds
   * @param plural the plural name of its kind, for paths
   */
  constructor(object: KubernetesObject, plural: Plural) {
    this.#plural = plural
    this.#collection = `/apis/${object.apiVersion}/namespaces/${object.metadata.namespace}/${plural}`
    const server = { uid: '8f0c-1', resourceVersion: '1000', generation: 1, managedFields: [] }
    this.#object = { ...object, metadata: { ...object.metadata, ...server } }
    this.kubeconfig = join(this.#folder, 'config')
  }

  get object(): KubernetesObject {
    return this.#object
  }

  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    const server = `http://127.0.0.1:${this.#port}`
    const { namespace } = this.#object.metadata
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      // Without this, the client rejects plain http.
      clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'test', user: { token: 'secret' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
    }
    writeFileSync(this.kubeconfig, JSON.stringify(config))
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.stop()
    rmSync(this.#folder, { recursive: true })
  }

  change(manager: string, patch: object, at = new Date()): void {
    const before = this.#object
    const next = merged(before, patch)
    const paths = differences(before, next).filter(([top]) => top === 'spec' || top === 'metadata')
    if (paths.length === 0) return
    const entries: KubernetesObject[] = before.metadata.managedFields
    const isOwn = (entry: KubernetesObject) =>
      entry.manager === manager && entry.subresource === undefined
    const others = entries
      .filter(entry => !isOwn(entry))
      .map(entry => ({ ...entry, fieldsV1: paths.reduce(without, entry.fieldsV1) }))
      .filter(({ fieldsV1, subresource }) => subresource || Object.keys(fieldsV1).length > 0)
    const kept = paths.filter(path => path.reduce((value, key) => value?.[key], next) !== undefined)
    const owned = paths.reduce(without, entries.find(isOwn)?.fieldsV1 ?? {})
    const own = {
      manager,
      operation: 'Update',
      apiVersion: before.apiVersion,
      time: at.toISOString().replace(/\.\d+Z$/, 'Z'),
      fieldsType: 'FieldsV1',
      fieldsV1: kept.reduce(within, owned),
    }
    const changed = isDeepStrictEqual(next.spec, before.spec) ? 0 : 1
    const generation = next.metadata.generation + changed
    const managedFields = [...others, own]
    this.#write({ ...next, metadata: { ...next.metadata, generation, managedFields } })
    this.reconcile(this.#object)
  }

  setStatus(status: object): void {
    const own = {
      manager: 'manager',
      operation: 'Update',
      subresource: 'status',
      time: new Date().toISOString(),
      fieldsV1: { 'f:status': {} },
    }
    const { metadata } = this.#object
    const others = metadata.managedFields.filter((entry: KubernetesObject) => !entry.subresource)
    this.#write({
      ...this.#object,
      status: merged(this.#object.status ?? {}, status),
      metadata: { ...metadata, managedFields: [...others, own] },
    })
  }

  /** A watch from an old version then gets 410 Gone. */
  compact(): void {
    this.#log = []
    this.#oldest = ++this.#version
    this.#object.metadata.resourceVersion = String(this.#version)
  }

  get watches(): number {
    return this.#watches.size
  }

  /** @returns the number of watches that were open */
  endWatches(): number {
    const { size } = this.#watches
    for (const response of this.#watches) response.end()
    return size
  }

  #write(next: KubernetesObject): void {
    const version = ++this.#version
    const metadata = { ...next.metadata, resourceVersion: String(version) }
    this.#object = { ...next, metadata }
    this.#log.push({ version, object: this.#object })
    for (const response of this.#watches) response.write(modified(this.#object))
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: Buffer) {
    const { pathname, searchParams } = new URL(String(request.url), 'http://api')
    const method = String(request.method)
    this.asked.push(`${method} ${request.url}`)
    const fault = this.fault(method, String(request.url))
    if (fault === 'hang') return
    if (fault === 'reset') return request.socket.destroy()
    if (fault !== undefined)
      return refuse(response, fault.status, fault.message ?? `injected fault ${fault.status}`)
    if (request.headers.authorization !== 'Bearer secret')
      return refuse(response, 401, 'Unauthorized')
    if (pathname === this.#collection && searchParams.get('watch') === 'true')
      return this.#watch(response, searchParams)
    const { namespace, name } = this.#object.metadata
    if (pathname === `/apis/events.k8s.io/v1/namespaces/${namespace}/events`)
      return this.#createEvent(response, JSON.parse(body.toString()))
    const other = this.beside(this.#object)[pathname]
    if (other !== undefined && method === 'GET') return json(response, 200, other)
    if (pathname !== `${this.#collection}/${name}`)
      return refuse(response, 404, `${this.#quoted(pathname.split('/').at(-1))} not found`)
    if (method === 'GET') return json(response, 200, this.#object)
    if (method !== 'PATCH') return refuse(response, 405, ONLY_PATCH)
    const type = request.headers['content-type']
    if (type !== 'application/merge-patch+json')
      return refuse(response, 415, `the body of the request was in an unknown format: ${type}`)
    this.#patch(
      response,
      JSON.parse(body.toString()),
      searchParams.get('fieldManager') ?? 'unknown',
    )
  }

  #quoted = (name: string | undefined) => `${this.#plural}.${GROUPS[this.#plural]} "${name}"`

  /** Validates as pkg/apis/core/validation/events.go. generateName may end in a dash. */
  #createEvent(response: ServerResponse, event: KubernetesObject) {
    const required = ['reportingController', 'reportingInstance', 'action', 'reason', 'eventTime']
    const isValid =
      EVENT_NAME.test(event.metadata.generateName) &&
      event.note.length <= 1024 &&
      required.every(field => event[field])
    if (!isValid) return refuse(response, 422, 'the Event is invalid')
    this.events.push(event)
    json(response, 201, event)
  }

  #patch(response: ServerResponse, patch: KubernetesObject, manager: string) {
    this.beforePatch()
    const { metadata, ...change } = patch
    const { name, resourceVersion } = this.#object.metadata
    if (metadata?.resourceVersion !== undefined && metadata.resourceVersion !== resourceVersion) {
      const what = `Operation cannot be fulfilled on ${this.#quoted(name)}`
      return refuse(response, 409, `${what}: the object has been modified`)
    }
    this.change(manager, change)
    json(response, 200, this.#object)
  }

  #watch(response: ServerResponse, query: URLSearchParams) {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' })
    const from = Number(query.get('resourceVersion'))
    if (from < this.#oldest) {
      const message = `too old resource version: ${from} (${this.#oldest})`
      const object = { kind: 'Status', status: 'Failure', reason: 'Expired', code: 410, message }
      return response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`)
    }
    response.flushHeaders()
    if (query.get('fieldSelector') !== `metadata.name=${this.#object.metadata.name}`) return
    for (const { version, object } of this.#log) {
      if (version > from) response.write(modified(object))
    }
    this.#watches.add(response)
    response.on('close', () => this.#watches.delete(response))
  }
}

const modified = (object: KubernetesObject) => `${JSON.stringify({ type: 'MODIFIED', object })}\n`

function json(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
}

const refuse = (response: ServerResponse, code: number, message: string) =>
  json(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code })

export const writesTo = ({ asked }: ApiServer): string[] =>
  asked.filter(line => !line.startsWith('GET'))
