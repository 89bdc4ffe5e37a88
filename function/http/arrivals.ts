import { afterReading } from './after-reading.ts'

/** A client that sends less than this much of a body in this time is refused. */
export const LEAST_BYTES = 1024
export const LEAST_BYTES_MS = 5_000

/** Progress is measured over two samples: a client may send a second's worth of data at a time. */
const SAMPLED_EVERY_MS = 500

/** An arrival with this much progress in two samples is never evicted. */
const FAST_BYTES = 64 * 1024

/** Something that needs memory. */
export interface Needing {
  /** Bytes that arrived in the last half to whole second; infinite if it is complete. */
  readonly lately: number
  /** The client's address. */
  readonly address: string | undefined
}

/** Something that holds memory while it arrives or is being read. */
export interface Arriving extends Pick<Needing, 'address'> {
  /** Memory in use, in bytes. */
  readonly bytes: number
  /** Called when the client is too slow. Absent if it may be slow until others need the room. */
  onStalled?(): void
  /** Called when others need the memory and make more progress. Must release the memory at once. */
  onEvicted(): void
}

/** A body that arrives in pieces, or a large answer being read, with its progress. */
export class Arrival implements Needing {
  readonly source: Arriving
  /** Bytes that have arrived or have been read. */
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

  /** Whether there are enough samples to judge its progress. */
  get isSettled(): boolean {
    return this.#samples > 1
  }

  /** Counts bytes that arrived. @param expected total size, if known */
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

/** All bodies that are arriving and large answers that are being read. Chooses which to evict. */
export class Arrivals {
  readonly #open = new Set<Arrival>()
  #timer: NodeJS.Timeout | undefined

  begin(source: Arriving): Arrival {
    const arrival = new Arrival(source)
    this.#open.add(arrival)
    this.#timer ??= setInterval(afterReading, SAMPLED_EVERY_MS, () => this.sample()).unref()
    return arrival
  }

  /** Called when it has arrived, or has been given up. */
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
   * Evicts an arrival that makes less progress than `needing`, or one from an address that holds
   * more than its share while another address would be refused.
   * @param frees whether its memory would help
   * @returns whether one was evicted
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

/** The slowest, if at most half as fast: equally fast clients must not evict each other. */
function slowerThan(needing: Needing, candidates: readonly Arrival[]): Arrival | undefined {
  const slowest = slowestOf(candidates.filter(arrival => arrival.isSettled && arrival !== needing))
  const most = Math.min(needing.lately / 2, FAST_BYTES)
  return slowest !== undefined && slowest.lately <= most ? slowest : undefined
}

/** The slowest of the address that holds most, unless `needing`'s own address holds its share. */
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
