import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/**
 * The ticks per second of times in /proc, which are the same on every architecture of Linux
 * (USER_HZ).
 */
const TICKS_PER_SECOND = 100

/**
 * Returns the seconds between the start of the process and the start of Node's own clock. In this
 * time, the kernel loads the executable and its libraries, perhaps from a slow disk or under load.
 * @returns a value with the kernel's precision of 10 ms; 0 on systems other than Linux
 */
export function secondsBeforeNode(): number {
  let stat: string
  try {
    stat = readFileSync('/proc/self/stat', 'utf8')
  } catch {
    return 0
  }
  // starttime is field 22 (proc_pid_stat(5)). The name in field 2 may contain spaces.
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3]
  return Math.max(0, uptime() - Number(startTicks) / TICKS_PER_SECOND - performance.now() / 1000)
}
