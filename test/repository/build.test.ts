import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { builtinModules } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { checkNode } from '../../function/node-version.ts'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'
import { startReceiver } from '../telemetry/receiver.ts'

const run = (script: string, ...args: string[]) =>
  execFileSync(process.execPath, [script, ...args], { cwd: projectFolder, encoding: 'utf8' })

suite('a production tree', () => {
  let tree: string
  let size: number
  before(() => {
    run('scripts/build.mjs')
    tree = mkdtempSync(join(tmpdir(), 'production-'))
    size = Number(/: ([\d.]+) MB$/m.exec(run('scripts/production-tree.mjs', tree))?.[1])
  })
  after(() => rmSync(tree, { recursive: true }))

  /** The tree contains no files of the checkout. */
  async function start(env: Record<string, string>, script = 'start') {
    const [command, ...args] = JSON.parse(readFileSync(join(tree, 'package.json'), 'utf8')).scripts[
      script
    ].split(' ')
    const child = spawn(command === 'node' ? process.execPath : command, args, {
      cwd: tree,
      env: { PORT: '0', LISTEN_HOST: '127.0.0.1', KUBERNETES_SERVICE_HOST: 'none', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said: string[] = []
    child.stderr.on('data', chunk => said.push(String(chunk)))
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout })
        .on('line', line => {
          const { url } = JSON.parse(line)
          if (url !== undefined) resolve(url)
        })
        .once('close', () =>
          reject(new Error(`the process exited before it was ready: ${said.join('')}`)),
        )
    })
    return { url, child, said }
  }

  const read = (file: string) => readFileSync(join(tree, 'build', file), 'utf8')

  const request =
    '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'

  for (const execution of ['inline', 'worker']) {
    test(`serves requests, events, pages and metrics with EXECUTION=${execution}`, async () => {
      const { url, child } = await start({ EXECUTION: execution })
      try {
        const answer = await fetch(`${url}/v2/models/iris-classifier/infer`, {
          method: 'POST',
          body: Buffer.from(request),
        })
        assert.match(await answer.text(), /"setosa"/)
        const event = await fetch(url, {
          method: 'POST',
          headers: {
            'ce-id': '1',
            'ce-source': '/a',
            'ce-type': 'a.request',
            'ce-specversion': '1.0',
          },
          body: Buffer.from(request),
        })
        assert.deepEqual([event.status, event.headers.get('ce-type')], [200, 'a.response'])
        for (const [path, type] of [
          ['/docs', /html/],
          ['/openapi.json', /json/],
          ['/metrics', /text\/plain/],
        ] as const) {
          const page = await fetch(url + path)
          assert.equal(page.status, 200, path)
          assert.match(page.headers.get('content-type') ?? '', type)
        }
        child.kill('SIGTERM')
        assert.deepEqual(await once(child, 'exit'), [0, null])
      } finally {
        child.kill('SIGKILL')
      }
    })
  }

  test('also starts KServe\u2019s predictor, which serves V1, V2 and pages', async () => {
    const { url, child } = await start({}, 'start:predictor')
    try {
      const post = (path: string, body: string) =>
        fetch(url + path, { method: 'POST', body: Buffer.from(body) })
      assert.match(
        await (
          await post('/v1/models/iris-classifier:predict', '{"instances":[[5.1,3.5,1.4,0.2]]}')
        ).text(),
        /"setosa"/,
      )
      assert.match(
        await (await post('/v2/models/iris-classifier/infer', request)).text(),
        /"setosa"/,
      )
      assert.equal((await fetch(`${url}/docs`)).status, 200)
      child.kill('SIGTERM')
      assert.deepEqual(await once(child, 'exit'), [0, null])
    } finally {
      child.kill('SIGKILL')
    }
  })

  for (const script of ['start', 'start:predictor']) {
    test(`accepts absolute and invalid URLs as request targets, without a warning from Node: ${script}`, async () => {
      const { url, child, said } = await start({}, script)
      const statusOf = async (path: string) => {
        const [response] = (await once(get(url, { path, agent: false }), 'response')) as [
          IncomingMessage,
        ]
        response.resume()
        return response.statusCode
      }
      try {
        const statuses = await Promise.all(
          [
            'http://function/docs',
            'http://function/docs?a',
            'http://[::1',
            'https://a:99999/v2',
          ].map(statusOf),
        )
        // The server ignores the authority of a request target, like the Host header.
        assert.deepEqual(statuses, [200, 200, 200, 200])
        child.kill('SIGTERM')
        await once(child, 'close')
        assert.doesNotMatch(said.join(''), /Warning/)
      } finally {
        child.kill('SIGKILL')
      }
    })
  }
  test('pushes metrics and spans if an endpoint is set, with code that startup does not load', async () => {
    const receiver = await startReceiver()
    const { url, child } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
    try {
      await fetch(`${url}/v2/models/iris-classifier/infer`, {
        method: 'POST',
        body: Buffer.from(request),
      })
      child.kill('SIGTERM')
      assert.deepEqual(await once(child, 'exit'), [0, null])
      const counts = receiver.metrics
        .at(-1)
        ?.filter(({ name }) => name === 'inference_requests_total')
        .map(({ value }) => value)
      // There is one series per protocol and status.
      assert.deepEqual(counts, [1, 0, 0, 0, 0, 0])
      assert.equal(receiver.spans.length, 5)
    } finally {
      child.kill('SIGKILL')
      await receiver.close()
    }
    const files = new Set(['main.js'])
    for (const file of files)
      for (const [, imported] of read(file).matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g))
        files.add(imported as string)
    assert.ok(
      readdirSync(join(tree, 'build')).some(
        file => file.startsWith('push-') && /OTLP/.test(read(file)),
      ),
    )
    for (const file of files) assert.doesNotMatch(read(file), /OTLPExporter/, file)
  })

  test('loads no module of Node with an ES import, which would read all exports of the module', () => {
    const imported = new RegExp(
      `(?:from|import\\(?)\\s*"(?:node:)?(?:${builtinModules.join('|')})"`,
    )
    for (const file of readdirSync(join(tree, 'build')).filter(name => name.endsWith('.js')))
      assert.doesNotMatch(read(file), imported, file)
  })

  test('contains both versions of the model, and the library of only this platform', () => {
    assert.deepEqual(readdirSync(join(tree, 'models/iris')).sort(), ['v1.0.0', 'v2.0.0'])
    assert.deepEqual(readdirSync(join(tree, 'node_modules')), ['onnxruntime-node'])
    assert.deepEqual(readdirSync(join(tree, 'node_modules/onnxruntime-node/bin/napi-v6')), [
      process.platform,
    ])
  })

  test('is at most 60 MB', () => {
    assert.ok(size <= 60, `${size} MB`)
  })

  suite('reports in one line', () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'lacking-'))
      cpSync(tree, folder, { recursive: true })
      rmSync(join(folder, 'node_modules'), { recursive: true })
    })
    after(() => rmSync(folder, { recursive: true }))

    /** The script exits with status 1. */
    function saidBy(script: 'start' | 'start:predictor'): string {
      const [, ...args] = manifest.scripts[script].split(' ')
      const env = { PORT: '0', LISTEN_HOST: '127.0.0.1' }
      const child = spawnSync(process.execPath, args, { cwd: folder, env, encoding: 'utf8' })
      assert.deepEqual([child.status, child.stderr], [1, ''])
      return JSON.parse(child.stdout).msg
    }

    test('a missing dependency', () => {
      assert.match(saidBy('start'), /^onnxruntime-node\S+ is missing; run "npm ci"/)
    })

    test('a Node version that is too old', () => {
      for (const old of ['18.20.8', '20.20.2', '22.17.1'])
        assert.throws(
          () => checkNode(old),
          new RegExp(`^Error: Node ${old} is too old: Node 22.18 or`),
        )
      for (const node of ['22.18.0', manifest.devDependencies.node, '26.0.0']) checkNode(node)
    })

    test('a Node version without process.getBuiltinModule, in the first line of every file', () => {
      const files = readdirSync(join(tree, 'build')).filter(name => /^[^.]+\.js$/.test(name))
      // The imports of a file run before the file.
      const firstOf = (file: string): string => {
        const [, imported] = /^(?:#!.*\n)?import[^;]*"\.\/([^"]+)"/.exec(read(file)) ?? []
        return imported === undefined ? file : firstOf(imported)
      }
      for (const file of files)
        assert.match(read(firstOf(file)), /^process\.getBuiltinModule\|\|/, file)
    })

    for (const script of ['start', 'start:predictor'] as const) {
      test(`a missing build: ${script}`, () => {
        const file = join(folder, manifest.scripts[script].split(' ').at(-1) as string)
        rmSync(file)
        assert.ok(saidBy(script).startsWith(`${file} is missing: make it with "npm run build"`))
      })
    }
  })
})

test('npm run prepare succeeds and changes nothing if the bundler is missing', t => {
  const folder = mkdtempSync(join(tmpdir(), 'no-bundler-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const script = join(folder, 'build.mjs')
  execFileSync('cp', [join(projectFolder, 'scripts/build.mjs'), script])
  execFileSync(process.execPath, [script], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] })
  assert.deepEqual(readdirSync(folder), ['build.mjs'])
})
