// Measures the memory for responses and runs of the model in a container with 512 MiB. Prints the rows
// of the table in README.md.
//
//   node bench/container-memory/run.ts [--seconds 5 --only '12 MB' --callers 1,60,256 --program build/main.js]
import { parseArgs } from 'node:util'
import { table } from '../report.ts'
import { limitMemory } from './cgroup.ts'
import { load, type Outcome } from './load.ts'
import { modelFolder, type Picture } from './models.ts'
import { startIn } from './server.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    callers: { type: 'string', default: '1,16,60,256' },
    program: { type: 'string', default: 'build/main.js' },
    mebibytes: { type: 'string', default: '512' },
  },
})

const picture = (channels: number, side: number): Picture => ({
  channels,
  height: side,
  width: side,
  isOutput: true,
})

const MODELS: Readonly<Record<string, Picture>> = {
  '1 KB': picture(1, 16),
  '64 KB': picture(1, 128),
  '1 MB': picture(1, 512),
  '12 MB': picture(3, 1024),
  '12 MB, undeclared': { ...picture(3, 1024), isUndeclared: true },
  '64 MB': picture(4, 2048),
  '4 bytes, activations of 2 × 12 MB': { ...picture(3, 1024), isOutput: false },
  '4 bytes, activations of 2 × 48 MB': { ...picture(3, 2048), isOutput: false },
}

/** The numbers of rows: one, and enough to make the response too large, but not the request. */
const ROWS = [1, 64]

const rows: string[][] = []
for (const [name, model] of Object.entries(MODELS)) {
  if (!new RegExp(values.only).test(name)) continue
  using folder = modelFolder(model)
  for (const callers of values.callers.split(',').map(Number)) {
    for (const form of ['json', 'binary'] as const) {
      for (const count of ROWS) {
        const outcome = await measure(folder.path, { callers, form, rows: count })
        const row = [name, form, String(count), String(callers), ...outcome]
        process.stderr.write(`${row.join(' | ')}\n`)
        rows.push(row)
      }
    }
  }
}
const head = ['output per row', 'response', 'rows', 'callers', 'statuses', 'peak, MiB', 'process']
process.stdout.write(`${table([head, ...rows])}\n`)

interface Asked {
  readonly callers: number
  readonly form: 'json' | 'binary'
  readonly rows: number
}

async function measure(modelDir: string, asked: Asked): Promise<string[]> {
  await using group = limitMemory(Number(values.mebibytes))
  const started = await startIn(group, values.program, modelDir).catch((error: Error) => error)
  if (started instanceof Error) return ['', group.peakMiB().toFixed(0), started.message]
  await using server = started
  const outcome: Outcome = await load(server.url, { ...asked, seconds: Number(values.seconds) })
  const counts = [...outcome.statuses].sort().map(([status, times]) => `${times} × ${status}`)
  const end = server.ended ?? (group.kills() > 0 ? 'killed' : 'running')
  return [counts.join(', '), group.peakMiB().toFixed(0), end]
}
