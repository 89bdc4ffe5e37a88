import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/** The unit of times in /proc on every architecture of Linux (USER_HZ). */
const TICKS_PER_SECOND = 100

/**
 * Seconds between the start of the process and that of Node's own clock: the kernel loads the
 * executable and its libraries, perhaps from a slow disk or under load.
 * @returns a value to within 10 ms, the kernel's precision; 0 outside Linux
 */
export function secondsBeforeNode(): number {
  let stat: string
  try {
    stat = readFileSync('/proc/self/stat', 'utf8')
  } catch {
    return 0
  }
  // starttime is field 22 (proc_pid_stat(5)); field 2, the name, may contain blanks.
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3]
  return Math.max(0, uptime() - Number(startTicks) / TICKS_PER_SECOND - performance.now() / 1000)
}
