/**
 * Returns a function that loads a value at its first call, and returns the same value afterwards.
 * After a failure, for example because of too little memory or too few file descriptors, the next
 * call loads again.
 */
export function lazily<Loaded>(load: () => Promise<Loaded>): () => Promise<Loaded> {
  let loading: Promise<Loaded> | undefined
  return () => {
    loading ??= load().catch(error => {
      loading = undefined
      throw error
    })
    return loading
  }
}
