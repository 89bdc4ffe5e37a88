import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { partsOf } from '../protocol/encode.ts'
import { type InferenceErrorCode, inferenceCodeOf } from '../protocol/errors.ts'
import { shapesOf, type Tensor } from '../protocol/tensor.ts'
import type { CallAnswers, CallCommand } from './call-messages.ts'
import type { CallServer, CallStart } from './call-server.ts'
import type { Digests } from './digests.ts'
import { inferLarge, type LargeRequest } from './large.ts'
import { yieldToMainThread } from './priority.ts'
import { cpuMs } from './run-costs.ts'
import { RunSizes } from './run-sizes.ts'
import { openSession, type Session, timed } from './session.ts'
import { buffersOf, detach, movableResponse } from './transfer.ts'

export interface WorkerStart {
  readonly file: string
  readonly sha256: Digests | undefined
  readonly threads: number
  /** See {@link RunSizes.followShapes}. */
  readonly followShapes: boolean
  readonly calls?: CallStart | undefined
}

/** A command from the main thread once the session is open. */
export type Command = RunCommand | { readonly large: LargeRequest } | CallCommand

interface RunCommand {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly string[]
}

/**
 * A message from the worker: after startup, a description of the session; then the result of each
 * command, and the input shapes before each run of a large request.
 */
export type WorkerAnswer<T> =
  | { readonly value: T }
  | { readonly runs: string }
  | { readonly code: InferenceErrorCode; readonly message: string }
  | CallsTold

/** Finished calls, or the message that the transform is closed. */
export type CallsTold = { readonly calls: CallAnswers } | { readonly closed: true }

/* Runs in a thread with its own session, because ONNX Runtime's run() blocks the calling thread. */

if (parentPort === null)
  throw new Error('worker.ts must be started as a worker thread (see worker-thread.ts)')
await serve(ownPort(parentPort), workerData as WorkerStart)

type Port = Pick<MessagePort, 'on' | 'postMessage'>

/**
 * Returns private copies of the port's methods, and disables the port for other code. If a
 * transform or a library posted to the port, the main thread would take the message for a result.
 */
function ownPort(port: MessagePort): Port {
  const own = { on: port.on.bind(port), postMessage: port.postMessage.bind(port) } as Port
  port.postMessage = () => {}
  return own
}

async function serve(port: Port, start: WorkerStart): Promise<void> {
  const { file, threads, sha256 } = start
  yieldToMainThread()
  try {
    const began = cpuMs()
    const opened = await openSession(file, threads, sha256)
    const loadCpuMs = cpuMs() - began
    const session = start.calls === undefined ? opened : await watched(opened, start.calls.memory)
    const sizes = new RunSizes(session.signature, 0)
    sizes.followShapes = start.followShapes
    const loaded = { session, sizes }
    const calls = start.calls && (await openCalls(port, start.calls, loaded))
    port.on('message', (command: Command) => {
      if (calls?.take(command) !== true)
        return answer(port, loaded, command as Exclude<Command, CallCommand>)
    })
    const { signature, leftOut } = session
    const described = { signature, leftOut, loadCpuMs, transform: calls?.described }
    port.postMessage({ value: described } satisfies WorkerAnswer<unknown>)
  } catch (error) {
    fail(port, error)
  }
}

/** Marks each run in the shared memory, because a thread cannot be terminated during a run. */
async function watched(session: Session, memory: SharedArrayBuffer): Promise<Session> {
  const { ThreadWatch } = await import('./thread-watch.ts')
  const watch = new ThreadWatch(memory)
  return {
    ...session,
    run: (inputs, outputs) => watch.run(() => session.run(inputs, outputs)),
  }
}

async function openCalls(port: Port, start: CallStart, loaded: Loaded): Promise<CallServer> {
  const { CallServer } = await import('./call-server.ts')
  return CallServer.open(start, loaded, (told, transfer) =>
    port.postMessage(told satisfies WorkerAnswer<never>, transfer),
  )
}

interface Loaded {
  readonly session: Session
  readonly sizes: RunSizes
}

async function answer(
  port: Port,
  loaded: Loaded,
  command: Exclude<Command, CallCommand>,
): Promise<void> {
  // Outside the try block: a message that is not a command must end the thread.
  const isLarge = 'large' in command
  try {
    const { value, transfer } = isLarge
      ? await answerLarge(port, loaded, command.large)
      : await run(loaded.session, command)
    port.postMessage({ value } satisfies WorkerAnswer<unknown>, transfer)
  } catch (error) {
    fail(port, error)
  }
}

interface Answered {
  readonly value: unknown
  readonly transfer: ArrayBuffer[]
}

async function answerLarge(
  port: Port,
  { session, sizes }: Loaded,
  request: LargeRequest,
): Promise<Answered> {
  await session.indexLabels()
  const value = await inferLarge(tellingRuns(port, session), request, sizes)
  if ('code' in value.response) return { value, transfer: [] }
  const response = movableResponse(value.response)
  const parts = partsOf(response).filter(part => typeof part !== 'string')
  return { value: { ...value, response }, transfer: buffersOf(parts) }
}

/** Reports each run, because the main thread limits its time. */
function tellingRuns(port: Port, session: Session): Session {
  return {
    ...session,
    run(inputs, outputs) {
      port.postMessage({ runs: shapesOf(inputs) } satisfies WorkerAnswer<never>)
      return session.run(inputs, outputs)
    },
  }
}

async function run(session: Session, { inputs, outputs }: RunCommand): Promise<Answered> {
  const began = cpuMs()
  const ran = await timed(session, inputs, outputs)
  const taken = cpuMs() - began
  const { tensors, transfer } = detach(ran.tensors)
  return { value: { ...ran, tensors, cpuMs: taken }, transfer }
}

function fail(port: Port, error: unknown): void {
  const code = inferenceCodeOf(error) ?? 'MODEL_FAILED'
  const { message } = error as Error
  port.postMessage({ code, message } satisfies WorkerAnswer<never>)
}
