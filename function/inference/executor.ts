import type { Caller } from '../answer.ts'
import type { Tensor } from '../protocol/tensor.ts'
import { inferLarge, type LargeRequest, type LargeResponse } from './large.ts'
import type { RunSizes } from './run-sizes.ts'
import { type Ran, type Session, timed } from './session.ts'

export interface Executor extends Omit<Session, 'run' | 'threads'> {
  readonly concurrency: number
  /** Why no thread can run the model now; undefined while a thread can. */
  readonly lost: string | undefined
  /**
   * Runs these inputs once, before the first request.
   * @throws {ModelError} if the model fails on these inputs
   * @throws {RunTimedOut} if the run exceeds its time limit
   */
  warmUp(inputs: readonly Tensor[]): Promise<void>
  /** Runs the model as a session does. */
  run(...run: Parameters<Session['run']>): Promise<Ran>
  /**
   * Like `run`, but for inputs of the server, not of a caller. After the time limit, another thread
   * replaces the blocked thread, and the process continues.
   */
  tryRun: Session['run']
  /** Undefined if a run can begin now; otherwise resolves when the next run may begin. */
  whenFree(): Promise<void> | undefined
  /**
   * Handles a large request, from its bytes to the response's bytes.
   * @param sizes the run sizes of the calling thread
   * @throws {BadRequest|TooLarge|DeadlinePassed|ModelError}
   */
  inferLarge(request: LargeRequest, caller: Caller, sizes: RunSizes): Promise<LargeResponse>
}

export class InlineExecutor implements Executor {
  readonly concurrency = 1
  readonly lost = undefined
  readonly signature: Session['signature']
  readonly leftOut: Session['leftOut']
  private readonly session: Session

  constructor(session: Session) {
    this.session = session
    this.signature = session.signature
    this.leftOut = session.leftOut
  }

  warmUp(inputs: readonly Tensor[]): Promise<void> {
    return runOnce(this.session, inputs)
  }

  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Ran> {
    return timed(this.session, inputs, outputs)
  }

  tryRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    return this.session.run(inputs, outputs)
  }

  whenFree(): undefined {
    return undefined
  }

  inferLarge(request: LargeRequest, _: Caller, sizes: RunSizes): Promise<LargeResponse> {
    return inferLarge(this.session, request, sizes)
  }

  indexLabels(): Promise<boolean> {
    return this.session.indexLabels()
  }

  close(): Promise<void> {
    return this.session.close()
  }
}

export async function runOnce(
  session: Pick<Session, 'signature' | 'run'>,
  inputs: readonly Tensor[],
): Promise<void> {
  // A run may transfer the memory of its inputs to another thread, so run a copy.
  await session.run(
    structuredClone(inputs),
    session.signature.outputs.map(({ name }) => name),
  )
}
