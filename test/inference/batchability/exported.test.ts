import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, test } from 'node:test'
import { proveIndependent } from '../../../function/inference/batchability/prove.ts'
import { readSignature } from './graph-signature.ts'

/* Graphs without weights that exporters wrote; test/corpus/exported generates them. */

const folder = join(import.meta.dirname, '../../models/graphs')

/**
 * The graphs that the prover refuses, with the expected reason. All other graphs must be proven.
 */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'sk-quadratic': /\(Concat, .* dimension 0, which is the batch/,
  'dynamic-mlp': /\(DynamicQuantizeLinear, .* scales with the largest value in the entire batch/,
  'dynamic-sk-mlp': /\(DynamicQuantizeLinear, .* scales with the largest value in the entire batch/,
  'dynamic-bert': /\(DynamicQuantizeLinear, .* scales with the largest value in the entire batch/,
  'dynamic-lstm': /\(DynamicQuantizeLSTM, com.microsoft .* there is no rule/,
  'torch-time-first-script': /\(RNN, .* the batch is dimension 0 of input 0, not 1/,
  // Rows are independent here, but the exporter wrote the length of its example, 7, into the
  // Reshape.
  'torch-encoder-script': /\(Reshape, .*\[7, 4·N, 8\] does not keep the rows of \[\?, N, 32\]/,
}

const names = readdirSync(folder).map(file => basename(file, '.onnx'))

async function prove(name: string) {
  const file = join(folder, `${name}.onnx`)
  return proveIndependent(file, await readSignature(file))
}

describe('proves the exported graph', () => {
  for (const name of names.filter(each => !(each in REFUSED)))
    test(name, async () => {
      assert.deepEqual(await prove(name), { isProven: true })
    })
})

describe('refuses the exported graph', () => {
  for (const [name, reason] of Object.entries(REFUSED))
    test(name, async () => {
      const proof = await prove(name)
      assert.ok(!proof.isProven)
      assert.match(proof.reason, reason)
    })
})
