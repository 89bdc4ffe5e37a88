import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, test } from 'node:test'
import { proveIndependent } from '../../../function/inference/batchability/prove.ts'
import { readSignature } from './graph-signature.ts'

/* Graphs written by exporters, without their weights: test/corpus/exported generates them. */

const folder = join(import.meta.dirname, '../../models/graphs')

/** Grouped by the prover's reason. All other graphs must be proven. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'sk-quadratic': /\(Concat, .* dimension 0, which is the batch/,
  'dynamic-mlp': /\(DynamicQuantizeLinear, .* scales by the largest value of the whole batch/,
  'dynamic-sk-mlp': /\(DynamicQuantizeLinear, .* scales by the largest value of the whole batch/,
  'dynamic-bert': /\(DynamicQuantizeLinear, .* scales by the largest value of the whole batch/,
  'dynamic-lstm': /\(DynamicQuantizeLSTM, com.microsoft .* there is no rule/,
  'torch-time-first-script': /\(RNN, .* the batch is dimension 0 of its input, not 1/,
  // Unnecessarily: the exporter wrote its example's length, 7, into the Reshape.
  'torch-encoder-script': /\(Reshape, .*\[7, 4·N, 8\] does not keep the rows of \[\?, N, 32\]/,
}

const names = readdirSync(folder).map(file => basename(file, '.onnx'))

async function prove(name: string) {
  const file = join(folder, `${name}.onnx`)
  return proveIndependent(file, await readSignature(file))
}

describe('exported graphs that are proven', () => {
  for (const name of names.filter(each => !(each in REFUSED)))
    test(name, async () => {
      assert.deepEqual(await prove(name), { isProven: true })
    })
})

describe('exported graphs that are refused', () => {
  for (const [name, reason] of Object.entries(REFUSED))
    test(name, async () => {
      const proof = await prove(name)
      assert.ok(!proof.isProven)
      assert.match(proof.reason, reason)
    })
})
