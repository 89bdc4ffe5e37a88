import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

export interface Group extends AsyncDisposable {
  /** A process joins by writing its id to cgroup.procs in this folder. */
  readonly folder: string
  kills(): number
  peakMiB(): number
}

/** @throws {Error} if the process is not root, or cgroups are not writable */
export function limitMemory(mebibytes: number): Group {
  const isFirst = statSync('/sys/fs/cgroup/memory', { throwIfNoEntry: false })?.isDirectory()
  const root = isFirst ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup'
  if (!isFirst) writeFileSync(`${root}/cgroup.subtree_control`, '+memory')
  const folder = `${root}/container-memory-${process.pid}-${Date.now()}`
  mkdirSync(folder)
  const bytes = String(mebibytes * 2 ** 20)
  writeFileSync(`${folder}/${isFirst ? 'memory.limit_in_bytes' : 'memory.max'}`, bytes)
  const swap = `${folder}/${isFirst ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max'}`
  if (statSync(swap, { throwIfNoEntry: false }) !== undefined)
    writeFileSync(swap, isFirst ? bytes : '0')
  const read = (file: string) => readFileSync(`${folder}/${file}`, 'utf8')
  const [events, peak] = isFirst
    ? ['memory.oom_control', 'memory.max_usage_in_bytes']
    : ['memory.events', 'memory.peak']
  return {
    folder,
    kills: () => Number(/^oom_kill (\d+)$/m.exec(read(events))?.[1] ?? 0),
    peakMiB: () => Number(read(peak)) / 2 ** 20,
    [Symbol.asyncDispose]: () => removeEmptied(folder),
  }
}

/** A short period keeps the pauses of a throttled server short. */
const PERIOD_US = 10_000
/** The kernel's minimum. */
const LEAST_QUOTA_US = 1_000

/**
 * Creates a cgroup whose processes share the CPUs.
 * @throws {Error} if the cgroup cannot be created
 */
export function limitCpu(cpus: number): Pick<Group, 'folder' | typeof Symbol.asyncDispose> {
  const isFirst = statSync('/sys/fs/cgroup/cpu', { throwIfNoEntry: false })?.isDirectory()
  const root = isFirst ? '/sys/fs/cgroup/cpu' : '/sys/fs/cgroup'
  if (!isFirst) writeFileSync(`${root}/cgroup.subtree_control`, '+cpu')
  const folder = `${root}/overload-${process.pid}-${Date.now()}`
  mkdirSync(folder)
  const period = Math.max(PERIOD_US, Math.ceil(LEAST_QUOTA_US / cpus))
  const quota = String(Math.round(cpus * period))
  if (isFirst) {
    writeFileSync(`${folder}/cpu.cfs_period_us`, String(period))
    writeFileSync(`${folder}/cpu.cfs_quota_us`, quota)
  } else writeFileSync(`${folder}/cpu.max`, `${quota} ${period}`)
  return { folder, [Symbol.asyncDispose]: () => removeEmptied(folder) }
}

/** Retries, because a killed process leaves its cgroup only after a moment. */
async function removeEmptied(folder: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return rmdirSync(folder)
    } catch (error) {
      if (tries === 200) throw error
      await wait(50)
    }
  }
}
