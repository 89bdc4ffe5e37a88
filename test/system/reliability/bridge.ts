import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import { parse } from 'yaml'
import { type Answer, inHeaders, keepAlive, type Message, post } from './flowers.ts'

/*
 * A bridge between RabbitMQ and the function. It delivers events by the rules of Knative Eventing
 * 1.22 (pkg/kncloudevents retries.go and event_dispatcher.go, pkg/broker/filter/filter_handler.go),
 * with the `delivery` of one of this project's Triggers, and acknowledges an event after RabbitMQ
 * has confirmed its reply or dead letter.
 */

/** Without `retryAfterMax`, Knative ignores `Retry-After`. */
export interface Delivery {
  readonly retry: number
  readonly timeoutMs: number
  backoffMs(attempt: number): number
}

export function readDelivery(file: string): Delivery {
  const { retry, timeout, backoffDelay, backoffPolicy, retryAfterMax } = parse(
    readFileSync(file, 'utf8'),
  ).spec.delivery
  if (retryAfterMax !== undefined)
    throw new Error(`${file} has retryAfterMax, which the bridge does not support`)
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
    throw new Error(`the duration "${duration}" does not have the form PT0.5S`)
  return Number(seconds) * 1_000
}

export const QUEUES = { events: 'events', replies: 'replies', deadLetters: 'dead-letters' } as const

/** An HTTP message as RabbitMQ stores it: headers, body, and the number of its event. */
export const queued = ({ headers, body }: Message, n: number) =>
  [body, { headers, messageId: `${n}`, persistent: true }] as const

export const numberOf = ({ properties }: ConsumeMessage) => Number(properties.messageId)

/** @param n the event's number */
export interface Watch {
  /** The head of a response has arrived; the bridge reads the body after this resolves. */
  answers(n: number, headers: IncomingHttpHeaders): void | Promise<void>
  /**
   * An event was delivered, possibly again, with this status, a truncated response or no response.
   */
  delivered(n: number, outcome: number | 'broken off' | 'none'): void
  /** The reply is in RabbitMQ. @returns whether the bridge must crash before acknowledging */
  replied(n: number): boolean
  done(n: number): void
}

export interface Bridge {
  /** Resolves when the bridge has crashed. @throws {Error} any unexpected error */
  readonly died: Promise<void>
  close(): Promise<void>
}

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
  /** Dead letters in progress, which a crash of the bridge now would duplicate. */
  let burying = 0

  /** Ends the bridge like a killed process, without closing connections properly. */
  function die(): void {
    end.abort()
    agent.destroy()
    const { stream, heartbeater } = connection.connection as unknown as {
      stream: Socket
      heartbeater?: { clear(): void }
    }
    stream.destroy()
    // The heartbeat timer would wait three minutes for the closed connection.
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
      // A response to checkQueue proves that RabbitMQ has received the acknowledgement.
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

  /** @returns the last response, after retries */
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

/** Resolves when RabbitMQ has confirmed that it stored the message. */
export const publish = (channel: ConfirmChannel, queue: string, message: Message, n: number) =>
  new Promise<void>((resolve, reject) => {
    channel.sendToQueue(queue, ...queued(message, n), error => (error ? reject(error) : resolve()))
  })

/** Knative's SelectiveRetry. */
const isTriedAgain = (status: number) => status >= 500 || [404, 408, 409, 429].includes(status)

/** Knative turns a 2xx response whose body is not an event into a 502. */
const isEventOrNothing = ({ status, headers, body }: Answer) =>
  status >= 300 ||
  body.length === 0 ||
  headers['ce-specversion'] !== undefined ||
  headers['content-type']?.startsWith(STRUCTURED) === true

const STRUCTURED = 'application/cloudevents+json'

const MOST_ERROR_DATA = 1024

/** Adds Knative's extensions: where and why the delivery failed. */
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
