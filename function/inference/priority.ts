import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'

/** The nice value of threads that run models. */
const NICE = 5

/**
 * Lowers the priority of the calling thread and of the threads that it starts. If they share a core
 * with the main thread, the main thread runs first: otherwise, each large request would delay all
 * small ones by several milliseconds. Does nothing on systems other than Linux, where threads have
 * no priority of their own.
 */
export function yieldToMainThread(): void {
  try {
    // The link ends with the thread's id.
    const id = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    if (id > 0) setPriority(id, NICE)
  } catch {
    // Without /proc, or where a sandbox forbids the system call, the priority stays as it is.
  }
}
