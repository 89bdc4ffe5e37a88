import { setTimeout as wait } from 'node:timers/promises'
import { NAMESPACE, type Pod } from './pods.ts'
import { type Labels, now } from './prometheus.ts'
import type { StandIn } from './stand-in.ts'

/* Records every response for the model. */

export interface Observation {
  readonly at: number
  readonly labels: Labels
  /** Added to a counter, such as a prediction's rows; or the value of a gauge. */
  readonly count: number
  readonly seconds: number
  /** The minimum of a time that was measured from outside the process. */
  readonly least?: number
}

export const labelsOf = ({ address, spec: { service, revision, version } }: Pod) => ({
  service,
  revision,
  version,
  instance: address,
})

const TYPES: Labels = { 'iris-ping': 'dev.knative.sources.ping' }
const REQUEST_TYPE = 'com.example.iris.classify.request'

const isFinal = (status: number) =>
  status >= 400 && status < 500 && ![404, 408, 409, 429].includes(status)
const TRIES = 3

export class Traffic {
  readonly observations: Observation[] = []
  readonly #standIn: StandIn

  constructor(standIn: StandIn) {
    this.#standIn = standIn
  }

  record(stream: string, labels: Labels, value: Partial<Omit<Observation, 'labels'>> = {}): void {
    const labelled = { stream, ...labels }
    this.observations.push({ at: now(), count: 1, seconds: 0, ...value, labels: labelled })
  }

  async post(pod: Pod, body: string): Promise<void> {
    await this.#send(pod, `/v2/models/${pod.spec.model ?? 'iris-classifier'}/infer`, {}, body)
  }

  /**
   * Delivers an event as a Broker does: with retries, and to the dead letter sink if the retries
   * fail.
   */
  async deliver(
    { id, trigger, data }: Readonly<Record<'id' | 'trigger' | 'data', string>>,
    pod: Pod,
    sink: Pod,
  ): Promise<void> {
    const type = TYPES[trigger] ?? REQUEST_TYPE
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-source': '/garden',
      'ce-type': type,
    }
    let [status, text] = [0, '']
    for (let tries = 0; tries < TRIES && !isFinal(status); tries++) {
      const answer = await this.#send(pod, '/', headers, data)
      ;({ status, text } = answer)
      const labels = {
        messaging_destination_name: `trigger:${trigger}.${NAMESPACE}`,
        cloudevents_type: type,
        http_response_status_code: String(status),
      }
      this.#standIn.dispatched(labels, answer.seconds)
      this.record('deliveries', labels)
      if (status < 300) return
    }
    const error = {
      'ce-knativeerrordest': pod.url,
      'ce-knativeerrorcode': String(status),
      'ce-knativeerrordata': Buffer.from(text.slice(0, 1024)).toString('base64'),
    }
    await post(sink.url, { ...headers, ...error }, data)
    const reason = isFinal(status) ? 'refused' : 'exhausted'
    this.record('dead letters', { service: sink.spec.service, reason })
  }

  /** Sends at a fixed rate, independent of responses. @returns a function that stops and waits */
  every(milliseconds: number, send: (i: number) => Promise<unknown>): () => Promise<void> {
    const inFlight = new Set<Promise<unknown>>()
    let failure: unknown
    let i = 0
    const began = performance.now()
    const timer = setInterval(() => {
      // If the timer is late, sends all requests that are due.
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
  }

  async #send(pod: Pod, path: string, headers: Labels, body: string) {
    const began = performance.now()
    const { status, text } = await post(`${pod.url}${path}`, headers, body)
    const seconds = (performance.now() - began) / 1000
    const labels = {
      ...labelsOf(pod),
      protocol: 'ce-id' in headers ? 'cloudevent' : 'http',
      status: status === 200 ? 'success' : 'error',
      ...(status >= 500 ? { reason: 'overloaded', cause: 'overloaded' } : {}),
    }
    this.record('requests', { ...labels, le: '+Inf' }, { seconds })
    this.record('phases', { phase: 'first-answer' }, { seconds })
    for (const [label, count] of Object.entries(countLabels(text)))
      this.record('predictions', { ...labels, label }, { count })
    this.#standIn.invoked(pod.spec, status, seconds)
    return { status, text, seconds }
  }
}

async function post(url: string, headers: Labels, body: string) {
  const json = { 'content-type': 'application/json', ...headers }
  const response = await fetch(url, { method: 'POST', headers: json, body })
  return { status: response.status, text: await response.text() }
}

function countLabels(text: string): Record<string, number> {
  const { outputs = [] } = text === '' ? {} : JSON.parse(text)
  const classes = outputs.find(({ name }: { name: string }) => name === 'predicted_class')
  const counts: Record<string, number> = {}
  for (const label of classes?.data ?? []) counts[label] = (counts[label] ?? 0) + 1
  return counts
}

const VIRGINICA = [6.7, 3.0, 5.2, 2.3]
const FLOWERS = [[5.1, 3.5, 1.4, 0.2], [5.0, 3.4, 1.5, 0.2], VIRGINICA]

const tensor = (name: string, shape: readonly number[], data: unknown) =>
  JSON.stringify({ inputs: [{ name, shape, datatype: 'FP32', data }] })

/** A request with one flower. Two in three requests are for setosa. */
export const iris = (i: number): string => tensor('input', [1, 4], FLOWERS[i % FLOWERS.length])

export const field = (rows: number): string =>
  tensor('input', [rows, 4], Array(rows).fill(VIRGINICA))

/** The most common mistake: a single row without the outer brackets. */
export const MISTAKE = tensor('input', [4], VIRGINICA)

export const SLOW = tensor('x', [1, 2], [1, 2])
