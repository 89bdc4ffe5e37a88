import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Report, Task } from './child.ts'
import type { Verdicts } from './summary.ts'

/** The time for one model. A run cannot be stopped, so its process is killed after this time. */
export const DEADLINE_MS = 20_000
/** A slow model gets this many times the deadline. */
const SLOW_TIMES = 6

/** The limit in KiB, because an input value that is a size could require any amount of memory. */
const MEMORY = 4_000_000

/**
 * Proves and runs models one by one in a child process; starts another if a model crashes it or
 * exceeds the deadline.
 */
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
      const timer = setTimeout(() => end(`not finished within ${deadline / 1000} s`), deadline)
      child.on('message', (report: Report) => {
        Object.assign(verdicts, report)
        if ('tried' in report || 'notRun' in report) end()
      })
      child.on('exit', (code, signal) => end(`the process exited (${signal ?? code})`))
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
