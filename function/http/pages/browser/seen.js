const isSeen = () =>
  !(/** @type {any} */ (document).prerendering) && document.visibilityState === 'visible'

/**
 * Calls `action` when the page is first visible, and not while it is prerendered or in a background
 * tab.
 */
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
