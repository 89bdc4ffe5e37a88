import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { posix } from 'node:path'

/**
 * Returns how many CPUs this process may use at once: its cgroup's quota, or else all CPUs; at
 * least 1. ONNX Runtime ignores the quota; so does Node 24.21 with cgroups version 1.
 * @param root the folder of proc and sys
 */
export function availableCpus(root = '/'): number {
  const quotas = cpuControllers(root).flatMap(({ path, read }) =>
    withParents(path).flatMap(folder => read(folder) ?? []),
  )
  return Math.max(1, Math.floor(Math.min(availableParallelism(), ...quotas)))
}

interface Controller {
  readonly path: string
  /** The folder's quota in CPUs. */
  readonly read: (folder: string) => number | undefined
}

/**
 * The cgroup hierarchies that limit the CPU: version 2's only hierarchy, or version 1's hierarchy
 * for cpu (man 7 cgroups).
 */
function cpuControllers(root: string): Controller[] {
  const lines = (text(posix.join(root, 'proc/self/cgroup')) ?? '').trim().split('\n')
  return lines.flatMap(line => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) return []
    const inHierarchy = (folder: string) => posix.join(root, 'sys/fs/cgroup', controllers, folder)
    if (controllers === '') return [{ path, read: folder => readVersion2(inHierarchy(folder)) }]
    if (!controllers.split(',').includes('cpu')) return []
    return [{ path, read: folder => readVersion1(inHierarchy(folder)) }]
  })
}

/** A folder's quota applies to all folders below it. A container sees its own folder as the root. */
const withParents = (path: string): string[] =>
  path === '/' ? ['/'] : [path, ...withParents(posix.dirname(path))]

function readVersion2(folder: string): number | undefined {
  const [quota, period] = (text(posix.join(folder, 'cpu.max')) ?? 'max').trim().split(' ')
  return Number(quota) / Number(period) || undefined
}

function readVersion1(folder: string): number | undefined {
  const quota = Number(text(posix.join(folder, 'cpu.cfs_quota_us')) ?? -1)
  return quota > 0 ? quota / Number(text(posix.join(folder, 'cpu.cfs_period_us'))) : undefined
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
