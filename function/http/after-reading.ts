/**
 * Runs a timer's callback that may close a connection, after the event loop has read the sockets. A
 * late timer runs before that, and would reset a request that arrived in time.
 */
export const afterReading = (close: () => void): void => {
  setImmediate(close)
}
