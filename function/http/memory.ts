import { Overloaded } from '../protocol/errors.ts'

/**
 * Bodies and large answers in memory at once, over all requests, in units of the largest one
 * allowed. Beside them there may be one body more in tensors that wait, and for the request that is
 * being answered its tensors and its answer: five in all.
 */
const LARGE_BODIES = 2

/** Smaller bodies have room of their own, so that large ones do not crowd them out. */
const SMALL_BYTES = 128 * 1024
const ROOM_FOR_SMALL_BYTES = 16 * 2 ** 20

/** Two of the largest answers in JSON. */
const ROOM_FOR_LARGE_ANSWERS_BYTES = 32 * 2 ** 20

type Room = Record<'small' | 'large', number>

const roomOf = (bytes: number) => (bytes <= SMALL_BYTES ? 'small' : 'large')

/**
 * The memory for request bodies and for answers that are still being read; one for the whole
 * server.
 */
export class BodyMemory {
  readonly #used: Room = { small: 0, large: 0 }
  readonly #roomForBodies: Room
  readonly #roomForAnswers: Room
  /** Small answers that wait for their clients to read them, the oldest first. */
  readonly #unread = new Set<Reservation>()

  constructor(maxBodyBytes: number) {
    const large = LARGE_BODIES * maxBodyBytes
    this.#roomForBodies = { small: Math.min(ROOM_FOR_SMALL_BYTES, large), large }
    // Answers may be larger than the bodies that ask for them.
    this.#roomForAnswers = {
      small: ROOM_FOR_SMALL_BYTES,
      large: Math.max(large, ROOM_FOR_LARGE_ANSWERS_BYTES),
    }
  }

  /**
   * Room for an answer to a request without a body.
   * @throws {Overloaded} when other requests fill the memory
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
    this.#used[roomOf(reservation.bytes)] -= reservation.bytes
    this.#used[roomOf(bytes)] += bytes
    reservation.bytes = bytes
  }

  /** Only reservations call this. */
  waitForReader(reservation: Reservation): void {
    if (roomOf(reservation.bytes) === 'small') this.#unread.add(reservation)
  }

  /** Only reservations call this. */
  stopWaiting(reservation: Reservation): void {
    this.#unread.delete(reservation)
  }

  /** @throws {Overloaded} when there is no room for the body's bytes */
  checkBody(reservation: Reservation): void {
    this.#check(reservation, this.#roomForBodies)
  }

  /** @throws {Overloaded} when there is no room for the answer's bytes */
  checkAnswer(reservation: Reservation): void {
    this.#check(reservation, this.#roomForAnswers)
  }

  /** Unread small answers make room for other small requests; large answers keep their time. */
  #check({ bytes }: Reservation, available: Room): void {
    const room = roomOf(bytes)
    // A single body is always admitted, whatever its size.
    const isFull = () => this.#used[room] > available[room] && this.#used[room] > bytes
    if (!isFull()) return
    if (room === 'small') {
      for (const { closeConnection } of this.#unread) {
        closeConnection?.()
        if (!isFull()) return
      }
    }
    throw new Overloaded('other requests\u2019 bodies fill the memory for them; try again later')
  }
}

/** The memory that one request takes, for its body and then for its answer. */
export class Reservation {
  bytes = 0
  closeConnection: (() => void) | undefined
  readonly #memory: BodyMemory

  constructor(memory: BodyMemory) {
    this.#memory = memory
  }

  /** Bytes of the body have arrived. @throws {Overloaded} when other requests fill the memory */
  add(bytes: number): void {
    this.#memory.resize(this, this.bytes + bytes)
    this.#memory.checkBody(this)
  }

  /**
   * The answer has taken the body's place.
   * @throws {Overloaded} when it is larger, and other requests fill the memory
   */
  becomeAnswer(bytes: number): void {
    const grows = bytes > this.bytes
    this.#memory.resize(this, bytes)
    if (grows) this.#memory.checkAnswer(this)
  }

  /**
   * The client reads its answer more slowly than it came.
   * @param closeConnection called where other small requests need the room; it must release this
   */
  waitForReader(closeConnection: () => void): void {
    this.closeConnection = closeConnection
    this.#memory.waitForReader(this)
  }

  release(): void {
    this.#memory.resize(this, 0)
    if (this.closeConnection !== undefined) this.#memory.stopWaiting(this)
  }
}
