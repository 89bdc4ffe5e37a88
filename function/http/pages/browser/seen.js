const isSeen = () =>
  !(/** @type {any} */ (document).prerendering) && document.visibilityState === 'visible'

/** Calls once somebody sees the page: not while it is prerendered, or in a tab in the background. */
export function whenSeen(action) {
  const controller = new AbortController()
  const look = () => {
    if (!isSeen() || controller.signal.aborted) return
    controller.abort()
    action()
  }
  for (const event of ['prerenderingchange', 'visibilitychange'])
    document.addEventListener(event, look, { signal: controller.signal })
  look()
}
