import { getHeapStatistics } from 'node:v8'

type Memory = Pick<NodeJS.MemoryUsage, 'rss' | 'heapTotal' | 'external'>

/**
 * Returns the peak instead of the current resident memory if /proc cannot be read, because no file
 * descriptor is free or /proc is not mounted.
 */
export function residentMemory(): Memory {
  try {
    return process.memoryUsage()
  } catch {
    const { total_heap_size: heapTotal, external_memory: external } = getHeapStatistics()
    return { rss: process.resourceUsage().maxRSS * 1024, heapTotal, external }
  }
}
