import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { DeadlinePassed, inferenceError, NotReady } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Digests } from './digests.ts'
import type { Session } from './session.ts'
import { buffersOf, detach, movable } from './transfer.ts'
import type { WholeAnswer } from './whole.ts'
import type { Command, WorkerAnswer, WorkerStart } from './worker.ts'

/** One thread and its session; it does one thing at a time. */
interface Lane {
  readonly description: Pick<Session, 'signature' | 'leftOut'>
  /**
   * @param transfer memory that goes along to the thread
   * @throws {BadRequest|TooLarge|DeadlinePassed|ModelError} what the thread met @throws {NotReady} when it ended meanwhile
   */
  obey(command: Command, transfer: readonly ArrayBuffer[]): Promise<unknown>
  /** Waits for the run in progress. */
  close(): Promise<void>
}

const NO_THREAD = 'the model could not be loaded again after its thread ended'

const RETRY_MS = 1_000

/** In the build the worker is a file beside the bundle; here it is TypeScript beside this file. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
)

/** What a thread makes lives no longer than a run; V8 would take three times as much for it (48 MiB a thread). */
const YOUNG_MB = 16
// The size that the command line gives the main thread would win over that (Node 24).
setFlagsFromString('--max-semi-space-size=0')

/** A session's memory beyond its first copy leaves a quarter of what there is to requests and answers. */
const KEPT_FREE = 0.25

export interface WorkerOptions {
  /** What the files of the model's folder must be, where that is known. */
  readonly sha256?: Digests | undefined
  /** Throws an {Error} of one line where the files are not to be loaded any more. */
  readonly beforeLoad?: () => void
  /** Of ONNX Runtime, in each worker. */
  readonly threads: number
  /** At most so many workers; fewer where their copies of the model would not fit the memory. */
  readonly workers: number
  /** Told of each thread that ended by itself. */
  readonly onDeath: (reason: string) => void
  /** Told of each thread that could not be started in its place. */
  readonly onLoss: (reason: string) => void
}

/**
 * The model in worker threads, so that the main thread is free while it runs: as many runs at once as there are workers.
 * A thread that dies fails the run it was at, and is replaced.
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openWorkers(file: string, options: WorkerOptions): Promise<Session> {
  const { sha256, threads, workers, beforeLoad = () => {}, onDeath, onLoss } = options
  const idle: Lane[] = []
  const waiting: PromiseWithResolvers<Lane>[] = []
  const lanes = new Set<Lane>()
  let opening = 0
  let closed = false

  function free(lane: Lane): void {
    const next = waiting.shift()
    if (next === undefined) idle.push(lane)
    else next.resolve(lane)
  }

  async function open(): Promise<Lane> {
    opening++
    try {
      beforeLoad()
      const lane = await openLane({ file, sha256, threads }, reason => {
        lanes.delete(lane)
        const at = idle.indexOf(lane)
        if (at !== -1) idle.splice(at, 1)
        if (closed) return
        onDeath(reason)
        void replace()
      })
      if (closed) await lane.close()
      else {
        lanes.add(lane)
        free(lane)
      }
      return lane
    } finally {
      opening--
    }
  }

  const isLost = () => lanes.size + opening === 0

  async function replace(): Promise<void> {
    try {
      await open()
    } catch (error) {
      onLoss((error as Error).message)
      if (isLost()) for (const { reject } of waiting.splice(0)) reject(new NotReady(NO_THREAD))
      setTimeout(() => closed || replace(), RETRY_MS).unref()
    }
  }

  /** @param deadline on performance.now()'s clock @throws {DeadlinePassed} when no lane is free by then */
  async function idleLane(deadline = Number.POSITIVE_INFINITY): Promise<Lane> {
    if (closed) throw new NotReady('the process is ending')
    const lane = idle.pop()
    if (lane !== undefined) return lane
    if (isLost()) throw new NotReady(NO_THREAD)
    const next = Promise.withResolvers<Lane>()
    waiting.push(next)
    if (deadline === Number.POSITIVE_INFINITY) return next.promise
    const alarm = setTimeout(() => {
      waiting.splice(waiting.indexOf(next), 1)
      next.reject(new DeadlinePassed('the deadline passed before the run could begin'))
    }, deadline - performance.now())
    return next.promise.finally(() => clearTimeout(alarm))
  }

  async function obey(
    lane: Lane,
    command: Command,
    transfer: readonly ArrayBuffer[],
  ): Promise<unknown> {
    try {
      return await lane.obey(command, transfer)
    } finally {
      if (lanes.has(lane)) free(lane)
    }
  }

  const before = process.memoryUsage.rss()
  const first = await open()
  const copies = Math.min(workers, 1 + copiesThatFit(process.memoryUsage.rss() - before))
  await Promise.all(Array.from({ length: copies - 1 }, replace))

  return {
    ...first.description,
    get concurrency() {
      return Math.max(lanes.size, 1)
    },
    get lost() {
      return isLost() ? NO_THREAD : undefined
    },
    async run(inputs, outputs) {
      const lane = await idleLane()
      const { tensors, transfer } = detach(inputs)
      return (await obey(lane, { inputs: tensors, outputs }, transfer)) as Tensor[]
    },
    async inferWhole(request, caller) {
      const lane = await idleLane(caller.deadline)
      if (caller.gone) {
        free(lane)
        throw new DeadlinePassed('the caller hung up')
      }
      const body = movable(request.body)
      return (await obey(lane, { whole: { ...request, body } }, buffersOf([body]))) as WholeAnswer
    },
    async close() {
      closed = true
      await Promise.all([...lanes].map(lane => lane.close()))
    },
  }
}

/** How many more copies of so many bytes the memory that is left has room for. */
export function copiesThatFit(
  bytes: number,
  available = process.availableMemory(),
  limit = process.constrainedMemory() || available,
): number {
  return Math.max(
    0,
    Math.floor((available - KEPT_FREE * Math.min(limit, available)) / Math.max(bytes, 1)),
  )
}

async function openLane(workerData: WorkerStart, onEnd: (reason: string) => void): Promise<Lane> {
  const worker = new Worker(WORKER, {
    workerData,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  })
  let current: PromiseWithResolvers<unknown> | undefined
  let isOpen = false
  let ending = false
  let cause = 'its thread ended'

  const ask = (send: () => void) => {
    current = Promise.withResolvers()
    send()
    return current.promise
  }
  worker.on('message', (answer: WorkerAnswer<unknown>) => {
    if ('value' in answer) current?.resolve(answer.value)
    else current?.reject(inferenceError(answer.code, answer.message))
  })
  worker.on('error', error => {
    cause = `its thread failed: ${error.message}`
  })
  worker.on('exit', () => {
    current?.reject(
      isOpen ? new NotReady('the thread that ran the model ended; try again') : new Error(cause),
    )
    if (isOpen && !ending) onEnd(cause)
  })

  try {
    const description = (await ask(() => {})) as Lane['description']
    isOpen = true
    return {
      description,
      obey: (command, transfer) => ask(() => worker.postMessage(command, transfer)),
      async close() {
        ending = true
        // Ended within a run, the thread would take the whole process with it: ONNX Runtime 1.30 throws where nobody can catch.
        await current?.promise.catch(() => {})
        await worker.terminate()
      },
    }
  } catch (error) {
    ending = true
    await worker.terminate()
    throw new Error((error as Error).message)
  }
}
