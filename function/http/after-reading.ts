/**
 * Runs a timer's callback that may close a connection. A late timer runs before the event loop
 * reads sockets: closing at once would reset a request that arrived in time but is not read yet.
 */
export const afterReading = (close: () => void): void => {
  setImmediate(close)
}
