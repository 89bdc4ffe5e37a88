import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { before, describe, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { VARIABLES } from '../../function/config/variables.ts'
import manifest from '../../package.json' with { type: 'json' }
import { IRIS, readMetrics, SLOW, slowBody, until } from '../http/client.ts'
import { TEXT_MODEL } from '../inference/text-model.ts'
import { projectFolder, testModel } from '../server.ts'
import { largeBodies } from './bodies.ts'
import {
  buildImage,
  type Container,
  execIn,
  FOREIGN,
  type Limits,
  NATIVE,
  remove,
  requireTools,
  run,
  signal,
  standIn,
  startContainer,
} from './engine.ts'

const LIMITS: Limits = { cpus: 1, memory: '512m' }
const MIB = 2 ** 20
const compose = parse(readFileSync(join(projectFolder, 'compose.yaml'), 'utf8'))

interface Inspected {
  readonly Architecture: string
  readonly Config: {
    readonly User: string
    readonly Entrypoint: readonly string[]
    readonly Cmd: readonly string[]
    readonly Env: readonly string[]
    readonly Labels: Readonly<Record<string, string>>
  }
  readonly RootFS: { readonly Layers: readonly string[] }
}

async function inspect(image: string): Promise<Inspected> {
  const [inspected] = JSON.parse(await run('podman', 'image', 'inspect', image))
  return inspected
}

const filesBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)))

/** The sizes of all files in /app by path. Mounts the image without running it. */
async function filesIn(image: string): Promise<Map<string, number>> {
  const root = await run('podman', 'image', 'mount', image)
  const lines = (
    await run('find', join(root, 'app'), '-type', 'f', '-printf', '/app/%P %s\n')
  ).split('\n')
  await run('podman', 'image', 'unmount', image)
  return new Map(
    lines
      .map(line => line.split(' ') as [string, string])
      .map(([path, size]) => [path, Number(size)]),
  )
}

before(async () => {
  requireTools()
  await run(process.execPath, 'scripts/build.mjs')
})

for (const architecture of [NATIVE, FOREIGN]) {
  describe(`the image for ${architecture}`, () => {
    let image: string
    let files: Map<string, number>
    before(async () => {
      image = await buildImage(architecture)
      files = await filesIn(image)
    })

    test('has this architecture and the layers of its base image, runs Node as a numeric user, and has a version label', async () => {
      const { Architecture, Config, RootFS } = await inspect(image)
      assert.equal(Architecture, architecture)
      const base = await inspect(standIn(architecture))
      assert.deepEqual(RootFS.Layers.slice(0, base.RootFS.Layers.length), base.RootFS.Layers)
      assert.match(Config.User, /^[1-9]\d+:[1-9]\d+$/)
      assert.equal([...Config.Entrypoint, ...Config.Cmd].join(' '), manifest.scripts.start)
      assert.equal(Config.Labels['org.opencontainers.image.version'], manifest.version)
      assert.match(Config.Labels['org.opencontainers.image.revision'] as string, /^[0-9a-f]{40}$/)
      assert.ok(Config.Env.includes('NODE_ENV=production'))
    })

    test('contains the build, both model versions, and ONNX Runtime’s files for only this architecture', t => {
      const arch = architecture === 'amd64' ? 'x64' : 'arm64'
      const runtime = '/app/node_modules/onnxruntime-node'
      const others = [...files.keys()].filter(path => !path.startsWith('/app/build/')).sort()
      assert.deepEqual(others, [
        '/app/LICENSE',
        '/app/models/iris/v1.0.0/model.json',
        '/app/models/iris/v1.0.0/model.onnx',
        '/app/models/iris/v2.0.0/model.json',
        '/app/models/iris/v2.0.0/model.onnx',
        `${runtime}/bin/napi-v6/linux/${arch}/libonnxruntime.so.1`,
        `${runtime}/bin/napi-v6/linux/${arch}/onnxruntime_binding.node`,
        `${runtime}/package.json`,
        '/app/package.json',
      ])
      const built = [...files.keys()]
        .filter(path => path.startsWith('/app/build/'))
        .map(path => path.slice('/app/build/'.length))
      const here = filesBelow(join(projectFolder, 'build')).filter(
        path => !IS_FOR_CLONES.test(path),
      )
      assert.deepEqual(built.map(nameOf).sort(), here.map(nameOf).sort())
      const total = [...files.values()].reduce((sum, size) => sum + size, 0)
      t.diagnostic(`${architecture}: ${files.size} files, ${(total / 1e6).toFixed(1)} MB in /app`)
      assert.ok(total < 60e6, `${total} bytes`)
    })

    test('has a layer of a few megabytes for the files that a release changes', async t => {
      const history: Layer[] = JSON.parse(await run('podman', 'history', '--format', 'json', image))
      const layers = history
        .filter(({ size }) => size > 0)
        .map(({ size, CreatedBy }) => ({ size, made: instruction(CreatedBy) }))
      for (const { size, made } of layers)
        t.diagnostic(`${architecture}: ${(size / 1e6).toFixed(1).padStart(6)} MB  ${made}`)
      const build = layers.find(({ made }) => made === 'COPY … in build')
      assert.ok(build !== undefined && build.size < 10e6, `${build?.size} bytes`)
    })
  })
}

/** Files that images lack: those that report a missing build, and type declarations. */
const IS_FOR_CLONES = /\.js\.js$|^types\//

/**
 * A chunk's name without its hash, which depends on whether the build contains the project
 * template.
 */
const nameOf = (path: string) => path.replace(/-[A-Z0-9]{8}(?=\.js)/, '')

interface Layer {
  readonly size: number
  readonly CreatedBy: string
}

/**
 * The instruction of the Dockerfile that made a layer. Buildah replaces its file names with a
 * checksum.
 */
function instruction(createdBy: string): string {
  const [, made] = /^\/bin\/sh -c #\(nop\) (.*)$/s.exec(createdBy) ?? []
  return made?.replace(/(file|dir|multi):\w+/, '…').trim() ?? 'the substitute for the base'
}

describe('a container', () => {
  let image: string
  before(async () => {
    image = await buildImage(NATIVE)
  })

  async function start(t: TestContext, ...options: string[]): Promise<Container> {
    const container = await startContainer(image, LIMITS, { options })
    t.after(() => remove(container))
    return container
  }

  test('with a read-only root, no capabilities, 512 MiB and one CPU responds to the README’s curl as documented', async t => {
    const { url } = await start(t)
    const [, command, answer] = /```sh\n(curl \S+\/infer .*?)```\s+```json\n(.*?)```/s.exec(
      readFileSync(join(projectFolder, 'README.md'), 'utf8'),
    ) as RegExpExecArray
    const { stdout } = await promisify(execFile)('bash', [
      '-c',
      (command as string).replace('http://localhost:8080', url),
    ])
    t.diagnostic(stdout)
    assert.deepEqual(JSON.parse(stdout), JSON.parse(answer as string))
  })

  test('has all restrictions, and cannot write to any folder', async t => {
    const container = await start(t)
    const status = execIn(container, 'cat', '/proc/1/status').stdout
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1]
    assert.equal(
      execIn(container, 'cat', '/proc/1/cmdline').stdout,
      'node\0--max-semi-space-size=16\0build/main.js\0',
    )
    assert.deepEqual(
      [
        field('Uid'),
        field('Gid'),
        field('CapEff'),
        field('CapBnd'),
        field('NoNewPrivs'),
        field('Seccomp'),
      ],
      ['10001', '10001', '0000000000000000', '0000000000000000', '1', '2'],
    )
    const limit =
      'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'
    assert.equal(Number(execIn(container, 'sh', '-c', limit).stdout), 512 * MIB)
    for (const path of ['/app/x', '/tmp/x', '/var/tmp/x', '/etc/x', '/x']) {
      const write = execIn(
        container,
        'node',
        '--eval',
        `require('node:fs').writeFileSync('${path}', '')`,
      )
      assert.match(write.stderr, /EROFS/, path)
    }
  })

  test('completes the requests in flight after SIGTERM, and exits with 0', async t => {
    const model = [
      '--volume',
      `${testModel('slow')}:/mnt/models:ro`,
      '--env',
      'MODEL_DIR=/mnt/models',
      '--env',
      'MAX_BATCH_ROWS=1',
    ]
    const container = await start(t, ...model)
    // The requests run one after another, so that some still wait when the metrics are read, even
    // on a slow machine.
    const answers = Array.from({ length: 8 }, () =>
      fetch(container.url + SLOW, { method: 'POST', body: Buffer.from(slowBody()) }),
    )
    await until('all requests have arrived and some have no response yet', async () => {
      const metrics = readMetrics(await text(`${container.url}/metrics`))
      const inFlight = metrics.get('inference_requests_in_flight') as number
      const answered =
        [...metrics].find(([series]) => series.startsWith('inference_requests_total{'))?.[1] ?? 0
      return inFlight > 0 && inFlight + answered === answers.length
    })
    await signal(container, 'SIGTERM')
    for (const answer of answers) assert.equal((await answer).status, 200)
    assert.equal(await container.exited, 0)
    assert.deepEqual(
      container.log.slice(-2).map(line => JSON.parse(line).msg),
      ['draining', 'drained'],
    )
  })

  for (const [name, script] of Object.entries(manifest.scripts).filter(([name]) =>
    /^start(:|$)/.test(name),
  )) {
    test(`starts with the arguments of the npm script ${name}`, async t => {
      const container = await startContainer(image, LIMITS, { words: script.split(' ').slice(1) })
      t.after(() => remove(container))
      assert.equal((await fetch(`${container.url}/v2/health/ready`)).status, 200)
    })
  }

  test('serves the model version in MODEL_DIR', async t => {
    const { url } = await start(t, '--env', 'MODEL_DIR=models/iris/v2.0.0')
    const { versions } = JSON.parse(await text(`${url}/v2/models/iris-classifier`))
    assert.deepEqual(versions, ['v2.0.0'])
  })

  test('runs a text model although the slim image lacks the model’s locale', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'text-model-'))
    t.after(() => rmSync(folder, { recursive: true }))
    chmodSync(folder, 0o755)
    writeFileSync(join(folder, 'model.onnx'), TEXT_MODEL)
    const { url } = await start(
      t,
      ...['--volume', `${folder}:/mnt/text:ro`, '--env', 'MODEL_DIR=/mnt/text'],
    )
    const answer = await fetch(`${url}/v2/models/text/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["HÉLLO","ΣΑΣ"]}]}',
    })
    const { outputs } = JSON.parse(await answer.text())
    assert.deepEqual(outputs[0].data, ['héllo', 'σασ'])
  })

  test('passes compose.yaml’s health check when it is ready; the check of an unused port fails', async t => {
    const [kind, ...command] = compose.services.function.healthcheck.test as string[]
    assert.equal(kind, 'CMD')
    const container = await start(t)
    const { port } = new URL(container.url)
    const check = (port: string) =>
      execIn(container, ...command.map(word => word.replace('localhost:8080', `localhost:${port}`)))
        .status
    assert.deepEqual([check(port), check('1')], [0, 1])
  })

  const { environment = {}, mem_limit, cpus } = compose.services.function
  const largest = Number(environment.MAX_BODY_BYTES ?? VARIABLES.MAX_BODY_BYTES.default)
  for (const [name, make] of Object.entries(largeBodies(largest))) {
    test(`survives 16 concurrent bodies of the maximum size within compose.yaml’s limits: ${name}`, async t => {
      assert.deepEqual({ cpus, memory: mem_limit }, LIMITS)
      const container = await start(t, '--env', `MAX_BODY_BYTES=${largest}`)
      const { path = IRIS, headers, body } = make()
      assert.ok(body.length <= largest)
      const statuses = await Promise.all(
        Array.from({ length: 16 }, async () => {
          const answer = await fetch(container.url + path, { method: 'POST', headers, body })
          await answer.arrayBuffer()
          return answer.status
        }),
      )
      const counted = [...new Set(statuses)]
        .sort()
        .map(status => `${statuses.filter(other => other === status).length} times ${status}`)
      t.diagnostic(`16 bodies of ${body.length} bytes: ${counted.join(', ')}`)
      assert.ok(statuses.every(status => [200, 400, 413, 415, 503].includes(status)))
      assert.ok(statuses.some(status => status !== 503))
      assert.equal((await fetch(`${container.url}/v2/health/ready`)).status, 200)
    })
  }

  test('that cannot start logs the reason in one line and exits with 1', async () => {
    const ended = run(
      'podman',
      'run',
      '--rm',
      '--read-only',
      '--network',
      'none',
      '--ulimit',
      'nofile=4096:4096',
      '--ulimit',
      'nproc=4096:4096',
      '--env',
      'MODEL_DIR=/none',
      image,
    )
    await assert.rejects(ended, (error: { code: number; stdout: string }) => {
      assert.match(error.stdout, /^[^\n]*no model: MODEL_DIR[^\n]*\n$/)
      return error.code === 1
    })
  })
})

const text = async (url: string) => (await fetch(url)).text()
