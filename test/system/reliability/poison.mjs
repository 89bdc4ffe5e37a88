import { isMainThread } from 'node:worker_threads'

/*
 * No request within the limits can fill a thread's heap. If the server imports this file, a thread
 * that parses a request with the id "poison" runs out of heap, as with a leak.
 */

if (!isMainThread) {
  const parse = JSON.parse
  JSON.parse = (text, ...rest) => {
    if (typeof text === 'string' && text.includes('"id":"poison"')) takeAllHeap()
    return parse(text, ...rest)
  }
}

function takeAllHeap() {
  const held = []
  for (;;) held.push(Array.from({ length: 10_000 }, (_, i) => ({ i })))
}
