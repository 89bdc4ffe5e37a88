import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Gauge, Histogram, Registry } from 'prom-client'
import { NAMESPACE, PODS } from './pods.ts'
import type { Labels } from './prometheus.ts'

/*
 * A SIMULATION of programs that only a cluster has: Knative's autoscaler, activator, queue-proxy
 * and Broker, and kube-state-metrics. It exports the series names and labels of Knative Serving
 * 1.23, Eventing 1.22 and kube-state-metrics 2, with the scenario's values, and contains no Knative
 * code.
 */

export const CONCURRENCY = { stable: 12, panic: 20, target: 22.4 } as const
export const QUEUED = 3
export const AT_QUEUE_PROXY = 2
/** The queue-proxy's buckets. The Broker's have the same range. */
export const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

export interface RevisionState {
  readonly pods: number
  readonly desired: number
  readonly waiting: boolean
  readonly busy: boolean
}

const REVISION_GAUGES: Readonly<Record<string, (state: RevisionState) => number>> = {
  kn_revision_pods_count: ({ pods }) => pods,
  kn_revision_pods_desired: ({ desired }) => desired,
  kn_revision_pods_requested: ({ desired }) => desired,
  kn_revision_pods_pending_count: ({ pods, desired }) => Math.max(0, desired - pods),
  kn_revision_pods_not_ready_count: () => 0,
  kn_revision_pods_terminating_count: ({ pods, desired }) => Math.max(0, pods - desired),
  kn_revision_concurrency_stable: ({ busy }) => (busy ? CONCURRENCY.stable : 0),
  kn_revision_concurrency_panic: ({ busy }) => (busy ? CONCURRENCY.panic : 0),
  kn_revision_concurrency_target: () => CONCURRENCY.target,
  kn_revision_panic_mode: ({ waiting }) => Number(waiting),
  kn_revision_capacity_excess: ({ pods, busy }) =>
    pods * CONCURRENCY.target - (busy ? CONCURRENCY.stable : 0),
  kn_serving_queue_depth: ({ busy }) => (busy ? AT_QUEUE_PROXY : 0),
}

const revisionLabels = ({ service, revision }: { service: string; revision: string }) => ({
  kn_service_name: service,
  kn_configuration_name: service,
  kn_revision_name: revision,
  k8s_namespace_name: NAMESPACE,
})
const REVISION = Object.keys(revisionLabels(PODS.stable))

const BROKER = {
  messaging_operation_name: 'send',
  messaging_system: 'knative',
  kn_broker_name: 'default',
  kn_broker_namespace: NAMESPACE,
  url_scheme: 'http',
}

const POD = { namespace: NAMESPACE, node: 'node-1', created_by_kind: 'ReplicaSet' }

export class StandIn {
  readonly #registry = new Registry()
  readonly #gauges = Object.entries(REVISION_GAUGES).map(
    ([name, value]) => [this.#gauge(name, REVISION), value] as const,
  )
  readonly #queued = this.#gauge('kn_revision_request_queued', REVISION.slice(2))
  readonly #pods = this.#gauge('kube_pod_info', [...Object.keys(POD), 'pod'])
  readonly #invocations = this.#histogram('kn_serving_invocation_duration_seconds', [
    // With OTLP, the labels of a revision are resource attributes that Prometheus promotes to
    // labels.
    ...REVISION,
    'http_response_status_code',
  ])
  readonly #dispatches = this.#histogram('kn_eventing_dispatch_duration_seconds', [
    ...Object.keys(BROKER),
    'messaging_destination_name',
    'cloudevents_type',
    'http_response_status_code',
  ])
  readonly #server = createServer(async (_, response) => {
    response.setHeader('content-type', this.#registry.contentType)
    response.end(await this.#registry.metrics())
  })

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  setRevision(of: { service: string; revision: string }, state: RevisionState): void {
    const labels = revisionLabels(of)
    for (const [gauge, value] of this.#gauges) gauge.set(labels, value(state))
    const { kn_revision_name, k8s_namespace_name } = labels
    this.#queued.set({ kn_revision_name, k8s_namespace_name }, state.waiting ? QUEUED : 0)
  }

  setPods(pods: readonly string[]): void {
    this.#pods.reset()
    for (const pod of pods) this.#pods.set({ ...POD, pod }, 1)
  }

  invoked(of: { service: string; revision: string }, status: number, seconds: number): void {
    const labels = { ...revisionLabels(of), http_response_status_code: String(status) }
    this.#invocations.observe(labels, seconds)
  }

  dispatched(labels: Labels, seconds: number): void {
    this.#dispatches.observe({ ...BROKER, ...labels }, seconds)
  }

  #gauge(name: string, labelNames: string[]) {
    return new Gauge({ name, help: 'A simulated series.', labelNames, registers: [this.#registry] })
  }

  #histogram(name: string, labelNames: string[]) {
    const registers = [this.#registry]
    return new Histogram({
      name,
      help: 'A simulated series.',
      labelNames,
      buckets: BUCKETS,
      registers,
    })
  }
}
