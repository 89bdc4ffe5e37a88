import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const models = join(import.meta.dirname, '../../models')
const folder = mkdtempSync(join(tmpdir(), 'corpus-'))
after(() => rmSync(folder, { recursive: true }))

const INPUTS = {
  'identity-fp32': { x: write('FP32', [2], new Float32Array([1, 2])) },
  'rows-dependent': { x: write('FP32', [2, 3], new Float32Array([1, 2, 3, 4, 5, 6])) },
  // The indices are out of range, so every run fails.
  failing: { index: write('INT64', [2], new BigInt64Array([99n, 98n])) },
}

function write(datatype: string, shape: readonly number[], values: ArrayBufferView) {
  return { datatype, shape, data: Buffer.from(values.buffer as ArrayBuffer).toString('base64') }
}

const lines = Object.entries(INPUTS).map(([name, inputs]) => {
  mkdirSync(join(folder, name))
  copyFileSync(join(models, name, 'model.onnx'), join(folder, name, 'model.onnx'))
  writeFileSync(join(folder, name, 'inputs.json'), JSON.stringify(inputs))
  return { model: `${name}/model.onnx`, operator: name, bend: '', slow: false }
})
writeFileSync(join(folder, 'index.jsonl'), lines.map(line => JSON.stringify(line)).join('\n'))

function refute(answer: string, ...options: string[]) {
  const prover = join(folder, 'prover.mjs')
  writeFileSync(prover, `export const proveIndependent = async () => (${answer})`)
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, 'refute.ts'), folder, '--prover', prover, ...options],
    // A process that keeps running would keep the output open.
    { encoding: 'utf8', timeout: 30_000 },
  )
  return { status, stdout }
}

test('reports a prover that proves everything, and exits with 1', () => {
  const { status, stdout } = refute('{ isProven: true }')
  assert.match(stdout, /^PROVEN AND DIFFERENT: rows-dependent/m)
  assert.match(stdout, /3 models, 1 proven, no difference; 1 PROVEN AND DIFFERENT; .*1 not run/)
  assert.equal(status, 1)
})

test('lists the models that a prover refused although their runs showed no difference', () => {
  const { status, stdout } = refute("{ isProven: false, reason: 'no rule' }")
  assert.match(stdout, /^ +1 identity-fp32: 1 × no rule/m)
  assert.match(stdout, /1 refused, difference found; 1 refused, no difference; 1 not run/)
  assert.equal(status, 0)
})

test('reports a prover that throws an error, and exits with 1', () => {
  const { status, stdout } = refute("(() => { throw new Error('no such rule') })()")
  assert.match(stdout, /^PROVER FAILED: identity-fp32.*\n.*no such rule/m)
  assert.equal(status, 1)
})

test('kills a process that does not finish before the deadline', () => {
  const { status, stdout } = refute('(() => { for (;;); })()', '--deadline-ms', '500')
  assert.match(stdout, /not finished within 0\.5 s/)
  assert.match(stdout, /^3 models, .* 3 not run$/m)
  assert.equal(status, 0)
})
