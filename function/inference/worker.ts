import { parentPort, workerData } from 'node:worker_threads'
import type { Tensor } from '../protocol/tensor.ts'
import { openSession } from './session.ts'
import { detach } from './transfer.ts'

/** What the main thread asks for, once the session is open: one run at a time. */
export interface RunCommand {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly string[]
}

/** The thread's answers, one a command; the first, to its start, is the open session's description. */
export type WorkerAnswer<T> = { readonly value: T } | { readonly failure: string }

/*
 * A thread of its own for one session: ONNX Runtime's run() holds the thread it is called on, and this one has nothing else to do.
 */

const port = parentPort
if (port === null) throw new Error('worker.ts is started as a worker thread, by workers.ts')
const { file, threads } = workerData as { file: string; threads: number }

function fail(error: unknown): void {
  port?.postMessage({ failure: (error as Error).message } satisfies WorkerAnswer<never>)
}

try {
  const session = await openSession(file, threads)
  port.on('message', async ({ inputs, outputs }: RunCommand) => {
    try {
      const { tensors, transfer } = detach(await session.run(inputs, outputs))
      port.postMessage({ value: tensors } satisfies WorkerAnswer<unknown>, transfer)
    } catch (error) {
      fail(error)
    }
  })
  port.postMessage({ value: { signature: session.signature, leftOut: session.leftOut } } satisfies WorkerAnswer<unknown>)
} catch (error) {
  fail(error)
}
