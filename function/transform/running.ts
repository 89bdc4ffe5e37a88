/**
 * A call of the author's code on this thread. Its deadline, or its caller's hanging up, ends it:
 * nothing waits for it any more, whatever the author's code goes on to do.
 */
export class RunningCall {
  #ended: Error | undefined
  #controller: AbortController | undefined
  #reject: ((error: Error) => void) | undefined

  /** Why nothing waits for it any more. */
  get ended(): Error | undefined {
    return this.#ended
  }

  /** For the author's code. Made when it is asked for, because most calls do not. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#ended !== undefined) this.#controller.abort(this.#ended)
    }
    return this.#controller.signal
  }

  end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#reject?.(error)
    this.#controller?.abort(error)
  }

  /** Waits for the author's promise, or for the end of the call. */
  until(promise: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) reject(this.#ended)
      this.#reject = reject
      promise.then(resolve, reject)
    })
  }
}
