import type { Socket } from 'node:net'

const CHECKED_EVERY_MS = 1_000

/** The part of Node's handle of an encrypted socket that shows whether the client has reset it. */
interface Handle {
  /** The encrypted bytes that have not been written. */
  readonly writeQueueSize: number
  /** @returns 0, or a negative error code if the socket is no longer connected */
  getpeername(out: object): number
}

/**
 * Closes encrypted HTTP/2 connections that their clients have reset during a write. Node's HTTP/2
 * ignores the error and writes again; Node's TLS never ends that second write, and HTTP/2 does not
 * read until it ends (Node 24). Without this check, such a connection would delay a shutdown.
 */
export class ResetSockets {
  readonly #open = new Set<Socket>()
  #timer: NodeJS.Timeout | undefined

  /** Watches an encrypted connection until it closes. */
  watch(socket: Socket): void {
    this.#open.add(socket)
    this.#timer ??= setInterval(() => this.#check(), CHECKED_EVERY_MS).unref()
    socket.once('close', () => this.#forget(socket))
  }

  #check(): void {
    for (const socket of this.#open) if (isReset(socket)) socket.destroy()
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket)
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

function isReset(socket: Socket): boolean {
  const { _handle: handle } = socket as Socket & { readonly _handle?: Handle | null }
  return !!handle && handle.writeQueueSize > 0 && handle.getpeername({}) !== 0
}
