import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { readModelFolder } from '../../function/inference/model-folder.ts'
import { loadTransform } from '../../function/transform/load.ts'
import { readArguments } from '../../kserve/arguments.ts'
import { testModel } from '../server.ts'

const folder = mkdtempSync(join(tmpdir(), 'transform-'))
after(() => rmSync(folder, { recursive: true }))

let count = 0

/** `model.onnx` is a small model. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const path = join(folder, String(count++))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true })
    if (name.endsWith('.onnx'))
      cpSync(join(testModel('identity-fp32'), 'model.onnx'), join(path, name))
    else writeFileSync(join(path, name), text)
  }
  return path
}

const found = (files: Readonly<Record<string, string>>, env: Record<string, string> = {}) => {
  const MODEL_DIR = folderOf(files)
  const { transform, ignoredTransform } = readModelFolder(readConfig({ MODEL_DIR, ...env }))
  const shorten = (path: string | undefined) => path?.slice(MODEL_DIR.length + 1)
  return [shorten(transform), shorten(ignoredTransform)]
}

for (const name of ['transform.ts', 'transform.js', 'transform.mjs'])
  test(`finds ${name} beside the model`, () => {
    assert.deepEqual(found({ 'model.onnx': '', [name]: '' }), [name, undefined])
  })

test('prefers built code to its source', () => {
  const files = { 'model.onnx': '', 'transform.ts': '', 'transform.js': '' }
  assert.deepEqual(found(files), ['transform.js', undefined])
})

test('finds a transform beside model.json if the model is in a version folder', () => {
  const files = { '3/model.onnx': '', 'model.json': '{}', 'transform.ts': '' }
  assert.deepEqual(found(files), ['transform.ts', undefined])
  const both = { ...files, '3/transform.js': '' }
  assert.deepEqual(found(both), ['3/transform.js', undefined])
})

test('finds no transform without a file, or with TRANSFORM=off', () => {
  assert.deepEqual(found({ 'model.onnx': '' }), [undefined, undefined])
  const files = { 'model.onnx': '', 'transform.ts': '' }
  assert.deepEqual(found(files, { TRANSFORM: 'off' }), [undefined, undefined])
  mkdirSync(join(folder, 'dir', 'transform.ts'), { recursive: true })
  cpSync(join(testModel('identity-fp32'), 'model.onnx'), join(folder, 'dir', 'model.onnx'))
  const { transform } = readModelFolder(readConfig({ MODEL_DIR: join(folder, 'dir') }))
  assert.equal(transform, undefined)
})

test('loads the file that TRANSFORM names', () => {
  const path = join(folderOf({ 'mine.ts': '' }), 'mine.ts')
  const MODEL_DIR = folderOf({ 'model.onnx': '', 'transform.ts': '' })
  const config = readConfig({ MODEL_DIR, TRANSFORM: path })
  assert.equal(readModelFolder(config).transform, path)
  const missing = readConfig({ MODEL_DIR, TRANSFORM: './nothing.ts' })
  assert.throws(
    () => readModelFolder(missing),
    /^Error: TRANSFORM is "\.\/nothing\.ts", but \/.*nothing\.ts is not a file; it must be the path of a file, or "off"$/,
  )
})

test('ignores a transform in a store of models', () => {
  const MODEL_DIR = folderOf({ 'model.onnx': '', 'transform.ts': '' })
  const { env, givenAs } = readArguments(['--model_dir', MODEL_DIR], {})
  const { transform, ignoredTransform } = readModelFolder(readConfig(env, givenAs))
  assert.deepEqual([transform, ignoredTransform], [undefined, join(MODEL_DIR, 'transform.ts')])
  for (const stored of ['/mnt/models', '/mnt/models/', '/mnt/models/1', '/mnt/./models'])
    assert.equal(readConfig({ MODEL_DIR: stored }).isModelStored, true, stored)
  assert.equal(readConfig({ MODEL_DIR: '/mnt/models-of-mine' }).isModelStored, false)
  const named = { ...env, TRANSFORM: join(MODEL_DIR, 'transform.ts') }
  assert.equal(readModelFolder(readConfig(named, givenAs)).transform, named.TRANSFORM)
})

test('startup fails if the digests do not cover the transform', () => {
  const sha256 = JSON.stringify({ sha256: 'a'.repeat(64) })
  const files = { '1/model.onnx': '', 'model.json': sha256, 'transform.ts': '' }
  assert.throws(
    () => found(files),
    /sha256 in model\.json does not cover .*transform\.ts; put this file beside/,
  )
})

const LOADS = [
  { name: 'a.ts', text: 'export default { preprocess: (data: unknown) => data as never }' },
  { name: 'b.mjs', text: 'export default { postprocess: () => 1 }' },
  { name: 'c.js', text: 'module.exports = { postprocess: () => 1 }' },
  {
    name: 'd.ts',
    text: "import { defineTransform } from 'onnx-function'\nimport { post } from './lib/post.ts'\nexport default defineTransform()({ postprocess: post })",
  },
  {
    name: 'e.ts',
    text: 'class Mine { preprocess() { return this } }\nexport default new Mine() as never',
  },
]

for (const { name, text } of LOADS)
  test(`loads ${name}`, async () => {
    const lib =
      "import { BadRequest } from 'onnx-function'\nexport const post = () => { throw new BadRequest('x') }"
    const path = join(folderOf({ [name]: text, 'lib/post.ts': lib }), name)
    const { author } = await loadTransform(path)
    assert.ok(author.preprocess !== undefined || author.postprocess !== undefined)
  })

const REFUSED = [
  {
    text: 'export const a = 1',
    why: /has no default export; it must be an object with preprocess or postprocess/,
  },
  { text: 'export default 5', why: /has the default export 5; it must be/ },
  { text: 'export default () => 5', why: /has a function as its default export; it must be/ },
  { text: 'export default {}', why: /has neither preprocess nor postprocess/ },
  {
    text: 'export default { preProcess() {} }',
    why: /has "preProcess"; a transform may have only setup/,
  },
  { text: 'export default { preprocess: 5 }', why: /preprocess is 5; it must be a function/ },
  { text: 'enum A { B }\nexport default {}', why: /erasableSyntaxOnly/ },
  { text: 'export default {', why: /cannot be loaded: .*transform\.ts/ },
  { text: "import './nothing.ts'", why: /cannot be loaded: Cannot find module .*nothing\.ts/ },
  { text: "throw new Error('on purpose')", why: /cannot be loaded: on purpose$/ },
  { text: 'throw undefined', why: /cannot be loaded: undefined$/ },
  {
    text: "export default { preprocess() {}, input: { type: 'nothing' } }",
    why: /the schema "input"/,
  },
]

for (const { text, why } of REFUSED)
  test(`rejects ${JSON.stringify(text)} with a one-line error`, async () => {
    const path = join(folderOf({ 'transform.ts': text }), 'transform.ts')
    await assert.rejects(loadTransform(path), ({ message }: Error) => {
      assert.match(message, why)
      assert.ok(message.startsWith(`the transform ${path}`), message)
      assert.ok(!message.includes('\n'))
      return true
    })
  })
