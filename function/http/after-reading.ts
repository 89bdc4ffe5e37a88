/**
 * What a timer calls that may close a connection. A late timer runs before the event loop reads
 * sockets: closing at once would reset a request that has come in time and is not read yet.
 */
export const afterReading = (close: () => void): void => {
  setImmediate(close)
}
