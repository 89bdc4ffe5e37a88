import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { NODES, type NodeName, pack, projectFolder, runNode, runTool, serve } from './run.ts'

/* The tarball of npm pack: its files, the findings of package linters, and its installation. */

const folder = mkdtempSync(join(tmpdir(), 'package-'))
after(() => rmSync(folder, { recursive: true }))

const manifest = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8'))

let tarball: string
let files: readonly string[]
before(() => {
  ;({ tarball, files } = pack(folder))
})

describe('the tarball', () => {
  test('contains only programs, type declarations, a locale and an example', () => {
    const allowed = [
      /^(LICENSE|README\.md|package\.json)$/,
      /^build\/[^.]+\.js$/,
      /^build\/types\/function\/[\w/-]+\.d\.ts$/,
      /^build\/locale\/en_US\.utf8\//,
      /^models\/iris\/v1\.0\.0\/model\.(onnx|json)$/,
    ]
    assert.deepEqual(
      files.filter(path => !allowed.some(pattern => pattern.test(path))),
      [],
    )
    for (const path of ['main', 'package', 'index', 'predictor', 'worker', 'measure'])
      assert.ok(files.includes(`build/${path}.js`), path)
    assert.ok(!files.includes('build/consumer.js'))
  })

  test('is smaller than 1 MB', t => {
    const { size } = statSync(tarball)
    t.diagnostic(`${size} bytes, ${files.length} files`)
    assert.ok(size < 1e6, `${size} bytes`)
  })

  test('has no install scripts, and depends only on ONNX Runtime', () => {
    for (const script of ['preinstall', 'install', 'postinstall'])
      assert.equal(manifest.scripts[script], undefined)
    assert.deepEqual(Object.keys(manifest.dependencies), ['onnxruntime-node'])
  })

  test('has type declarations without problems, according to arethetypeswrong', async () => {
    const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball)))
    assert.ok(analysis.types !== false)
    // The package has only ES modules: resolvers without exports, and require(), are not supported.
    const notOurs = ['node10', 'node16-cjs']
    assert.deepEqual(
      analysis.problems.filter(
        problem => !('resolutionKind' in problem && notOurs.includes(problem.resolutionKind)),
      ),
      [],
    )
  })
})

for (const npm of ['npm-10', 'npm-11'] as const) {
  describe(`installed by ${npm} into an empty folder, on Node ${NODES['node-least']}`, () => {
    const tools = { npm, node: 'node-least' } as const
    const cwd = mkdtempSync(join(folder, `${npm}-`))
    const iris = join(projectFolder, 'models/iris/v1.0.0/model.onnx')
    before(async () => {
      writeFileSync(join(cwd, 'model.onnx'), readFileSync(iris))
      const env = { ONNXRUNTIME_NODE_INSTALL: 'skip' }
      const installed = await runTool(tools, 'npm-cli.js', ['install', tarball], { cwd, env })
      assert.equal(installed.code, 0, installed.stderr)
    })

    test('npx serves a model, and prints its URL and a working curl command', async () => {
      const { code, stdout } = await runTool(tools, 'npx-cli.js', ['onnx-function', '--version'], {
        cwd,
      })
      assert.deepEqual([code, stdout.trim()], [0, manifest.version])
      const program = join(cwd, 'node_modules/.bin/onnx-function')
      const server = await serve([program, 'model.onnx', '--port', '0'], { cwd, node: tools.node })
      try {
        const curl = await server.line(/^ {2}curl .*$/)
        const answered = execFileSync('sh', ['-c', `${curl} --silent --fail`], { encoding: 'utf8' })
        assert.deepEqual(JSON.parse(answered).outputs[1].shape, [1])
      } finally {
        assert.equal(await server.stop(), 0)
      }
    })

    test('each command prints its help, and a wrong argument is reported in one line', async () => {
      const program = join(cwd, 'node_modules/.bin/onnx-function')
      const command = (...args: string[]) => runNode(tools.node, [program, ...args], { cwd })
      for (const args of [
        ['--help'],
        ...['serve', 'check', 'types', 'build', 'init', 'conformance'].map(command => [
          command,
          '--help',
        ]),
      ]) {
        const { code, stdout } = await command(...args)
        assert.equal(code, 0)
        assert.match(
          stdout,
          new RegExp(`\\n {2}onnx-function \\[?${args.length > 1 ? args[0] : 'serve'}\\b`),
        )
      }
      for (const args of [
        ['chek'],
        ['model.onnx', 'other.onnx'],
        ['--prot', '1'],
        ['check'],
        ['init'],
      ]) {
        const { code, stderr } = await command(...args)
        assert.equal(code, 2, args.join(' '))
        assert.match(stderr, /^onnx-function: [^\n]+; see --help\n$/)
      }
    })

    test('publint finds no problem', async () => {
      const pkgDir = join(cwd, 'node_modules/onnx-function')
      const { messages } = await publint({ pkgDir, strict: true, pack: false })
      assert.deepEqual(messages, [])
    })

    test('checks a model, tests a server’s conformance, and starts KServe’s predictor', async () => {
      const program = join(cwd, 'node_modules/onnx-function/build/main.js')
      const checked = await runNode(tools.node, [program, 'check', 'model.onnx', '--json'], { cwd })
      assert.deepEqual([checked.code, JSON.parse(checked.stdout).ok], [0, true])
      const predictor = join(cwd, 'node_modules/onnx-function/build/predictor.js')
      const args = ['--model_dir', 'model.onnx', '--model_name', 'iris', '--http_port', '0']
      const server = await serve(['node', predictor, ...args], { cwd, node: tools.node })
      const suite = ['conformance', '--url', server.url, '--model', 'iris', '--only', 'health*']
      const asked = await runNode(tools.node, [program, ...suite], { cwd })
      assert.equal(asked.code, 0, asked.stdout)
      assert.equal(await server.stop(), 0)
    })
  })
}

describe('a Node version that is too old', () => {
  const cwd = mkdtempSync(join(folder, 'old-'))
  before(async () => {
    const args = ['install', '--ignore-scripts', tarball]
    const { code, stderr } = await runTool(
      { npm: 'npm-11', node: 'node-least' },
      'npm-cli.js',
      args,
      { cwd },
    )
    assert.equal(code, 0, stderr)
  })

  for (const node of ['node-20', 'node-18'] as const satisfies readonly NodeName[]) {
    for (const [what, args] of [
      ['serves a model', []],
      ['runs a command', ['check', 'model.onnx']],
    ] as const) {
      test(`prints one line when Node ${NODES[node]} ${what}`, async () => {
        const program = join(cwd, 'node_modules/.bin/onnx-function')
        const { code, stdout, stderr } = await runNode(node, [program, ...args], { cwd })
        assert.equal(code, 1)
        assert.match(
          stdout + stderr,
          new RegExp(
            `^[^\\n]*Node ${NODES[node]} is too old: Node 22\\.18 or later is required[^\\n]*\\n$`,
          ),
        )
      })
    }
  }
})
