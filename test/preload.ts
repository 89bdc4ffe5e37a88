import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker } from 'node:worker_threads'

/* Loaded before each test file. */

/*
 * Turn on Node's compile cache, here and in processes that tests start: a start of the function
 * then takes 0.2 s of CPU instead of 0.6 s. Off for coverage, which is less precise for cached
 * code.
 */
const folder = fileURLToPath(new URL('../node_modules/.cache/compile', import.meta.url))
enableCompileCache(folder)
process.env.NODE_COMPILE_CACHE = folder

/** More than any file takes on a busy machine. */
const SECONDS = 600 * Math.max(1, Number(process.env.RUNS ?? 1))

/*
 * Kills a file that does not end. --test-timeout ends tests, but not a file that waits before its
 * first test, leaves a handle open, or loops; a separate thread detects all three.
 */
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const text = `${process.argv[1]} did not end within ${SECONDS} s`
  const code = `setTimeout(() => {
    process._rawDebug(${JSON.stringify(text)})
    process.kill(process.pid, 'SIGKILL')
  }, ${SECONDS} * 1000)`
  new Worker(code, { eval: true, execArgv: [] }).unref()
}
