import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Proof } from '../../../function/inference/batchability/prove.ts'
import { openSession, type Session } from '../../../function/inference/session.ts'
import type { Signature } from '../../../function/protocol/tensor.ts'
import { random } from '../../random.ts'
import { loadProver } from './prover.ts'
import { type Recorded, RowMaker } from './rows.ts'
import { Trial, type Tried } from './trial.ts'

export interface Task {
  readonly file: string
  readonly slow: boolean
  readonly seed: number
}

/** The proof is reported first, because a run may crash the process. */
export type Report =
  | { readonly proof: Proof }
  | { readonly proverFailed: string }
  | { readonly tried: Tried }
  | { readonly notRun: string }

const prover = await loadProver(process.env.PROVER)

process.on('message', async (task: Task) => {
  let session: Session
  try {
    session = await openSession(task.file, 1)
  } catch (error) {
    report({ notRun: (error as Error).message })
    return
  }
  report(await askProver(task.file, session.signature))
  report(await tryRuns(task, session))
  await session.close()
})

function report(message: Report): void {
  process.send?.(message)
}

async function askProver(file: string, signature: Signature): Promise<Report> {
  try {
    return { proof: await prover.proveIndependent(file, signature) }
  } catch (error) {
    return { proverFailed: String((error as Error).stack) }
  }
}

async function tryRuns({ file, slow, seed }: Task, session: Session): Promise<Report> {
  try {
    const text = readFileSync(join(dirname(file), 'inputs.json'), 'utf8')
    const all = JSON.parse(text) as Record<string, Recorded>
    const recorded = session.signature.inputs.map(({ name }) => all[name] as Recorded)
    return { tried: await new Trial(session, new RowMaker(recorded, random(seed))).try(slow) }
  } catch (error) {
    return { notRun: (error as Error).message }
  }
}
