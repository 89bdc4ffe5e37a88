import type { Proof } from '../../../function/inference/batchability/prove.ts'
import type { Signature } from '../../../function/protocol/tensor.ts'

/** A module given with --prover exports this. */
export interface Prover {
  proveIndependent(file: string, signature: Signature): Promise<Proof>
}

const OURS = '../../../function/inference/batchability/prove.ts'

/** @param module another prover's module, to see that a wrong one is found out */
export async function loadProver(module: string = OURS): Promise<Prover> {
  return (await import(module)) as Prover
}
