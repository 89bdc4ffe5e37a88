import { afterReading } from './after-reading.ts'

/** Refuse a request if fewer than LEAST_BYTES of its body arrive in LEAST_BYTES_MS. */
export const LEAST_BYTES = 1024
export const LEAST_BYTES_MS = 5_000

/** Progress is measured over two samples, because a client may send only once per second. */
const SAMPLED_EVERY_MS = 500

/** An arrival with more bytes in two samples is not too slow. */
const FAST_BYTES = 64 * 1024

export interface Needing {
  /** The bytes that moved in the last 0.5 to 1 s; infinite if all bytes have arrived. */
  readonly lately: number
  readonly address: string | undefined
}

/** A body that is arriving, or a response being read. Uses memory until complete. */
export interface Arriving extends Pick<Needing, 'address'> {
  readonly bytes: number
  /**
   * Called when the client is too slow. If absent, a slow client stays until other requests need
   * the memory.
   */
  onStalled?(): void
  /** Called when a faster request needs the memory, which must be released at once. */
  onEvicted(): void
}

/** The progress of a body that arrives in pieces, or of a large response being read. */
export class Arrival implements Needing {
  readonly source: Arriving
  received = 0
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

  /** Whether there are enough samples to compare this arrival with others. */
  get isSettled(): boolean {
    return this.#samples > 1
  }

  /** @param expected the total size in bytes, if known */
  add(bytes: number, expected = Number.NaN): void {
    this.received += bytes
    this.isWhole = this.received === expected
  }

  /** @returns whether the arrival has stalled */
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

/**
 * Tracks arriving bodies and large responses being read, and selects a victim if memory is needed.
 */
export class Arrivals {
  readonly #open = new Set<Arrival>()
  #timer: NodeJS.Timeout | undefined

  begin(source: Arriving): Arrival {
    const arrival = new Arrival(source)
    this.#open.add(arrival)
    this.#timer ??= setInterval(afterReading, SAMPLED_EVERY_MS, () => this.sample()).unref()
    return arrival
  }

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
   * Evicts an arrival with less progress than `needing`, or else one from the address that uses the most memory, unless `needing`'s address already uses its share.
   * @param frees whether a source's memory would help
   * @returns whether an arrival was evicted
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

/**
 * Finds the slowest arrival, if it is at most half as fast as `needing`: equally fast clients must
 * not evict each other.
 */
function slowerThan(needing: Needing, candidates: readonly Arrival[]): Arrival | undefined {
  const slowest = slowestOf(candidates.filter(arrival => arrival.isSettled && arrival !== needing))
  const most = Math.min(needing.lately / 2, FAST_BYTES)
  return slowest !== undefined && slowest.lately <= most ? slowest : undefined
}

/**
 * Finds the slowest arrival from the address that uses the most memory; undefined if `needing`'s
 * address already uses its share.
 */
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
