import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker } from 'node:worker_threads'

/* Loaded before each test file. */

/*
 * Node keeps what it compiled, here and in the processes that tests start: a start of the function takes 0.2 s of CPU instead of 0.6 s.
 * Not for coverage, which Node counts less precisely for code from this cache.
 */
const folder = fileURLToPath(new URL('../node_modules/.cache/compile', import.meta.url))
enableCompileCache(folder)
process.env.NODE_COMPILE_CACHE = folder

/** More than any file takes on a machine that has much else to do. */
const SECONDS = 600 * Math.max(1, Number(process.env.RUNS ?? 1))

/*
 * A file that does not end is killed. --test-timeout ends tests, not a file that waits before its first one, leaves a handle open, or
 * loops; a thread of its own sees all three.
 */
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const text = `${process.argv[1]} did not end within ${SECONDS} s`
  const code = `setTimeout(() => {
    process._rawDebug(${JSON.stringify(text)})
    process.kill(process.pid, 'SIGKILL')
  }, ${SECONDS} * 1000)`
  new Worker(code, { eval: true, execArgv: [] }).unref()
}
