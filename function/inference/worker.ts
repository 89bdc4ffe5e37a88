import { parentPort, workerData } from 'node:worker_threads'
import { type InferenceErrorCode, inferenceCodeOf } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Digests } from './digests.ts'
import { openSession, type Session } from './session.ts'
import { buffersOf, detach } from './transfer.ts'
import { inferWhole, type WholeRequest } from './whole.ts'

/** What a thread is started with. */
export interface WorkerStart {
  readonly file: string
  readonly sha256: Digests | undefined
  /** Of ONNX Runtime. */
  readonly threads: number
}

/** What the main thread asks for, once the session is open, one after the other: a run, or a large request as a whole. */
export type Command = RunCommand | { readonly whole: WholeRequest }

interface RunCommand {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly string[]
}

/** The thread's answers, one a command; the first, to its start, is the open session's description. */
export type WorkerAnswer<T> =
  | { readonly value: T }
  | { readonly code: InferenceErrorCode; readonly message: string }

/*
 * A thread of its own for one session: ONNX Runtime's run() holds the thread it is called on, and this one has nothing else to do.
 */

const port = parentPort
if (port === null) throw new Error('worker.ts is started as a worker thread, by workers.ts')
const { file, sha256, threads } = workerData as WorkerStart

function fail(error: unknown): void {
  const code = inferenceCodeOf(error) ?? 'MODEL_FAILED'
  const { message } = error as Error
  port?.postMessage({ code, message } satisfies WorkerAnswer<never>)
}

interface Answered {
  readonly value: unknown
  readonly transfer: ArrayBuffer[]
}

async function answerWhole(session: Session, request: WholeRequest): Promise<Answered> {
  const value = await inferWhole(session, request)
  const { json, binary } = value.response
  return {
    value,
    transfer: buffersOf([...(json as readonly Uint8Array[]), ...(binary?.parts ?? [])]),
  }
}

async function run(session: Session, { inputs, outputs }: RunCommand): Promise<Answered> {
  const { tensors, transfer } = detach(await session.run(inputs, outputs))
  return { value: tensors, transfer }
}

try {
  const session = await openSession(file, threads, sha256)
  port.on('message', async (command: Command) => {
    const isWhole = 'whole' in command
    try {
      const { value, transfer } = isWhole
        ? await answerWhole(session, command.whole)
        : await run(session, command)
      port.postMessage({ value } satisfies WorkerAnswer<unknown>, transfer)
    } catch (error) {
      fail(error)
    }
  })
  port.postMessage({
    value: { signature: session.signature, leftOut: session.leftOut },
  } satisfies WorkerAnswer<unknown>)
} catch (error) {
  fail(error)
}
