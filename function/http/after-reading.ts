/** How long the closing of connections may take in each turn of the event loop. */
const MOST_MS = 1

const waiting: (() => void)[] = []

/**
 * Lets the event loop read the sockets before a timer's callback closes a connection. A late timer
 * runs before sockets are read, and would cut off a request that arrived in time. Thousands of
 * connections that time out together are closed in several turns, so that other requests need not
 * wait for all of them.
 */
export const afterReading = (close: () => void): void => {
  if (waiting.push(close) === 1) setImmediate(closeSome)
}

function closeSome(): void {
  const end = performance.now() + MOST_MS
  try {
    do waiting.shift()?.()
    while (waiting.length > 0 && performance.now() < end)
  } finally {
    if (waiting.length > 0) setImmediate(closeSome)
  }
}
