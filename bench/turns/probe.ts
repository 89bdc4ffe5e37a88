/*
 * Node loads this file into the measured process (--import). It reports the longest turn of the
 * event loop, in CPU time of the main thread. A callback in every turn keeps the loop from
 * sleeping, at a few microseconds per turn.
 */

const cpuMs = () => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

let isMeasuring = false
let longest = 0
let before = 0

function turn(): void {
  if (!isMeasuring) return
  const now = cpuMs()
  longest = Math.max(longest, now - before)
  before = now
  setImmediate(turn)
}

process.on('message', (message: 'begin' | 'end') => {
  isMeasuring = message === 'begin'
  if (isMeasuring) {
    longest = 0
    before = cpuMs()
    setImmediate(turn)
  } else process.send?.({ longest })
})
process.channel?.unref()
