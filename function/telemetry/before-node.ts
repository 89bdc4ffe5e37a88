import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/** Of times in /proc, on every architecture of Linux (USER_HZ). */
const TICKS_PER_SECOND = 100

/**
 * How long the process was there before Node's own clock began: the kernel loaded the executable and its libraries, from a disk that may
 * be slow and a CPU that others use. To 10 ms, for the kernel tells no more; 0 where it tells nothing, outside Linux.
 */
export function secondsBeforeNode(): number {
  let stat: string
  try {
    stat = readFileSync('/proc/self/stat', 'utf8')
  } catch {
    return 0
  }
  // starttime, field 22 (proc_pid_stat(5)); the second one, the name, may hold blanks.
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3]
  return Math.max(0, uptime() - Number(startTicks) / TICKS_PER_SECOND - performance.now() / 1000)
}
