/**
 * Runs a timer's callback that may close a connection, after the event loop has read the sockets. A
 * late timer runs before the sockets are read: closing the connection at once would reset a request
 * that arrived in time but has not been read yet.
 */
export const afterReading = (close: () => void): void => {
  setImmediate(close)
}
