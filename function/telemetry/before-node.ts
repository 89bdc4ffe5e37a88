import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/** USER_HZ, the ticks in /proc, is the same on every architecture of Linux. */
const TICKS_PER_SECOND = 100

/**
 * Returns the seconds from the start of the process to the start of Node's clock. The kernel loads
 * the executable and its libraries meanwhile, perhaps from a slow disk or under load.
 * @returns a multiple of 10 ms, the kernel's precision; 0 on systems other than Linux
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
