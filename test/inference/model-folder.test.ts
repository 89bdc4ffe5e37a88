import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { readModelFolder } from '../../function/inference/model-folder.ts'

suite('a model folder', () => {
  let parent: string
  let folder: string
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'models-'))
    folder = join(parent, 'from-the-folder')
    mkdirSync(folder)
  })
  afterEach(() => rmSync(parent, { recursive: true }))

  const put = (files: Record<string, string>) => {
    for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text)
  }
  const read = (env: Record<string, string> = {}) =>
    readModelFolder(readConfig({ MODEL_DIR: folder, ...env }))

  test('gives model.onnx before any other .onnx file, else the only one', () => {
    put({ 'classifier.onnx': '' })
    assert.equal(read().file, join(folder, 'classifier.onnx'))
    put({ 'model.onnx': '' })
    assert.equal(read().file, join(folder, 'model.onnx'))
  })

  test('is named by MODEL_NAME, model.json, INFERENCE_SERVICE_NAME, the folder, in that order', () => {
    put({ 'model.onnx': '' })
    assert.equal(read().name, 'from-the-folder')
    assert.equal(read({ INFERENCE_SERVICE_NAME: 'from-kserve' }).name, 'from-kserve')
    put({ 'model.json': '{"name": "from-json"}' })
    assert.equal(read({ INFERENCE_SERVICE_NAME: 'from-kserve' }).name, 'from-json')
    assert.equal(read({ MODEL_NAME: 'from-env' }).name, 'from-env')
  })

  test('has the version of MODEL_VERSION, else of model.json, else none', () => {
    put({ 'model.onnx': '' })
    assert.equal(read().version, undefined)
    put({ 'model.json': '{"version": "7"}' })
    assert.equal(read().version, '7')
    assert.equal(read({ MODEL_VERSION: '8' }).version, '8')
  })

  const BAD: readonly { mistake: string; files: Record<string, string>; says: RegExp }[] = [
    { mistake: 'without a model', files: {}, says: /^no model: MODEL_DIR .* has no \.onnx file$/ },
    {
      mistake: 'with two models',
      files: { 'a.onnx': '', 'b.onnx': '' },
      says: /has 2 \.onnx files and none named model\.onnx$/,
    },
    {
      mistake: 'whose model.json is not JSON',
      files: { 'model.onnx': '', 'model.json': '{' },
      says: /model\.json is not valid JSON/,
    },
    {
      mistake: 'whose model.json is no object',
      files: { 'model.onnx': '', 'model.json': '[]' },
      says: /must hold a JSON object$/,
    },
    {
      mistake: 'named with a slash',
      files: { 'model.onnx': '', 'model.json': '{"name": "a/b"}' },
      says: /name must be a string without \/$/,
    },
    {
      mistake: 'whose version is a number',
      files: { 'model.onnx': '', 'model.json': '{"version": 1}' },
      says: /version must be a string/,
    },
    {
      mistake: 'whose labels are no strings',
      files: { 'model.onnx': '', 'model.json': '{"labels": [1]}' },
      says: /labels must be an array of strings$/,
    },
    {
      mistake: 'whose batch is no boolean',
      files: { 'model.onnx': '', 'model.json': '{"batch": 1}' },
      says: /batch must be true or false$/,
    },
    {
      mistake: 'whose sample is no object',
      files: { 'model.onnx': '', 'model.json': '{"sample": [1]}' },
      says: /sample must be an object/,
    },
  ]
  for (const { mistake, files, says } of BAD) {
    test(`${mistake} is refused in one line`, () => {
      put(files)
      assert.throws(
        () => read(),
        ({ message }: Error) => says.test(message) && !message.includes('\n'),
      )
    })
  }

  test('that is not there is refused, naming it', () => {
    assert.throws(
      () => read({ MODEL_DIR: join(parent, 'nowhere') }),
      /MODEL_DIR .*nowhere cannot be read \(ENOENT\)$/,
    )
  })
})
