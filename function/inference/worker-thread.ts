import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { inferenceError, NotReady, RunTimedOut } from '../protocol/errors.ts'
import { shapesOf } from '../protocol/tensor.ts'
import type { DescribedTransform } from '../transform/described.ts'
import type { CallCommand } from './call-messages.ts'
import type { CallStart } from './call-server.ts'
import type { Session } from './session.ts'
import type { ThreadCalls, ThreadCallsOptions } from './thread-calls.ts'
import type { CallsTold, Command, WorkerAnswer, WorkerStart } from './worker.ts'

/** JavaScript beside the bundle in the build; TypeScript in the source tree. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
)

/**
 * V8's young generation in each thread. Objects live no longer than a run; V8's default would take
 * three times as much memory (48 MiB per thread).
 */
const YOUNG_MB = 16
// On Node 24, the main thread's size from the command line would replace YOUNG_MB.
setFlagsFromString('--max-semi-space-size=0')

const NOT_ENDED = 'a run of the model does not end'
const ENDED = 'the thread that ran the model ended; try again'

export interface Sent {
  readonly command: Exclude<Command, CallCommand>
  readonly transfer: readonly ArrayBuffer[]
  readonly limitMs: number
}

export type CallOptions = Omit<ThreadCallsOptions, 'post' | 'onBlocked'> & {
  /** The limit of V8's heap, in megabytes. Beyond this limit, only this thread ends. */
  readonly heapMb: number
  readonly start: Omit<CallStart, 'memory'>
  readonly create: (options: ThreadCallsOptions) => ThreadCalls
}

export interface ThreadStart extends Omit<WorkerStart, 'calls'> {
  readonly calls?: CallOptions | undefined
}

interface ThreadEvents {
  /** Called when the thread ended unexpectedly, or was terminated in a loop of the transform. */
  readonly onDeath: (reason: string) => void
  /** Called when a run of calls exceeds its time limit. */
  readonly onStuck: () => void
}

type Description = Pick<Session, 'signature' | 'leftOut'> & {
  readonly loadCpuMs: number
  readonly transform: DescribedTransform | undefined
}

/** Controls one worker from the main thread. A worker runs one command at a time. */
export class WorkerThread {
  private readonly worker: Worker
  private readonly events: ThreadEvents
  private state: 'starting' | 'open' | 'stuck' | 'closing' = 'starting'
  private alarm: NodeJS.Timeout | undefined
  /** The current run's input shapes, for messages. */
  private shapes = ''
  /** The result of the current or last command. */
  private pending = Promise.withResolvers<unknown>()
  private cause = 'the thread ended'
  private described: Description | undefined
  readonly calls: ThreadCalls | undefined
  private readonly closed = Promise.withResolvers<void>()
  /**
   * Resolves when a thread that was terminated in the transform has ended. A native call may have
   * to return first.
   */
  ending: Promise<unknown> | undefined

  /**
   * Starts a thread that loads the model.
   * @throws {Error} if the file is not a model that can be served
   */
  static async open(start: ThreadStart, events: ThreadEvents): Promise<WorkerThread> {
    const thread = new WorkerThread(start, events)
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

  private constructor({ calls, ...start }: ThreadStart, events: ThreadEvents) {
    this.events = events
    this.calls = calls?.create({
      ...calls,
      post: (command, transfer) => this.worker.postMessage(command, transfer ?? []),
      onBlocked: (isRun, error) => this.blocked(isRun, error),
    })
    const memory = this.calls?.watch.memory
    this.worker = new Worker(WORKER, {
      workerData: { ...start, calls: calls && { ...calls.start, memory } } as WorkerStart,
      resourceLimits: {
        maxYoungGenerationSizeMb: YOUNG_MB,
        ...(calls && { maxOldGenerationSizeMb: calls.heapMb }),
      },
    })
    this.worker.on('message', (answer: WorkerAnswer<unknown>) => this.receive(answer))
    this.worker.on('error', error => {
      this.cause = `the thread failed: ${error.message}`
    })
    this.worker.on('exit', () => this.exited())
  }

  /**
   * Whether a run has exceeded its time limit. The run continues, because its thread cannot be
   * terminated.
   */
  get isStuck(): boolean {
    return this.state === 'stuck'
  }

  get runs(): string {
    return this.shapes
  }

  get description(): Description {
    return this.described as Description
  }

  /**
   * Sends a command and waits for its result.
   * @param limitMs the time limit of each run; 0 means no limit
   * @throws {BadRequest|TooLarge|DeadlinePassed|ModelError} if the thread threw this error
   * @throws {NotReady} if the thread ended first
   * @throws {RunTimedOut} if a run exceeds the time limit
   */
  send({ command, transfer, limitMs }: Sent): Promise<unknown> {
    // If this throws, the thread has no command, and close() must not wait for its result.
    this.worker.postMessage(command, transfer)
    this.pending = Promise.withResolvers()
    this.calls?.posted()
    this.shapes =
      'large' in command ? 'a large request that is being read' : shapesOf(command.inputs)
    if (limitMs > 0) this.alarm = setTimeout(() => this.timedOut(limitMs), limitMs).unref()
    return this.pending.promise
  }

  /**
   * Terminates the thread after the run in progress.
   * @throws {Error} if that run has exceeded its time limit
   */
  async close(): Promise<void> {
    if (this.state === 'stuck') throw new Error(NOT_ENDED)
    this.state = 'closing'
    // Terminating a thread during a run ends the whole process: ONNX Runtime 1.30 throws an
    // exception that cannot be caught.
    await this.pending.promise.catch(() => {})
    if (this.calls !== undefined) {
      this.calls.send({ close: true })
      await this.closed.promise
    }
    await this.worker.terminate()
  }

  private receive(answer: WorkerAnswer<unknown>): void {
    // The late run has ended, so the thread can be terminated.
    if (this.state === 'stuck') {
      this.state = 'closing'
      void this.worker.terminate()
      return
    }
    if ('runs' in answer) {
      this.shapes = answer.runs
      this.alarm?.refresh()
    } else if ('calls' in answer) this.calls?.receive(answer.calls)
    else if ('closed' in answer) this.closed.resolve()
    else this.answered(answer)
  }

  private answered(
    answer: Exclude<WorkerAnswer<unknown>, CallsTold | { readonly runs: string }>,
  ): void {
    clearTimeout(this.alarm)
    if ('value' in answer) this.pending.resolve(answer.value)
    else this.pending.reject(inferenceError(answer.code, answer.message))
  }

  private timedOut(limitMs: number): void {
    // While the thread has calls, the command may have to wait. ThreadCalls then watches the
    // progress.
    if (this.calls?.isBusy === true) {
      this.alarm = setTimeout(() => this.timedOut(limitMs), limitMs).unref()
      return
    }
    this.state = 'stuck'
    this.calls?.fail(new NotReady(NOT_ENDED))
    this.pending.reject(
      new RunTimedOut(`the run lasted longer than ${limitMs / 1_000} s (RUN_TIMEOUT_MS)`),
    )
  }

  /**
   * Handles a thread that calls have blocked for too long. It can be terminated in a loop of the
   * transform, but not in a run.
   */
  private blocked(isRun: boolean, error: Error): void {
    clearTimeout(this.alarm)
    if (isRun) this.state = 'stuck'
    this.pending.reject(error)
    if (isRun) {
      // If a command of the pool exceeded its time limit, the pool reports this itself.
      if (error instanceof RunTimedOut) return
      this.shapes = 'inputs from calls to the transform'
      this.events.onStuck()
      return
    }
    this.state = 'closing'
    this.ending = this.worker.terminate()
    this.events.onDeath('the transform blocked the thread for too long')
  }

  /** Fails the thread's requests with status 503, which asks clients to try again (errors.ts). */
  private exited(): void {
    clearTimeout(this.alarm)
    this.closed.resolve()
    this.calls?.fail(new NotReady(ENDED))
    this.pending.reject(this.state === 'starting' ? new Error(this.cause) : new NotReady(ENDED))
    if (this.state === 'open') this.events.onDeath(this.cause)
  }
}
