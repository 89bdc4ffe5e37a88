import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, mock, test } from 'node:test'
import { readOnnxModel } from '../../function/inference/onnx-file.ts'
import { type WrittenModel, writeModel } from './batchability/onnx-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'onnx-file-'))
after(() => rmSync(folder, { recursive: true }))

const IDENTITY: WrittenModel = {
  opset: 20,
  nodes: [{ operator: 'Identity', inputs: ['x'], outputs: ['y'] }],
  inputs: { x: { type: 'FP32', dims: ['N'] } },
  outputs: { y: { type: 'FP32', dims: ['N'] } },
}
const words = Array.from({ length: 2_000 }, (_, i) => `word ${i}`)
const numbers = Array.from({ length: 20_000 }, (_, i) => i)

/** The minimum number of times that the reader must check the clock. */
const LOOKS: Readonly<Record<string, number>> = {
  'an initializer of many texts': words.length,
  'an attribute of many numbers': 5,
  'many nodes': 2_000,
}

const MODELS: Readonly<Record<keyof typeof LOOKS, WrittenModel>> = {
  'an initializer of many texts': {
    ...IDENTITY,
    constants: { words: { type: 'BYTES', shape: [words.length], values: words } },
  },
  'an attribute of many numbers': {
    ...IDENTITY,
    nodes: [
      {
        operator: 'LabelEncoder',
        domain: 'ai.onnx.ml',
        inputs: ['x'],
        outputs: ['y'],
        attributes: { classlabels_int64s: numbers },
      },
    ],
  },
  'many nodes': {
    ...IDENTITY,
    nodes: Array.from({ length: 2_000 }, (_, i) => ({
      operator: 'Abs',
      inputs: [`${i}`],
      outputs: [`${i + 1}`],
    })),
  },
}

for (const [what, model] of Object.entries(MODELS)) {
  test(`a file with ${what} is read in slices`, async () => {
    const file = join(folder, `${what}.onnx`)
    writeFileSync(file, writeModel(model))
    // The clock advances 1 ms at each check, so a slice of 5 ms ends at every fifth check.
    let now = 0
    const clock = mock.method(performance, 'now', () => now++)
    let turns = 0
    let isRead = false
    const count = () => {
      turns++
      if (!isRead) setImmediate(count)
    }
    setImmediate(count)
    try {
      await readOnnxModel(file)
    } finally {
      isRead = true
      clock.mock.restore()
    }
    const looks = LOOKS[what] as number
    assert.ok(now >= looks, `the clock was checked ${now} times`)
    assert.ok(turns >= Math.floor(looks / 6), `there were ${turns} turns of the event loop`)
  })
}
