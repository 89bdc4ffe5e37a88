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

/** In the build, the worker is a file beside the bundle; here it is a TypeScript file. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
)

/**
 * A thread's objects live no longer than a run; by default V8 would use three times as much memory
 * for them (48 MiB per thread).
 */
const YOUNG_MB = 16
// Otherwise the size that the command line sets for the main thread would override it (Node 24).
setFlagsFromString('--max-semi-space-size=0')

const NOT_ENDED = 'a run of the model does not end'
const ENDED = 'the thread that ran the model ended; try again'

/** A command on its way to the thread. */
export interface Sent {
  readonly command: Exclude<Command, CallCommand>
  /** Buffers that are transferred to the thread. */
  readonly transfer: readonly ArrayBuffer[]
  readonly limitMs: number
}

/** The dependencies of calls, if the thread runs the author's code. */
export type CallOptions = Omit<ThreadCallsOptions, 'post' | 'onBlocked'> & {
  /** The limit of V8's heap: code that exceeds it ends only its own thread. */
  readonly heapMb: number
  readonly start: Omit<CallStart, 'memory'>
  readonly create: (options: ThreadCallsOptions) => ThreadCalls
}

/** The options for starting a thread. */
export interface ThreadStart extends Omit<WorkerStart, 'calls'> {
  readonly calls?: CallOptions | undefined
}

interface ThreadEvents {
  /** The thread ended unexpectedly, or was ended within a loop of the author's code. */
  readonly onDeath: (reason: string) => void
  /** A run of calls does not end. */
  readonly onStuck: () => void
}

type Description = Pick<Session, 'signature' | 'leftOut'> & {
  readonly loadCpuMs: number
  readonly transform: DescribedTransform | undefined
}

/** The main thread's side of one worker. It runs one command at a time. */
export class WorkerThread {
  private readonly worker: Worker
  private readonly events: ThreadEvents
  private state: 'starting' | 'open' | 'stuck' | 'closing' = 'starting'
  private alarm: NodeJS.Timeout | undefined
  /** The input shapes of the current run, for people. */
  private shapes = ''
  /** The answer to the current command, or to the last one. */
  private pending = Promise.withResolvers<unknown>()
  private cause = 'its thread ended'
  private described: Description | undefined
  /** Calls of the author's code; undefined if there is none. */
  readonly calls: ThreadCalls | undefined
  private readonly closed = Promise.withResolvers<void>()
  /** The end of a thread within the author's code; a native call there may have to return first. */
  ending: Promise<unknown> | undefined

  /**
   * Starts a thread that loads the model.
   * @throws {Error} of one line if the file is not a model that can be served
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
      this.cause = `its thread failed: ${error.message}`
    })
    this.worker.on('exit', () => this.exited())
  }

  /** Whether a run lasts too long. The thread cannot be ended within it, and is left alone. */
  get isStuck(): boolean {
    return this.state === 'stuck'
  }

  /** The input shapes of the last run, for people. */
  get runs(): string {
    return this.shapes
  }

  get description(): Description {
    return this.described as Description
  }

  /**
   * @param limitMs the longest time of each run; 0 means no limit
   * @throws {BadRequest|TooLarge|DeadlinePassed|ModelError} the error that occurred in the thread
   * @throws {NotReady} if the thread ended meanwhile
   * @throws {RunTimedOut} if a run lasts longer
   */
  send({ command, transfer, limitMs }: Sent): Promise<unknown> {
    this.pending = Promise.withResolvers()
    this.calls?.posted()
    this.shapes = 'large' in command ? 'a large request, being read' : shapesOf(command.inputs)
    this.worker.postMessage(command, transfer)
    if (limitMs > 0) this.alarm = setTimeout(() => this.timedOut(limitMs), limitMs).unref()
    return this.pending.promise
  }

  /** Waits for the run in progress, unless it has lasted too long. */
  async close(): Promise<void> {
    if (this.state === 'stuck') throw new Error(NOT_ENDED)
    this.state = 'closing'
    // Ending a thread within a run would end the whole process: ONNX Runtime 1.30 throws an
    // exception that nothing can catch.
    await this.pending.promise.catch(() => {})
    if (this.calls !== undefined) {
      this.calls.send({ close: true })
      await this.closed.promise
    }
    await this.worker.terminate()
  }

  private receive(answer: WorkerAnswer<unknown>): void {
    // The stuck run has ended after all, so the thread may end, too.
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

  /** Handles the answer to its command. */
  private answered(
    answer: Exclude<WorkerAnswer<unknown>, CallsTold | { readonly runs: string }>,
  ): void {
    clearTimeout(this.alarm)
    if ('value' in answer) this.pending.resolve(answer.value)
    else this.pending.reject(inferenceError(answer.code, answer.message))
  }

  private timedOut(limitMs: number): void {
    // While the thread has calls, its state is watched, and the command may have to wait.
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

  /** Calls blocked the thread too long. A loop in the author's code can be ended, a run cannot. */
  private blocked(isRun: boolean, error: Error): void {
    clearTimeout(this.alarm)
    if (isRun) this.state = 'stuck'
    this.pending.reject(error)
    if (isRun) {
      // The pool itself detects that its command lasts too long.
      if (error instanceof RunTimedOut) return
      this.shapes = 'those of calls of the transform'
      this.events.onStuck()
      return
    }
    this.state = 'closing'
    this.ending = this.worker.terminate()
    this.events.onDeath('the transform kept it for too long')
  }

  /** Every request in the thread's current run gets this error: 503, try again (errors.ts). */
  private exited(): void {
    clearTimeout(this.alarm)
    this.closed.resolve()
    this.calls?.fail(new NotReady(ENDED))
    this.pending.reject(this.state === 'starting' ? new Error(this.cause) : new NotReady(ENDED))
    if (this.state === 'open') this.events.onDeath(this.cause)
  }
}
