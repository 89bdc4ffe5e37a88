import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Report, Task } from './child.ts'
import type { Verdicts } from './summary.ts'

/** A run cannot be ended, only its process. A slow model has more of it. */
export const DEADLINE_MS = 20_000
const SLOW_TIMES = 6

/** Floats that a model takes for a size can ask for any memory. In KiB. */
const MEMORY = 4_000_000

/** Asks and runs one model after the other in a process of its own, and begins another one where a model ends it. */
export class Runner {
  readonly #prover: string | undefined
  readonly #deadlineMs: number
  #child: ChildProcess | undefined

  constructor(prover: string | undefined, deadlineMs: number) {
    this.#prover = prover
    this.#deadlineMs = deadlineMs
  }

  async ask(task: Task): Promise<Verdicts> {
    this.#child ??= this.#start()
    const child = this.#child
    const verdicts: Verdicts = {}
    return new Promise(resolve => {
      const end = (notRun?: string) => {
        clearTimeout(timer)
        child.removeAllListeners()
        if (notRun !== undefined) {
          child.kill('SIGKILL')
          this.#child = undefined
        }
        resolve(notRun === undefined ? verdicts : { ...verdicts, notRun })
      }
      const deadline = this.#deadlineMs * (task.slow ? SLOW_TIMES : 1)
      const timer = setTimeout(() => end(`not done within ${deadline / 1000} s`), deadline)
      child.on('message', (report: Report) => {
        Object.assign(verdicts, report)
        if ('tried' in report || 'notRun' in report) end()
      })
      child.on('exit', (code, signal) => end(`ended its process (${signal ?? code})`))
      child.on('error', error => end(error.message))
      child.send(task)
    })
  }

  close(): void {
    this.#child?.disconnect()
  }

  #start(): ChildProcess {
    const child = join(import.meta.dirname, 'child.ts')
    const command = 'ulimit -d "$0"; exec "$@"'
    return spawn('sh', ['-c', command, String(MEMORY), process.execPath, child], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...(this.#prover !== undefined && { PROVER: this.#prover }) },
    })
  }
}
