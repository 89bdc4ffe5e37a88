/**
 * A call of a transform on this thread. It ends at its deadline or when its caller hangs up, even
 * during the transform.
 */
export class RunningCall {
  #ended: Error | undefined
  #controller: AbortController | undefined
  #reject: ((error: Error) => void) | undefined

  /** Why the call ended early; undefined while it is needed. */
  get ended(): Error | undefined {
    return this.#ended
  }

  /** Created when first read, because most calls do not use it. */
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

  until(promise: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) reject(this.#ended)
      this.#reject = reject
      promise.then(resolve, reject)
    })
  }
}
