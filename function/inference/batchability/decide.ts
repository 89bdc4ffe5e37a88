import { isBatched, type Signature, type Tensor } from '../../protocol/tensor.ts'
import type { Batching } from '../batching.ts'
import type { GraphCheck } from '../graph-check.ts'
import type { ModelFolder } from '../model-folder.ts'
import type { Session } from '../session.ts'
import { type Proof, proveIndependent } from './prove.ts'
import { sampledDifference } from './sampled-check.ts'

/**
 * Decides whether requests share runs. They do if the graph proves that rows are independent, or if
 * model.json sets `"batch": true`. Also tests a proven model with extreme values in neighbouring
 * rows. If input values determine tensor sizes, a joined run could need the memory of many
 * requests, so model.json must set `"batch": true`.
 * @param example inputs that the model accepts
 */
export async function decideBatching(
  { file, batch }: Pick<ModelFolder, 'file' | 'batch'>,
  session: Pick<Session, 'signature' | 'run'>,
  example: readonly Tensor[],
  { sizesByValues }: Pick<GraphCheck, 'sizesByValues'>,
): Promise<Batching> {
  if (batch === false) return { joins: false, reason: 'model_json', detail: undefined }
  const { signature } = session
  const proof = await prove(file, signature)
  if (!proof.isProven) {
    if (batch === true) return { joins: true, reason: 'model_json', detail: proof.reason }
    const isFixed = !isBatched(signature)
    return {
      joins: false,
      reason: isFixed ? 'fixed_dimension' : 'not_proven',
      detail: proof.reason,
    }
  }
  let difference: string | undefined
  try {
    difference = await sampledDifference(session, example)
  } catch (error) {
    const detail = `the sample failed to run together with other rows: ${(error as Error).message}`
    return { joins: false, reason: 'not_proven', detail }
  }
  if (difference !== undefined)
    return { joins: false, reason: 'sample_differs', detail: difference }
  if (sizesByValues === undefined) return { joins: true, reason: 'proven', detail: undefined }
  if (batch !== true) return { joins: false, reason: 'sizes_by_values', detail: sizesByValues }
  return {
    joins: true,
    reason: 'model_json',
    detail: `the memory of a run is not limited: ${sizesByValues}`,
  }
}

/** A file that cannot be read counts as not proven. */
async function prove(file: string, signature: Signature): Promise<Proof> {
  try {
    return await proveIndependent(file, signature)
  } catch (error) {
    return { isProven: false, reason: `the graph cannot be read: ${(error as Error).message}` }
  }
}

/** Describes the decision in one line, for the log or a report. */
export function describeBatching({ joins, reason, detail }: Batching): string {
  if (reason === 'undecided') return 'not decided yet; each request has its own run'
  if (joins) {
    return detail === undefined
      ? 'requests share runs: the graph proves that rows are independent'
      : `requests share runs because model.json sets "batch": true, although this is not proven: ${detail}`
  }
  const why = {
    model_json: 'model.json sets "batch": false',
    sizes_by_values: `input values determine how much memory a run uses: ${detail}`,
    sample_differs: `other rows change the result of the sample: ${detail}`,
  } as const
  return `each request has its own run: ${why[reason as keyof typeof why] ?? detail}`
}
