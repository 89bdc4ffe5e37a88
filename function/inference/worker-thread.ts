import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { inferenceError, NotReady } from '../protocol/errors.ts'
import type { Session } from './session.ts'
import type { Command, WorkerAnswer, WorkerStart } from './worker.ts'

/** In the build the worker is a file beside the bundle; here it is TypeScript beside this file. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
)

/**
 * A thread's objects live no longer than a run; V8 would use three times as much for them (48 MiB a
 * thread).
 */
const YOUNG_MB = 16
// The size that the command line gives the main thread would override it (Node 24).
setFlagsFromString('--max-semi-space-size=0')

type Description = Pick<Session, 'signature' | 'leftOut'>

/** The main thread's side of one worker. It runs one command at a time. */
export class WorkerThread {
  private readonly worker: Worker
  private readonly onDeath: (reason: string) => void
  private state: 'starting' | 'open' | 'closing' = 'starting'
  /** The answer to the current command, or to the last one. */
  private pending = Promise.withResolvers<unknown>()
  private cause = 'its thread ended'
  private described: Description | undefined

  /**
   * Starts a thread that loads the model.
   * @param onDeath called with the reason if it ends by itself
   * @throws {Error} of one line, when the file is no model that can be served
   */
  static async open(start: WorkerStart, onDeath: (reason: string) => void): Promise<WorkerThread> {
    const thread = new WorkerThread(start, onDeath)
    try {
      thread.described = (await thread.pending.promise) as Description
      thread.state = 'open'
      return thread
    } catch (error) {
      thread.state = 'closing'
      await thread.worker.terminate()
      throw new Error((error as Error).message)
    }
  }

  private constructor(start: WorkerStart, onDeath: (reason: string) => void) {
    this.onDeath = onDeath
    this.worker = new Worker(WORKER, {
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    })
    this.worker.on('message', (answer: WorkerAnswer<unknown>) => this.receive(answer))
    this.worker.on('error', error => {
      this.cause = `its thread failed: ${error.message}`
    })
    this.worker.on('exit', () => this.exited())
  }

  get description(): Description {
    return this.described as Description
  }

  /**
   * @param transfer buffers that move to the thread
   * @throws {BadRequest|TooLarge|DeadlinePassed|ModelError} the error that the thread met
   * @throws {NotReady} when it ended meanwhile
   */
  send(command: Command, transfer: readonly ArrayBuffer[]): Promise<unknown> {
    this.pending = Promise.withResolvers()
    this.worker.postMessage(command, transfer)
    return this.pending.promise
  }

  /** Waits for the run in progress. */
  async close(): Promise<void> {
    this.state = 'closing'
    // A thread that is ended within a run ends the whole process: ONNX Runtime 1.30 throws where
    // nothing can catch.
    await this.pending.promise.catch(() => {})
    await this.worker.terminate()
  }

  private receive(answer: WorkerAnswer<unknown>): void {
    if ('value' in answer) this.pending.resolve(answer.value)
    else this.pending.reject(inferenceError(answer.code, answer.message))
  }

  /**
   * Every request of the run that the thread was at gets this error: 503, try again (errors.ts).
   */
  private exited(): void {
    this.pending.reject(
      this.state === 'starting'
        ? new Error(this.cause)
        : new NotReady('the thread that ran the model ended; try again'),
    )
    if (this.state === 'open') this.onDeath(this.cause)
  }
}
