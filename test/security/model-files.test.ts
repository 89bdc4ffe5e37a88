import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { openSession } from '../../function/inference/session.ts'
import { createService } from '../../function/service.ts'
import { startServer, testModel } from '../server.ts'

const temporary = mkdtempSync(join(tmpdir(), 'model-files-'))
after(() => rmSync(temporary, { recursive: true }))

const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

/** A folder with the shipped model, or with the model whose weights are in a separate file. */
function folderWith(
  sha256: (folder: string) => unknown,
  from: 'iris' | 'external-data' = 'iris',
): string {
  const folder = mkdtempSync(join(temporary, 'model-'))
  const files = from === 'iris' ? ['model.onnx'] : ['model.onnx', 'weights.bin']
  for (const file of files)
    cpSync(
      from === 'iris' ? `models/iris/v1.0.0/${file}` : join(testModel(from), file),
      join(folder, file),
    )
  writeFileSync(join(folder, 'model.json'), JSON.stringify({ name: 'm', sha256: sha256(folder) }))
  return folder
}

const load = async (folder: string, env: Record<string, string> = {}) => {
  const { model } = createService(readConfig({ MODEL_DIR: folder, LOG_LEVEL: 'silent', ...env }))
  await model.load()
  await model.close()
}

const own = (folder: string) => digest(join(folder, 'model.onnx'))
const both = (folder: string) => ({
  'model.onnx': own(folder),
  'weights.bin': digest(join(folder, 'weights.bin')),
})

suite('sha256 in model.json', () => {
  test('loads a model that matches its digest, in either mode of execution', async () => {
    for (const EXECUTION of ['inline', 'worker']) await load(folderWith(own), { EXECUTION })
    await load(folderWith(folder => own(folder).toUpperCase()))
    const server = await startServer({ MODEL_DIR: folderWith(own) })
    assert.equal((await fetch(`${server.url}/v2/models/m/ready`)).status, 200)
    await server.stop()
  })

  test('loads a model whose weights and graph match their digests', async () => {
    await load(folderWith(both, 'external-data'))
  })

  const WRONG: readonly (readonly [what: string, spoil: (folder: string) => void, says: RegExp])[] =
    [
      [
        'one bit of the graph has changed',
        f => flip(join(f, 'model.onnx')),
        /^the model does not match sha256 in model\.json: "model\.onnx" has the digest [0-9a-f]{64}$/,
      ],
      [
        'one bit of the weights has changed',
        f => flip(join(f, 'weights.bin')),
        /"weights\.bin" has the digest [0-9a-f]{64}$/,
      ],
      [
        'the graph is cut off',
        f => truncateSync(join(f, 'model.onnx'), 100),
        /"model\.onnx" has the digest/,
      ],
      [
        'the weights are missing',
        f => rmSync(join(f, 'weights.bin')),
        /"weights\.bin" is missing$/,
      ],
      [
        'the graph comes from another model',
        f => cpSync('models/iris/v2.0.0/model.onnx', join(f, 'model.onnx')),
        /"model\.onnx" has the digest/,
      ],
      [
        'there is another weights file',
        f => writeFileSync(join(f, 'more.bin'), ''),
        /"more\.bin" has no digest/,
      ],
      [
        'there is another weights file in a subfolder',
        f => add(f, 'sub/more.bin'),
        /"sub\/more\.bin" has no digest/,
      ],
      [
        'a file has the name of an inherited JavaScript property',
        f => writeFileSync(join(f, 'constructor'), ''),
        /"constructor" has no digest/,
      ],
    ]
  for (const [what, spoil, says] of WRONG) {
    test(`prevents startup if ${what}`, async () => {
      const folder = folderWith(both, 'external-data')
      spoil(folder)
      await assert.rejects(load(folder), { message: says })
    })
  }

  test('checks the digest before the model is parsed', async () => {
    const folder = folderWith(() => '0'.repeat(64))
    writeFileSync(join(folder, 'model.onnx'), 'this is not a model')
    await assert.rejects(load(folder), /the model does not match sha256 in model\.json/)
  })

  test('checks the digests in a folder that Kubernetes mounts, in which each file is a link', async () => {
    const folder = folderWith(both, 'external-data')
    mkdirSync(join(folder, '..version'))
    for (const file of ['model.onnx', 'weights.bin', 'model.json']) {
      renameSync(join(folder, file), join(folder, '..version', file))
      symlinkSync(join('..data', file), join(folder, file))
    }
    symlinkSync('..version', join(folder, '..data'))
    await load(folder)
    flip(join(folder, '..version', 'weights.bin'))
    await assert.rejects(load(folder), /"weights\.bin" has the digest/)
  })

  for (const bad of ['', 'abc', 'g'.repeat(64), 5, ['a'], { 'model.onnx': 'abc' }, null]) {
    test(`rejects ${JSON.stringify(bad).slice(0, 30)} as sha256 in model.json`, async () => {
      await assert.rejects(
        load(folderWith(() => bad)),
        /model\.json: sha256 must be 64 hexadecimal digits, or an object that maps file names to such digests$/,
      )
    })
  }
})

suite('a graph that names its weights', () => {
  const graph = readFileSync(join(testModel('external-data'), 'model.onnx'))
  const weights = join(testModel('external-data'), 'weights.bin')

  function graphOf(location: string, folder: string): string {
    const at = graph.indexOf('weights.bin')
    assert.equal(Buffer.byteLength(location), 'weights.bin'.length)
    const changed = Buffer.from(graph)
    changed.write(location, at)
    const file = join(folder, 'model.onnx')
    writeFileSync(file, changed)
    return file
  }

  test('loads a graph whose weights are in its folder', async () => {
    const folder = mkdtempSync(join(temporary, 'below-'))
    mkdirSync(join(folder, 'sub'))
    cpSync(weights, join(folder, 'sub/weights'))
    await (await openSession(graphOf('sub/weights', folder), 1)).close()
  })

  const OUTSIDE: readonly (readonly [
    where: string,
    location: string,
    put: (parent: string) => void,
  ])[] = [
    ['beside its folder', '../weights1', parent => cpSync(weights, join(parent, 'weights1'))],
    ['at an absolute path', '/etc/passwd', () => {}],
    ['in the memory of another process', '/proc/1/mem', () => {}],
    [
      'behind a link that leads outside its folder',
      'weights.bin',
      parent => link(parent, join(parent, 'weights1')),
    ],
  ]
  for (const [where, location, put] of OUTSIDE) {
    test(`rejects a graph whose weights are ${where}`, async () => {
      const parent = mkdtempSync(join(temporary, 'outside-'))
      const folder = join(parent, 'model')
      mkdirSync(folder)
      put(parent)
      await assert.rejects(
        openSession(graphOf(location, folder), 1),
        /the model cannot be loaded: /,
      )
    })
  }

  function link(parent: string, to: string): void {
    cpSync(weights, to)
    symlinkSync(to, join(parent, 'model', basename(weights)))
  }
})

function flip(path: string): void {
  const bytes = readFileSync(path)
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
  writeFileSync(path, bytes)
}

function add(folder: string, path: string): void {
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, path), '')
}
