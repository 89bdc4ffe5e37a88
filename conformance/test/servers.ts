import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Served } from './target.ts'

/** Serves each of these models and meets every point. This folder knows it only by its output. */
const PROGRAM = fileURLToPath(new URL('../../test/served-models.ts', import.meta.url))

export interface Servers {
  /** By requested name. */
  readonly served: Readonly<Record<string, Served>>
  stop(): Promise<void>
}

/** A server for each of these models, in one process. */
export async function startServers(models: readonly string[]): Promise<Servers> {
  const child = spawn(process.execPath, [PROGRAM, ...models], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  return {
    served: JSON.parse(await firstLine(child)),
    async stop() {
      // When the tests are killed, its input ends too, and the process exits.
      child.stdin.end()
      await ended
    },
  }
}

function firstLine({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) =>
    createInterface({ input: stdout as NodeJS.ReadableStream })
      .once('line', resolve)
      .once('close', () => reject(new Error(`${PROGRAM} ended before it served`))),
  )
}
