import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Served } from './target.ts'

/** Serves the models in its arguments, and prints their addresses as one line of JSON. */
const PROGRAM = fileURLToPath(new URL('../../test/served-models.ts', import.meta.url))

export interface Servers {
  readonly served: Readonly<Record<string, Served>>
  stop(): Promise<void>
}

export async function startServers(models: readonly string[]): Promise<Servers> {
  const child = spawn(process.execPath, [PROGRAM, ...models], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  return {
    served: JSON.parse(await firstLine(child)),
    async stop() {
      // The program exits when its standard input ends, which also happens if the tests are killed.
      child.stdin.end()
      await ended
    },
  }
}

function firstLine({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) =>
    createInterface({ input: stdout as NodeJS.ReadableStream })
      .once('line', resolve)
      .once('close', () => reject(new Error(`${PROGRAM} exited before it printed the addresses`))),
  )
}
