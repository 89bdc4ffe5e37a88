import type { Caller } from '../answer.ts'
import { hungUp, whenGivenUp } from '../inference/give-up.ts'
import { Overloaded } from '../protocol/errors.ts'
import { Arrivals, type Arriving, type Needing } from './arrivals.ts'

/**
 * The memory for concurrent bodies and large responses, in units of the largest allowed body.
 * Waiting tensors may use one more unit, and the running request's tensors and response one each:
 * five in total.
 */
const LARGE_BODIES = 2

/** How much of the memory that the model leaves free is for bodies and responses. */
const SHARE_OF_FREE = 1 / 3

/** Bodies up to this size have their own room, so that large bodies cannot crowd them out. */
export const SMALL_BYTES = 128 * 1024
const ROOM_FOR_SMALL_BYTES = 16 * 2 ** 20

/** The share of the room that arriving bodies must leave for bodies that have arrived. */
const KEPT_FOR_WHOLE = 1 / 8

/** The share of the room for large bodies that small bodies may borrow while it is unused. */
const LENT_TO_SMALL = 1 / 2

/**
 * Room for small responses only. If bodies filled all the room, their requests could not be
 * answered, and the bodies would never be released.
 */
const ROOM_BESIDE_BODIES_BYTES = 2 ** 20

/** Two of the largest JSON responses. */
const ROOM_FOR_LARGE_ANSWERS_BYTES = 32 * 2 ** 20

const LATE = 'the deadline passed while other responses used all the memory allowed'

type Room = Record<'small' | 'large', number>

interface Waiting {
  readonly reservation: Reservation
  readonly bytes: number
  readonly cancel: () => void
  readonly resolve: () => void
}

const roomOf = (bytes: number) => (bytes <= SMALL_BYTES ? 'small' : 'large')

/** The memory for request bodies and unread responses. The server has one instance. */
export class BodyMemory {
  readonly arrivals = new Arrivals()
  readonly #used: Room = { small: 0, large: 0 }
  readonly #roomForBodies: Room
  readonly #roomForAnswers: Room
  readonly #free: () => number
  /** Responses that wait for room before they are produced, oldest first. */
  readonly #waiting: Record<keyof Room, Waiting[]> = { small: [], large: [] }
  /** Small responses that wait for their clients to read them, oldest first. */
  readonly #unread = new Set<Reservation>()

  /** @param free returns the bytes that the model leaves free, once it is loaded */
  constructor(maxBodyBytes: number, free: () => number = () => Number.POSITIVE_INFINITY) {
    const large = LARGE_BODIES * maxBodyBytes
    this.#free = free
    this.#roomForBodies = { small: Math.min(ROOM_FOR_SMALL_BYTES, large), large }
    // Responses may be larger than the bodies of their requests.
    this.#roomForAnswers = {
      small: ROOM_FOR_SMALL_BYTES + ROOM_BESIDE_BODIES_BYTES,
      large: Math.max(large, ROOM_FOR_LARGE_ANSWERS_BYTES),
    }
  }

  /**
   * Reserves memory for the response to a request without a body.
   * @throws {Overloaded} if other requests fill the memory
   */
  reserveForAnswer(bytes: number): Reservation {
    const reservation = new Reservation(this)
    try {
      reservation.becomeAnswer(bytes)
    } catch (error) {
      reservation.release()
      throw error
    }
    return reservation
  }

  /** Only reservations call this. */
  resize(reservation: Reservation, bytes: number): void {
    const before = roomOf(reservation.bytes)
    const isLess = roomOf(bytes) !== before || bytes < reservation.bytes
    this.#used[before] -= reservation.bytes
    this.#used[roomOf(bytes)] += bytes
    reservation.bytes = bytes
    if (isLess && this.#waiting[before].length > 0) this.#admit(this.#waiting[before])
  }

  /**
   * Counts a response before it is produced, once there is room. Always admits a single response.
   * Only reservations call this.
   */
  expect(reservation: Reservation, bytes: number, caller: Caller): Promise<void> | undefined {
    const total = reservation.bytes + bytes
    const waiting = this.#waiting[roomOf(total)]
    const isFull = () => !this.#hasRoom(reservation, total)
    if (waiting.length === 0 && this.#makeRoom(isFull, roomOf(total), WHOLE)) {
      this.resize(reservation, total)
      return undefined
    }
    return new Promise((resolve, reject) => {
      if (caller.gone) throw hungUp()
      const cancel = whenGivenUp(caller, LATE, error => {
        waiting.splice(waiting.indexOf(entry), 1)
        reject(error)
        this.#admit(waiting)
      })
      const entry: Waiting = { reservation, bytes, cancel, resolve }
      waiting.push(entry)
    })
  }

  hasRoom(reservation: Reservation, bytes: number): boolean {
    return this.#hasRoom(reservation, reservation.bytes + bytes)
  }

  #hasRoom(reservation: Reservation, total: number): boolean {
    const room = roomOf(total)
    const own = roomOf(reservation.bytes) === room ? reservation.bytes : 0
    const others = this.#used[room] - own
    return others === 0 || others + total <= this.#available(this.#roomForAnswers, room)
  }

  #admit(waiting: Waiting[]): void {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const { reservation, bytes, cancel, resolve } = next
      if (!this.#hasRoom(reservation, reservation.bytes + bytes)) return
      waiting.shift()
      cancel()
      this.resize(reservation, reservation.bytes + bytes)
      resolve()
    }
  }

  /** Returns the bytes available for bodies or responses of one kind. */
  #available(room: Room, kind: keyof Room): number {
    const large = Math.min(room.large, SHARE_OF_FREE * this.#free())
    if (kind === 'large') return large - Math.max(0, this.#used.small - this.#roomForAnswers.small)
    return room.small + Math.max(0, Math.min(LENT_TO_SMALL * large, large - this.#used.large))
  }

  waitForReader(reservation: Reservation): void {
    if (roomOf(reservation.bytes) === 'small') this.#unread.add(reservation)
  }

  stopWaiting(reservation: Reservation): void {
    this.#unread.delete(reservation)
  }

  /** @throws {Overloaded} if there is no room for the body's bytes */
  checkBody(reservation: Reservation, needing: Needing): void {
    this.#check(reservation, this.#roomForBodies, needing)
  }

  /** @throws {Overloaded} if there is no room for the response's bytes */
  checkAnswer(reservation: Reservation): void {
    this.#check(reservation, this.#roomForAnswers, WHOLE)
  }

  #check({ bytes }: Reservation, available: Room, needing: Needing): void {
    const room = roomOf(bytes)
    // A single body is always admitted, whatever its size.
    const isKept = room === 'small' && needing.lately < Number.POSITIVE_INFINITY
    const kept = isKept ? KEPT_FOR_WHOLE * available.small : 0
    const isFull = () =>
      this.#used[room] > this.#available(available, room) - kept && this.#used[room] > bytes
    if (!this.#makeRoom(isFull, room, needing)) throw new Overloaded(FULL)
  }

  /**
   * Makes room. For a small request, drops unread small responses first, then slower small bodies,
   * and no large responses.
   * @returns whether there is room
   */
  #makeRoom(isFull: () => boolean, room: keyof Room, needing: Needing): boolean {
    if (!isFull()) return true
    if (room === 'small') {
      for (const { closeConnection } of this.#unread) {
        closeConnection?.()
        if (!isFull()) return true
      }
    }
    // A large body evicts small bodies only if they have borrowed room from large bodies.
    const frees = ({ bytes }: Arriving) =>
      roomOf(bytes) === room || (room === 'large' && this.#used.small > ROOM_FOR_SMALL_BYTES)
    while (this.arrivals.evictFor(needing, frees)) if (!isFull()) return true
    return false
  }
}

const WHOLE: Needing = { lately: Number.POSITIVE_INFINITY, address: undefined }

export const FULL = 'other requests\u2019 bodies use all the memory allowed; try again later'

/** The memory of one request: for its body, then for its response. */
export class Reservation {
  bytes = 0
  closeConnection: (() => void) | undefined
  readonly #memory: BodyMemory
  #expectsAnswer = false
  /** After its client has hung up, a request that is still in progress counts nothing more. */
  #isReleased = false

  constructor(memory: BodyMemory) {
    this.#memory = memory
  }

  /**
   * Counts bytes of the body that have arrived.
   * @throws {Overloaded} if other requests fill the memory and are not slower
   */
  add(bytes: number, needing: Needing): void {
    this.#memory.resize(this, this.bytes + bytes)
    this.#memory.checkBody(this, needing)
  }

  /**
   * Counts a response that is about to be produced. The first one waits for room. Later responses
   * to a batch of events do not: other requests may wait for the memory that the batch already
   * uses.
   * @throws {Overloaded|DeadlinePassed}
   */
  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined {
    if (this.#isReleased) return undefined
    if (!this.#expectsAnswer) {
      this.#expectsAnswer = true
      return this.#memory.expect(this, bytes, caller)
    }
    if (!this.#memory.hasRoom(this, bytes))
      throw new Overloaded('other responses use all the memory allowed; try again later')
    this.#memory.resize(this, this.bytes + bytes)
    return undefined
  }

  /**
   * Records that the response has replaced the body.
   * @throws {Overloaded} if the response is larger and other requests fill the memory
   */
  becomeAnswer(bytes: number): void {
    if (this.#isReleased) return
    const grows = bytes > this.bytes
    this.#memory.resize(this, bytes)
    if (grows) this.#memory.checkAnswer(this)
  }

  /**
   * Records that the client has not read its response yet.
   * @param closeConnection called if other small requests need the room; must release this
   * reservation
   */
  waitForReader(closeConnection: () => void): void {
    this.closeConnection = closeConnection
    this.#memory.waitForReader(this)
  }

  release(): void {
    this.#isReleased = true
    this.#memory.resize(this, 0)
    if (this.closeConnection !== undefined) this.#memory.stopWaiting(this)
  }
}
