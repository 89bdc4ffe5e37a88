import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SLOW = fileURLToPath(new URL('../../test/models/slow', import.meta.url))

/** Copies model.onnx and model.json into a temporary folder, which is removed at exit. */
export function copyOf(folder: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'bench-model-'))
  for (const file of ['model.onnx', 'model.json'])
    writeFileSync(join(copy, file), readFileSync(join(folder, file)))
  process.on('exit', () => rmSync(copy, { recursive: true }))
  return copy
}

/**
 * Writes a model that runs for about 5 ms: a copy of test/models/slow that loops 6,000 times
 * instead of 60,000.
 * @returns its folder
 */
export function writeFasterModel(): string {
  const folder = copyOf(SLOW)
  const file = join(folder, 'model.onnx')
  const bytes = readFileSync(file)
  const rounds = Buffer.alloc(8)
  rounds.writeBigInt64LE(60_000n)
  const at = bytes.indexOf(rounds)
  if (at === -1) throw new Error('test/models/slow no longer loops 60,000 times')
  bytes.writeBigInt64LE(6_000n, at)
  writeFileSync(file, bytes)
  return folder
}
