import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import { parse } from 'yaml'
import { type Answer, inHeaders, keepAlive, type Message, post } from './flowers.ts'

/*
 * What stands between RabbitMQ and the function: it delivers by the rules of Knative Eventing 1.22 (pkg/kncloudevents retries.go and
 * event_dispatcher.go, pkg/broker/filter/filter_handler.go), with the `delivery` of a Trigger of ours. An event is acknowledged once
 * RabbitMQ has confirmed its reply, or its dead letter.
 */

/** A Trigger's `delivery`. It has no `retryAfterMax`, without which Knative takes no notice of `Retry-After`. */
export interface Delivery {
  readonly retry: number
  readonly timeoutMs: number
  /** @param attempt 0 after the first */
  backoffMs(attempt: number): number
}

/** @param file a manifest that is a Trigger */
export function readDelivery(file: string): Delivery {
  const { retry, timeout, backoffDelay, backoffPolicy, retryAfterMax } = parse(
    readFileSync(file, 'utf8'),
  ).spec.delivery
  if (retryAfterMax !== undefined)
    throw new Error(`${file} has retryAfterMax, of which the bridge knows nothing`)
  const delay = milliseconds(backoffDelay)
  return {
    retry,
    timeoutMs: milliseconds(timeout),
    backoffMs: attempt => delay * (backoffPolicy === 'exponential' ? 2 ** attempt : attempt),
  }
}

function milliseconds(duration: string): number {
  const seconds = /^PT([\d.]+)S$/.exec(duration)?.[1]
  if (seconds === undefined)
    throw new Error(`${duration} is no duration in seconds, such as PT0.5S`)
  return Number(seconds) * 1_000
}

export const QUEUES = { events: 'events', replies: 'replies', deadLetters: 'dead-letters' } as const

/** As RabbitMQ keeps it: an HTTP message's headers and body, and the number of the event it belongs to. */
export const queued = ({ headers, body }: Message, n: number) =>
  [body, { headers, messageId: `${n}`, persistent: true }] as const

export const numberOf = ({ properties }: ConsumeMessage) => Number(properties.messageId)

/** What is to be known of its work; all by the number of the event. */
export interface Watch {
  /** The head of an answer is here; its body is read when this resolves. */
  answers(n: number, headers: IncomingHttpHeaders): void | Promise<void>
  /** An event was delivered, maybe not for the first time: the status, or that the answer broke off, or that there was none. */
  delivered(n: number, outcome: number | 'broken off' | 'none'): void
  /** The reply is in RabbitMQ. @returns whether the bridge is to die of it, before it can say that the event is done */
  replied(n: number): boolean
  /** It is acknowledged. */
  done(n: number): void
}

export interface Bridge {
  /** Resolves when it has died. @throws {Error} what it did not reckon with */
  readonly died: Promise<void>
  close(): Promise<void>
}

/** @param workers events that are delivered at once */
export async function startBridge(
  url: string,
  port: number,
  delivery: Delivery,
  workers: number,
  watch: Watch,
): Promise<Bridge> {
  const connection = await connect(url)
  const channel = await connection.createConfirmChannel()
  const agent = keepAlive(workers)
  const end = new AbortController()
  const { promise: died, resolve, reject } = Promise.withResolvers<void>()
  died.catch(() => {})
  /** Dead letters on their way: had it died in between, there would be two, which is not the function's doing. */
  let burying = 0

  /** As a process that is killed: nothing is said to anybody. */
  function die(): void {
    end.abort()
    agent.destroy()
    const { stream, heartbeater } = connection.connection as unknown as {
      stream: Socket
      heartbeater?: { clear(): void }
    }
    stream.destroy()
    // It would wait three minutes for who is not there any more.
    heartbeater?.clear()
    resolve()
  }
  const isDead = () => end.signal.aborted
  connection.on('error', error => isDead() || reject(error))
  channel.on('error', error => isDead() || reject(error))

  async function take(message: ConsumeMessage): Promise<void> {
    const n = numberOf(message)
    const event: Message = {
      headers: message.properties.headers as Record<string, string>,
      body: message.content,
    }
    const { status, ...answer } = await deliver(event, n)
    if (status >= 300) {
      burying++
      await publish(channel, QUEUES.deadLetters, withError(event, status, answer.body), n)
      channel.ack(message)
      // When this is answered, RabbitMQ has taken the acknowledgement.
      await channel.checkQueue(QUEUES.deadLetters)
      burying--
    } else {
      if (answer.body.length > 0) {
        await publish(
          channel,
          QUEUES.replies,
          { headers: answer.headers as Record<string, string>, body: answer.body },
          n,
        )
        if (burying === 0 && watch.replied(n)) return die()
      }
      channel.ack(message)
    }
    watch.done(n)
  }

  /** @returns the last answer */
  async function deliver(
    event: Message,
    n: number,
  ): Promise<Pick<Answer, 'status' | 'headers' | 'body'>> {
    for (let attempt = 0; ; attempt++) {
      const answer = await send(event, n)
      end.signal.throwIfAborted()
      if (attempt === delivery.retry || !isTriedAgain(answer.status)) return answer
      await wait(delivery.backoffMs(attempt), undefined, { signal: end.signal })
    }
  }

  async function send(
    event: Message,
    n: number,
  ): Promise<Pick<Answer, 'status' | 'headers' | 'body'>> {
    let hasBegun = false
    const began = (headers: IncomingHttpHeaders) => {
      hasBegun = true
      return watch.answers(n, headers)
    }
    const headers = { ...event.headers, prefer: 'reply' }
    try {
      const answer = await post(port, '/', { ...event, headers }, agent, {
        timeoutMs: delivery.timeoutMs,
        began,
      })
      watch.delivered(n, answer.status)
      return isEventOrNothing(answer) ? answer : { ...answer, status: 502 }
    } catch (error) {
      if (!isDead()) watch.delivered(n, hasBegun ? 'broken off' : 'none')
      return {
        status: 500,
        headers: {},
        body: Buffer.from(`dispatch error: ${(error as Error).message}`),
      }
    }
  }

  await channel.prefetch(workers)
  await channel.consume(QUEUES.events, message => {
    if (message !== null) take(message).catch(error => isDead() || reject(error))
  })
  return {
    died,
    async close() {
      end.abort()
      agent.destroy()
      await connection.close()
    },
  }
}

/** Resolves when RabbitMQ has confirmed that it keeps it. */
export const publish = (channel: ConfirmChannel, queue: string, message: Message, n: number) =>
  new Promise<void>((resolve, reject) => {
    channel.sendToQueue(queue, ...queued(message, n), error => (error ? reject(error) : resolve()))
  })

/** Knative's SelectiveRetry. */
const isTriedAgain = (status: number) => status >= 500 || [404, 408, 409, 429].includes(status)

/** Any other body of a 2xx answer is a failure: 502. */
const isEventOrNothing = ({ status, headers, body }: Answer) =>
  status >= 300 ||
  body.length === 0 ||
  headers['ce-specversion'] !== undefined ||
  headers['content-type']?.startsWith(STRUCTURED) === true

const STRUCTURED = 'application/cloudevents+json'

const MOST_ERROR_DATA = 1024

/** The event, with the extensions that say where and why it was lost. */
function withError({ headers, body }: Message, status: number, said: Buffer): Message {
  const extensions = {
    knativeerrordest: 'http://iris-classifier.iris.svc.cluster.local',
    knativeerrorcode: `${status}`,
    knativeerrordata: said.toString('base64').slice(0, MOST_ERROR_DATA),
  }
  if (headers['content-type'] !== STRUCTURED)
    return { headers: { ...headers, ...inHeaders(extensions) }, body }
  return {
    headers,
    body: Buffer.from(JSON.stringify({ ...JSON.parse(body.toString()), ...extensions })),
  }
}
