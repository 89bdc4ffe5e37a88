import { join } from 'node:path'
import { stringify } from 'yaml'
import { PROMETHEUS } from './sources.ts'

interface Configuration {
  readonly global: object
  readonly rule_files: readonly string[]
  readonly scrape_configs: readonly Readonly<Record<string, unknown>>[]
}

/**
 * File-based discovery replaces Kubernetes'.
 * @param interval replaces the intervals of scraping and evaluation
 */
export function withFiles(
  { global, rule_files, scrape_configs, ...rest }: Configuration,
  file: string,
  interval?: string,
): string {
  return stringify({
    ...rest,
    global:
      interval === undefined
        ? global
        : { scrape_interval: interval, evaluation_interval: interval },
    rule_files: rule_files.map(pattern => join(PROMETHEUS, pattern)),
    scrape_configs: scrape_configs.map(({ kubernetes_sd_configs, scrape_interval, ...job }) => ({
      ...job,
      ...(scrape_interval === undefined ? {} : { scrape_interval: interval ?? scrape_interval }),
      ...(kubernetes_sd_configs === undefined ? {} : { file_sd_configs: [{ files: [file] }] }),
    })),
  })
}
