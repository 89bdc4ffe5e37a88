import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canary } from './canary.ts'
import { inference } from './inference.ts'
import { build, type Dashboard } from './panels.ts'
import { scaleToZero } from './scale-to-zero.ts'

export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  'inference.json': inference,
  'scale-to-zero.json': scaleToZero,
  'canary.json': canary,
}

export const folder = join(import.meta.dirname, 'dashboards')

export const written = (dashboard: Dashboard) => `${JSON.stringify(build(dashboard), null, 2)}\n`

if (import.meta.main) {
  for (const [file, dashboard] of Object.entries(DASHBOARDS))
    writeFileSync(join(folder, file), written(dashboard))
}
