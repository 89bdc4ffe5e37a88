import { isMainThread } from 'node:worker_threads'

/*
 * No request that the limits admit takes all of a thread's heap any more. This one does, where this
 * file is imported before the server: the thread that reads it ends for want of heap, as it would of
 * a leak.
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
