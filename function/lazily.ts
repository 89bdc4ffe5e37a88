/**
 * Loads something once, when it is first needed. If that fails, for want of memory or file
 * descriptors, the next call tries again.
 * @returns the function that gives it
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
