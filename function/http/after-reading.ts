/**
 * Lets the event loop read the sockets before a timer's callback closes a connection. A late timer
 * runs before sockets are read, and would cut off a request that arrived in time.
 */
export const afterReading = (close: () => void): void => {
  setImmediate(close)
}
