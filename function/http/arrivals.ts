import { afterReading } from './after-reading.ts'

/** A client that sends less of a body than this in so long is not waited for any longer. */
export const LEAST_BYTES = 1024
export const LEAST_BYTES_MS = 5_000

/** Progress is that of the last two samples: a client may send a second's worth at a time. */
const SAMPLED_EVERY_MS = 500

/** One that makes as much progress as this in two samples is never ended for others. */
const FAST_BYTES = 64 * 1024

/** What needs memory. */
export interface Needing {
  /** Bytes that have come of it in the last second, or half of it; infinite where it is whole. */
  readonly lately: number
  /** Of its client. */
  readonly address: string | undefined
}

/** What holds memory while it arrives, or while it is read. */
export interface Arriving extends Pick<Needing, 'address'> {
  /** Bytes of memory. */
  readonly bytes: number
  /** The client is too slow; absent where it may take its time as long as others need no room. */
  onStalled?(): void
  /** Others need the memory, and make more progress. It gives the memory back at once. */
  onEvicted(): void
}

/** A body that arrives piece by piece, or a large answer that is read, and how fast it goes. */
export class Arrival implements Needing {
  readonly source: Arriving
  /** Bytes that have come, or have been read. */
  received = 0
  /** All of it has come. */
  isWhole = false
  #atSample = 0
  #inSample = 0
  #samples = 0
  #markBytes = 0
  #markAt = performance.now()

  constructor(source: Arriving) {
    this.source = source
  }

  get address(): string | undefined {
    return this.source.address
  }

  get lately(): number {
    return this.isWhole ? Number.POSITIVE_INFINITY : this.#inSample + this.received - this.#atSample
  }

  /** Whether it has been here long enough to be judged by its progress. */
  get isSettled(): boolean {
    return this.#samples > 1
  }

  /** Bytes have come. @param expected of all of it, where that is known */
  add(bytes: number, expected = Number.NaN): void {
    this.received += bytes
    this.isWhole = this.received === expected
  }

  /** @returns whether it has stalled */
  sample(now: number): boolean {
    this.#inSample = this.received - this.#atSample
    this.#atSample = this.received
    this.#samples++
    if (this.received - this.#markBytes >= LEAST_BYTES) {
      this.#markBytes = this.received
      this.#markAt = now
    }
    return now - this.#markAt >= LEAST_BYTES_MS
  }
}

/** All bodies that are arriving, and large answers that are read: which makes way for others. */
export class Arrivals {
  readonly #open = new Set<Arrival>()
  #timer: NodeJS.Timeout | undefined

  begin(source: Arriving): Arrival {
    const arrival = new Arrival(source)
    this.#open.add(arrival)
    this.#timer ??= setInterval(afterReading, SAMPLED_EVERY_MS, () => this.sample()).unref()
    return arrival
  }

  /** It has arrived, or does not any more. */
  end(arrival: Arrival): void {
    this.#open.delete(arrival)
  }

  sample(now = performance.now()): void {
    for (const arrival of this.#open)
      if (arrival.sample(now) && arrival.source.onStalled !== undefined) {
        this.end(arrival)
        arrival.source.onStalled()
      }
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /**
   * Ends one that makes less progress than the one that needs room, or that is of an address which
   * holds more than its share while another address would be refused.
   * @param frees whether its memory is of use
   * @returns whether there was one
   */
  evictFor(needing: Needing, frees: (source: Arriving) => boolean): boolean {
    const candidates = [...this.#open].filter(({ source }) => source.bytes > 0 && frees(source))
    const victim = slowerThan(needing, candidates) ?? ofGreedyAddress(needing, candidates)
    if (victim === undefined) return false
    this.end(victim)
    victim.source.onEvicted()
    return true
  }
}

/** The slowest, if it makes at most half as much progress: two that are as fast do not take turns. */
function slowerThan(needing: Needing, candidates: readonly Arrival[]): Arrival | undefined {
  const slowest = slowestOf(candidates.filter(arrival => arrival.isSettled && arrival !== needing))
  const most = Math.min(needing.lately / 2, FAST_BYTES)
  return slowest !== undefined && slowest.lately <= most ? slowest : undefined
}

/** The slowest of the address that holds most, unless the one that needs room holds its share. */
function ofGreedyAddress(needing: Needing, candidates: readonly Arrival[]): Arrival | undefined {
  if (needing.address === undefined) return undefined
  const held = new Map<string | undefined, number>([[needing.address, 0]])
  let total = 0
  for (const { source } of candidates) {
    held.set(source.address, (held.get(source.address) ?? 0) + source.bytes)
    total += source.bytes
  }
  if ((held.get(needing.address) as number) >= total / held.size) return undefined
  const most = Math.max(...held.values())
  return slowestOf(candidates.filter(({ address }) => held.get(address) === most))
}

const slowestOf = (arrivals: readonly Arrival[]): Arrival | undefined =>
  arrivals.reduce<Arrival | undefined>(
    (slowest, arrival) =>
      slowest === undefined || arrival.lately < slowest.lately ? arrival : slowest,
    undefined,
  )
