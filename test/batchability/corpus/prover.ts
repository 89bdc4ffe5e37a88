import type { Signature } from '../../../function/protocol/tensor.ts'

/** What the prover says of a model file. */
export type Proof =
  | { readonly isProven: true }
  | { readonly isProven: false; readonly reason: string }

/** A module given with --prover exports this. */
export interface Prover {
  proveIndependent(file: string, signature: Signature): Promise<Proof>
}

const OURS = '../../../function/inference/batchability/prove.ts'

/** @param module another prover's module, to see that a wrong one is found out */
export async function loadProver(module: string = OURS): Promise<Prover> {
  return (await import(module)) as Prover
}
