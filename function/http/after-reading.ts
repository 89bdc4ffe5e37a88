import { RoundRobin } from './round-robin.ts'

const closings = new RoundRobin()

/**
 * Lets the event loop read the sockets before a timer's callback closes a connection. A late timer
 * runs before sockets are read, and would cut off a request that arrived in time. Thousands of
 * connections that time out together are closed in several turns, so that other requests need not
 * wait for all of them.
 */
export const afterReading = (close: () => void): void => closings.add(close, close)
