import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { readModelFolder } from '../../function/inference/model-folder.ts'

suite('model folders', () => {
  let parent: string
  let folder: string
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'models-'))
    folder = join(parent, 'from-the-folder')
    mkdirSync(folder)
  })
  afterEach(() => rmSync(parent, { recursive: true }))

  const put = (files: Record<string, string>) => {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(join(folder, dirname(file)), { recursive: true })
      writeFileSync(join(folder, file), text)
    }
  }
  const read = (env: Record<string, string> = {}) =>
    readModelFolder(readConfig({ MODEL_DIR: folder, ...env }))

  test('a model folder provides model.onnx, or otherwise its only .onnx file', () => {
    put({ 'classifier.onnx': '' })
    assert.equal(read().file, join(folder, 'classifier.onnx'))
    put({ 'model.onnx': '' })
    assert.equal(read().file, join(folder, 'model.onnx'))
  })

  /** The first file in each layout is served. */
  const LAYOUTS: readonly (readonly [what: string, files: readonly string[], version?: string])[] =
    [
      ['with capital letters in its name', ['Model.ONNX']],
      ['that is not in a numbered folder', ['model.onnx', '2/model.onnx']],
      ['with the highest number', ['10/model.onnx', '9/model.onnx', '2/model.onnx'], '10'],
      [
        'in the highest numbered folder that contains a model',
        ['1/model.onnx', '2/other.txt'],
        '1',
      ],
      ['with another name in a numbered folder', ['3/churn.onnx'], '3'],
      [
        'in the layout of Hugging Face',
        ['onnx/model.onnx', 'onnx/model_quantized.onnx', 'config.json'],
      ],
      ['that is the only one in all subfolders', ['exported/v2/best.onnx', 'README.md']],
    ]
  for (const [what, files, version] of LAYOUTS)
    test(`a model folder provides the model ${what}`, () => {
      put(Object.fromEntries(files.map(file => [file, ''])))
      const found = read()
      assert.deepEqual(
        [found.file, found.name, found.version],
        [join(folder, files[0] as string), 'from-the-folder', version],
      )
      assert.equal(read({ MODEL_VERSION: '7' }).version, '7')
    })

  test('a model folder may contain links that lead to themselves, and folders that this user cannot read', () => {
    put({ 'churn/model.onnx': '' })
    symlinkSync('self', join(folder, 'self'))
    mkdirSync(join(folder, 'lost+found'), { mode: 0 })
    assert.equal(read().file, join(folder, 'churn/model.onnx'))
  })

  test('model.json may be beside the model or in the parent folder', () => {
    put({ '1/model.onnx': '', 'model.json': '{"name": "above", "version": "v1"}' })
    assert.deepEqual([read().name, read().version], ['above', 'v1'])
    put({ '1/model.json': '{"name": "beside"}' })
    assert.deepEqual([read().name, read().version], ['beside', '1'])
  })

  test('MODEL_DIR may be the path of the .onnx file, which then names the model', () => {
    put({ 'churn.ONNX': '', 'other.onnx': '', 'model.onnx': '' })
    const named = read({ MODEL_DIR: join(folder, 'churn.ONNX') })
    assert.deepEqual([named.file, named.name], [join(folder, 'churn.ONNX'), 'churn'])
    assert.equal(read({ MODEL_DIR: join(folder, 'model.onnx') }).name, 'from-the-folder')
  })

  test('a model folder with several models is rejected, and the error contains their names', () => {
    put({ 'a/one.onnx': '', 'b/two.onnx': '' })
    assert.throws(
      read,
      /has 2 \.onnx files, .*: a\/one\.onnx, b\/two\.onnx\. Set MODEL_DIR to one of these files$/,
    )
  })

  for (const [what, path, says] of [
    ['a URL', 's3://models/churn', /is the URL s3:.*does not download models.*storageUri/],
    ['a file of another kind', import.meta.filename, /is neither a folder nor a \.onnx file$/],
    ['missing', '/nowhere', /MODEL_DIR \/nowhere cannot be read \(ENOENT\)$/],
  ] as const)
    test(`MODEL_DIR is rejected if it is ${what}`, () =>
      assert.throws(() => read({ MODEL_DIR: path }), says))

  test('a model takes its name from MODEL_NAME, model.json, INFERENCE_SERVICE_NAME or the folder, in this order', () => {
    put({ 'model.onnx': '' })
    assert.equal(read().name, 'from-the-folder')
    assert.equal(read({ INFERENCE_SERVICE_NAME: 'from-kserve' }).name, 'from-kserve')
    put({ 'model.json': '{"name": "from-json"}' })
    assert.equal(read({ INFERENCE_SERVICE_NAME: 'from-kserve' }).name, 'from-json')
    assert.equal(read({ MODEL_NAME: 'from-env' }).name, 'from-env')
  })

  test('a model has the version from MODEL_VERSION or model.json, or no version', () => {
    put({ 'model.onnx': '' })
    assert.equal(read().version, undefined)
    put({ 'model.json': '{"version": "7"}' })
    assert.equal(read().version, '7')
    assert.equal(read({ MODEL_VERSION: '8' }).version, '8')
  })

  const BAD: readonly { mistake: string; files: Record<string, string>; says: RegExp }[] = [
    { mistake: 'without a model', files: {}, says: /^no model: MODEL_DIR .* has no \.onnx file$/ },
    {
      mistake: 'with files of other kinds',
      files: { 'model.ort': '', 'saved.pb': '' },
      says: /has no \.onnx file; its files are model\.ort, saved\.pb$/,
    },
    {
      mistake: 'with two models',
      files: { 'a.onnx': '', 'b.onnx': '' },
      says: /has 2 \.onnx files, but no model\.onnx: a\.onnx, b\.onnx\. Set MODEL_DIR to one of these files$/,
    },
    {
      mistake: 'whose model.json is not JSON',
      files: { 'model.onnx': '', 'model.json': '{' },
      says: /model\.json is not valid JSON/,
    },
    {
      mistake: 'whose model.json is not an object',
      files: { 'model.onnx': '', 'model.json': '[]' },
      says: /must contain a JSON object$/,
    },
    {
      mistake: 'whose name contains a slash',
      files: { 'model.onnx': '', 'model.json': '{"name": "a/b"}' },
      says: /name must be a string without \/$/,
    },
    {
      mistake: 'whose version is a number',
      files: { 'model.onnx': '', 'model.json': '{"version": 1}' },
      says: /version must be a string/,
    },
    {
      mistake: 'whose labels are not strings',
      files: { 'model.onnx': '', 'model.json': '{"labels": [1]}' },
      says: /labels must be an array of strings$/,
    },
    {
      mistake: 'whose feature names are not strings',
      files: { 'model.onnx': '', 'model.json': '{"features": {"x": [1]}}' },
      says: /features must be an array of distinct names, or an object that maps input names to such arrays$/,
    },
    {
      mistake: 'with two features of the same name',
      files: { 'model.onnx': '', 'model.json': '{"features": ["a", "a"]}' },
      says: /features must be an array of distinct names/,
    },
    {
      mistake: 'whose batch is not a boolean',
      files: { 'model.onnx': '', 'model.json': '{"batch": 1}' },
      says: /batch must be true or false$/,
    },
    {
      mistake: 'whose sample is not an object',
      files: { 'model.onnx': '', 'model.json': '{"sample": [1]}' },
      says: /sample must be an object/,
    },
  ]
  for (const { mistake, files, says } of BAD) {
    test(`a model folder ${mistake} is rejected with a one-line message`, () => {
      put(files)
      assert.throws(
        () => read(),
        ({ message }: Error) => says.test(message) && !message.includes('\n'),
      )
    })
  }

  test('a model folder that does not exist is rejected, and the error contains its path', () => {
    assert.throws(
      () => read({ MODEL_DIR: join(parent, 'nowhere') }),
      /MODEL_DIR .*nowhere cannot be read \(ENOENT\)$/,
    )
  })
})
