import type { Proof } from '../../../function/inference/batchability/prove.ts'
import type { Signature } from '../../../function/protocol/tensor.ts'

export interface Prover {
  proveIndependent(file: string, signature: Signature): Promise<Proof>
}

const OURS = '../../../function/inference/batchability/prove.ts'

/** @param module the module of another prover, such as a wrong prover in a test */
export async function loadProver(module: string = OURS): Promise<Prover> {
  return (await import(module)) as Prover
}
