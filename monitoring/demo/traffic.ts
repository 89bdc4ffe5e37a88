import { setTimeout as wait } from 'node:timers/promises'
import { NAMESPACE, type Pod } from './pods.ts'
import type { StandIn } from './stand-in.ts'

/*
 * What callers and a Broker send, and a record of every answer: it is what the queries are held to.
 */

export interface Answered {
  /** Seconds since 1970. */
  readonly at: number
  readonly pod: Pod
  readonly protocol: 'http' | 'cloudevent'
  readonly status: number
  readonly seconds: number
  /** Of the rows answered, how many got which label. */
  readonly labels: Readonly<Record<string, number>>
}

/** A delivery by the Broker, each try. */
export interface Delivery {
  readonly at: number
  readonly trigger: string
  readonly type: string
  readonly status: number
}

export interface Traffic {
  readonly answers: readonly Answered[]
  readonly deliveries: readonly Delivery[]
  /** Ids of events that ended at the dead letter sink. */
  readonly dead: readonly {
    readonly id: string
    readonly reason: 'refused' | 'exhausted'
    readonly at: number
  }[]
  post(pod: Pod, body: string, model?: string): Promise<number>
  /** As a Broker: tries again what may succeed later, and sends on what is given up. */
  deliver(event: Event, pod: Pod, sink: Pod, tries?: number): Promise<void>
  /** One each so many milliseconds, whether or not the last is answered. @returns ends it, and waits for the answers */
  every(milliseconds: number, send: (i: number) => Promise<unknown>): () => Promise<void>
}

export interface Event {
  readonly id: string
  readonly type: string
  readonly trigger: string
  readonly data: string
}

/** Not tried again (docs/eventing.md). */
const isFinal = (status: number) =>
  status >= 400 && status < 500 && ![404, 408, 409, 429].includes(status)

export function createTraffic(standIn: StandIn): Traffic {
  const answers: Answered[] = []
  const deliveries: Delivery[] = []
  const dead: { id: string; reason: 'refused' | 'exhausted'; at: number }[] = []

  async function send(
    pod: Pod,
    path: string,
    headers: Record<string, string>,
    body: string,
    protocol: Answered['protocol'],
  ) {
    const began = performance.now()
    const answer = await fetch(`${pod.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
    const text = await answer.text()
    const seconds = (performance.now() - began) / 1000
    answers.push({
      at: Date.now() / 1000,
      pod,
      protocol,
      status: answer.status,
      seconds,
      labels: countLabels(text),
    })
    standIn.observe(
      'kn_serving_invocation_duration_seconds',
      { ...revisionLabels(pod), http_response_status_code: String(answer.status) },
      seconds,
    )
    return { status: answer.status, seconds, text }
  }

  return {
    answers,
    deliveries,
    dead,
    post: async (pod, body, model = 'iris-classifier') =>
      (await send(pod, `/v2/models/${model}/infer`, {}, body, 'http')).status,
    async deliver({ id, type, trigger, data }, pod, sink, tries = 3) {
      const headers = {
        'ce-specversion': '1.0',
        'ce-id': id,
        'ce-source': '/garden',
        'ce-type': type,
      }
      for (let left = tries; left > 0; left--) {
        const { status, seconds, text } = await send(pod, '/', headers, data, 'cloudevent')
        deliveries.push({ at: Date.now() / 1000, trigger, type, status })
        standIn.observe(
          'kn_eventing_dispatch_duration_seconds',
          dispatchLabels(trigger, type, status),
          seconds,
        )
        if (status < 300) return
        if (!isFinal(status) && left > 1) continue
        await fetch(sink.url, {
          method: 'POST',
          headers: {
            ...headers,
            'content-type': 'application/json',
            'ce-knativeerrordest': pod.url,
            'ce-knativeerrorcode': String(status),
            'ce-knativeerrordata': Buffer.from(text.slice(0, 1024)).toString('base64'),
          },
          body: data,
        })
        dead.push({ id, reason: isFinal(status) ? 'refused' : 'exhausted', at: Date.now() / 1000 })
        return
      }
    },
    every(milliseconds, send) {
      const inFlight = new Set<Promise<unknown>>()
      let failure: unknown
      let i = 0
      const began = performance.now()
      const timer = setInterval(() => {
        // All that are due: a timer that comes late must not make it fewer.
        for (; i * milliseconds <= performance.now() - began; i++) {
          const one = send(i)
            .catch(error => {
              failure = error
            })
            .finally(() => inFlight.delete(one))
          inFlight.add(one)
        }
      }, milliseconds)
      return async () => {
        clearInterval(timer)
        while (inFlight.size > 0) await Promise.race([Promise.all(inFlight), wait(1_000)])
        if (failure !== undefined) throw failure
      }
    },
  }
}

export const revisionLabels = ({ service, revision }: Pick<Pod, 'service' | 'revision'>) => ({
  kn_service_name: service,
  kn_configuration_name: service,
  kn_revision_name: revision,
  k8s_namespace_name: NAMESPACE,
})

const dispatchLabels = (trigger: string, type: string, status: number) => ({
  messaging_destination_name: `trigger:${trigger}.${NAMESPACE}`,
  messaging_operation_name: 'send',
  messaging_system: 'knative',
  cloudevents_type: type,
  kn_broker_name: 'default',
  kn_broker_namespace: NAMESPACE,
  http_response_status_code: String(status),
  url_scheme: 'http',
})

function countLabels(text: string): Record<string, number> {
  const labels: Record<string, number> = {}
  const outputs: { name: string; data: unknown[] }[] =
    text === '' ? [] : (JSON.parse(text).outputs ?? [])
  for (const label of outputs.find(({ name }) => name === 'predicted_class')?.data ?? []) {
    labels[String(label)] = (labels[String(label)] ?? 0) + 1
  }
  return labels
}

const FLOWERS = [
  [5.1, 3.5, 1.4, 0.2],
  [5.0, 3.4, 1.5, 0.2],
  [6.7, 3.0, 5.2, 2.3],
]

/** @param i which flower: two of three are setosa */
export const iris = (i = 0): string =>
  JSON.stringify({
    inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: FLOWERS[i % FLOWERS.length] }],
  })

/** A request of very many rows, all virginica. */
export const field = (rows: number): string =>
  JSON.stringify({
    inputs: [
      {
        name: 'input',
        shape: [rows, 4],
        datatype: 'FP32',
        data: Array.from({ length: rows }, () => FLOWERS[2]),
      },
    ],
  })

/** The mistake that people make most: one row without its brackets. */
export const MISTAKE = JSON.stringify({
  inputs: [{ name: 'input', shape: [4], datatype: 'FP32', data: FLOWERS[0] }],
})

/** For test/models/slow, which takes 50 to 100 ms. */
export const SLOW = JSON.stringify({
  inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
})
