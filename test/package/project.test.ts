import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parse } from 'yaml'
import { functionOf, templatesOf } from './language-pack.ts'
import { filesIn, pack, projectFolder, runNode, runTool, serve } from './run.ts'

/* `onnx-function init` and `func create` must write the same project, and it must work. */

const folder = mkdtempSync(join(tmpdir(), 'project-'))
// The builders' results run as another user, whose processes must be able to read this folder.
chmodSync(folder, 0o755)
after(() => rmSync(folder, { recursive: true }))

const tools = { npm: 'npm-11', node: 'node-least' } as const
const project = join(folder, 'my-flowers')
const template = join(projectFolder, 'templates/typescript/onnx')

const npm = async (...args: string[]) => {
  const ran = await runTool(tools, 'npm-cli.js', args, { cwd: project })
  assert.equal(ran.code, 0, `npm ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
  // Warnings about the configuration of npm on this machine do not concern the project.
  assert.doesNotMatch(ran.stderr, /npm warn (?!Unknown (user|env|global) )/i)
  return ran.stdout
}

before(async () => {
  const { tarball } = pack(folder)
  const installed = join(folder, 'installed')
  mkdirSync(installed)
  const args = ['install', '--ignore-scripts', tarball]
  assert.equal((await runTool(tools, 'npm-cli.js', args, { cwd: installed })).code, 0)
  const program = join(installed, 'node_modules/onnx-function/build/main.js')
  const written = await runNode(tools.node, [program, 'init', project], { cwd: folder })
  assert.equal(written.code, 0, written.stderr)
})

describe('the language pack', () => {
  const [only, ...others] = templatesOf(projectFolder)

  test('has the template onnx for TypeScript, according to func’s rules', () => {
    assert.deepEqual([only?.runtime, only?.name, others], ['typescript', 'onnx', []])
    assert.equal(only?.manifest.name, 'onnx-function')
  })

  test('leads to the same func.yaml as a recorded run of func create', () => {
    assert.ok(only !== undefined)
    const { specVersion, name, runtime, created, ...rest } = parse(
      readFileSync(new URL('func-create.yaml', import.meta.url), 'utf8'),
    )
    assert.deepEqual([specVersion, name, runtime], ['0.36.0', 'my-classifier', 'typescript'])
    assert.ok(Date.parse(created) > 0)
    assert.deepEqual(functionOf(only), rest)
  })

  test('contains the same project as onnx-function init writes', () => {
    const named = (text: string) => text.replaceAll('my-classifier', 'my-flowers')
    const { 'manifest.yaml': _manifest, ...created } = filesIn(template)
    const {
      'func.yaml': funcYaml,
      'vendor/onnx-function.tgz': tarball,
      ...written
    } = filesIn(project)
    assert.deepEqual(
      written,
      Object.fromEntries(Object.entries(created).map(([path, text]) => [path, named(text)])),
    )
    assert.ok(tarball !== undefined && only !== undefined)
    const { specVersion, name, runtime, created: at, ...rest } = parse(funcYaml ?? '')
    assert.deepEqual([specVersion, name, runtime], ['0.36.0', 'my-flowers', 'typescript'])
    assert.ok(Date.parse(at) > 0)
    assert.deepEqual(rest, functionOf(only))
  })

  test('has a lock file with the dependencies of the package', () => {
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
    const { dependencies, engines } = read(join(projectFolder, 'package.json'))
    const lock = read(join(template, 'package-lock.json'))
    const locked = lock.packages['node_modules/onnx-function']
    assert.deepEqual([locked.dependencies, locked.engines], [dependencies, engines])
  })

  test('contains the shipped model', () => {
    const iris = readFileSync(join(projectFolder, 'models/iris/v1.0.0/model.onnx'))
    assert.ok(iris.equals(readFileSync(join(template, 'model/model.onnx'))))
  })
})

describe('the project', () => {
  before(() => npm('ci'))

  test('passes its tests', async () => {
    await npm('test')
  })

  test('passes its check of the types and the model', async () => {
    await npm('run', 'check')
  })

  test('has types that match the model', async () => {
    await npm('run', 'types', '--', '--check')
  })

  test('is not overwritten by a second init', async () => {
    const program = join(project, 'node_modules/onnx-function/build/main.js')
    const { code, stderr } = await runNode(tools.node, [program, 'init', project], { cwd: folder })
    assert.equal(code, 2)
    assert.match(stderr, /my-flowers is not empty; see --help\n$/)
  })

  for (const builder of ['pack', 's2i'])
    test(`can be built by func's ${builder} builder`, t => {
      const source = join(folder, `source-${builder}`)
      cpSync(project, source, {
        recursive: true,
        filter: path => !path.endsWith('node_modules'),
      })
      execFileSync('git', ['init', '--quiet'], { cwd: source })
      const script = join(projectFolder, 'scripts/buildpack.mjs')
      const target = join(folder, builder)
      const output = execFileSync(process.execPath, [script, target, builder], {
        cwd: source,
        encoding: 'utf8',
      })
      const [weight = '', start = ''] = output.trim().split('\n').slice(-2)
      t.diagnostic(weight)
      assert.match(
        start,
        /^started by "node .*" as user \d+ on http:\S+: predicted setosa; exited with 0 after SIGTERM$/,
      )
      // The result contains this build's transform.js, and only runtime packages.
      assert.ok(readFileSync(join(target, 'model/transform.js'), 'utf8').includes('setosa'))
      assert.throws(() => readFileSync(join(target, 'node_modules/typescript/package.json')))
    })
})

describe('onnx-function build', () => {
  const inProject = (path: string) => join(project, path)
  const program = inProject('node_modules/onnx-function/build/main.js')
  const build = (...args: string[]) =>
    runNode(tools.node, [program, 'build', ...args], { cwd: project })

  test('bundles a JavaScript package, and reports a native package that it does not bundle', async () => {
    const pure = {
      'package.json': '{"name":"pure","version":"1.0.0","main":"index.js"}',
      'index.js': 'exports.double = x => x * 2',
    }
    mkdirSync(inProject('node_modules/pure'))
    for (const [file, text] of Object.entries(pure))
      writeFileSync(inProject(`node_modules/pure/${file}`), text)
    const source = `import { double } from 'pure'
import { InferenceSession } from 'onnxruntime-node'
export default { postprocess: () => [double(21), typeof InferenceSession.create] }`
    writeFileSync(inProject('own.mjs'), source)
    const { code, stdout, stderr } = await build('own.mjs', '--out', 'own.js')
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(
      stdout,
      /^own\.js: [\d.]+ kB; these packages are not bundled and must be in node_modules: onnxruntime-node\n$/,
    )
    rmSync(inProject('node_modules/pure'), { recursive: true })
    const script = "import('./own.js').then(own => console.log(own.default.postprocess().join()))"
    const ran = await runNode(tools.node, ['--eval', script], { cwd: project })
    assert.deepEqual([ran.stdout, ran.stderr], ['42,function\n', ''])
  })

  test('reports in one line that esbuild is not installed', async () => {
    const bare = join(folder, 'bare')
    mkdirSync(bare)
    writeFileSync(join(bare, 'transform.mjs'), 'export default { preprocess: x => x }')
    const { code, stderr } = await runNode(tools.node, [program, 'build', bare], { cwd: bare })
    assert.deepEqual(
      [code, stderr],
      [1, 'onnx-function: esbuild is not installed: npm i --save-dev esbuild\n'],
    )
  })

  test('writes a transform that responds like its source', async () => {
    assert.equal((await build()).code, 0)
    const server = await serve(['node', program], {
      cwd: project,
      node: tools.node,
      env: { PORT: '0', LISTEN_HOST: '127.0.0.1' },
    })
    const ask = async (petalWidth: number) => {
      const body = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth }
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(server.url, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      })
      return { status: answer.status, text: await answer.text() }
    }
    assert.match((await ask(0.2)).text, /"species":"setosa"/)
    const curl = await server.line(/^ {2}curl .*$/)
    assert.match(curl, /-d '\{"sepalLength":5\.1,/)
    const command = `${curl} --silent --fail`
    assert.match(execFileSync('sh', ['-c', command], { encoding: 'utf8' }), /"species":"setosa"/)
    const refused = await ask(-1)
    assert.equal(refused.status, 400)
    assert.match(refused.text, /petalWidth/)
    assert.equal(await server.stop(), 0)
  })
})
