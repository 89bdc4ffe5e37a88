/**
 * What is loaded when it is first asked for, once. Where that fails, for want of memory or of file descriptors, who asks next tries again.
 * @returns asks for it
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
