import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import { placesIn } from '../../scripts/pin/places.ts'
import { parseImage } from '../../scripts/pin/registry.ts'
import { projectFolder } from '../server.ts'

const platform = (architecture: string) => ({
  digest: 'sha256:0',
  platform: { os: 'linux', architecture },
})
const INDEX = JSON.stringify({
  schemaVersion: 2,
  manifests: [platform('amd64'), platform('arm64')],
})
const ONE_ARCHITECTURE = JSON.stringify({ schemaVersion: 2, config: {}, layers: [] })
const digestOf = (body: string) => `sha256:${createHash('sha256').update(body).digest('hex')}`

interface Scripted {
  readonly status?: number
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A registry that gives a token to whoever asks as its challenge says, and answers each `repository:tag` as it is told. */
async function registry(t: TestContext, answers: Readonly<Record<string, Scripted>>) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', address)
    asked.push(`${request.method} ${url.pathname}`)
    if (url.pathname === '/token') {
      const { service, scope } = Object.fromEntries(url.searchParams)
      response.end(JSON.stringify({ token: `for ${service} ${scope}` }))
      return
    }
    const [, repository, tag] = /^\/v2\/(.*)\/manifests\/(.*)$/.exec(url.pathname) ?? []
    const scope = `repository:${repository}:pull`
    if (request.headers.authorization !== `Bearer for scripted ${scope}`) {
      const challenge = `Bearer realm="${address}/token",service="scripted",scope="${scope}"`
      response
        .writeHead(401, { 'www-authenticate': challenge })
        .end('{"errors":[{"code":"UNAUTHORIZED"}]}')
      return
    }
    assert.match(request.headers.accept ?? '', /application\/vnd\.oci\.image\.index\.v1\+json/)
    const {
      status = 200,
      body = '',
      headers = {},
    } = answers[`${repository}:${tag}`] ?? { status: 404 }
    response.writeHead(status, headers).end(body)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const address = `http://${host}`
  return { host, asked }
}

/** Runs the command in a folder of these files. */
function project(t: TestContext, files: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'pin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return {
    read: (path: string) => readFileSync(join(folder, path), 'utf8'),
    async pin(...args: string[]) {
      const child = spawn(process.execPath, [join(projectFolder, 'scripts/pin/run.ts'), ...args], {
        cwd: folder,
      })
      const [output, errors] = await Promise.all([
        child.stdout.setEncoding('utf8').toArray(),
        child.stderr.setEncoding('utf8').toArray(),
      ])
      const code = child.exitCode ?? (await once(child, 'exit'))[0]
      return { code, output: output.join(''), errors: errors.join('') }
    },
  }
}

const dockerfile = (image: string, digest = '') =>
  `ARG BASE=${image}\n# Why.\nARG BASE_DIGEST=${digest}\nFROM \${BASE}\n`

suite('npm run pin', { concurrency: true }, () => {
  test('writes the digest of what the registry sends, by a token that it is told to fetch', async t => {
    const { host, asked } = await registry(t, {
      'library/node:24': { body: INDEX },
      'prom/prometheus:v3': { body: ONE_ARCHITECTURE },
    })
    const { pin, read } = project(t, {
      Dockerfile: dockerfile(`${host}/library/node:24`),
      'compose.yaml': `services:\n  prometheus:\n    image: ${host}/prom/prometheus:v3 # why\n`,
      '.github/workflows/check.yml': `jobs:\n  test:\n    container:\n      image: "${host}/library/node:24"\n    env:\n      BUILDKIT_IMAGE: ${host}/prom/prometheus:v3\n`,
    })
    const { code, output, errors } = await pin()
    assert.equal(code, 0, errors)
    assert.match(output, /Written: \.github\/workflows\/check\.yml, Dockerfile, compose\.yaml/)
    assert.equal(read('Dockerfile'), dockerfile(`${host}/library/node:24`, digestOf(INDEX)))
    assert.match(
      read('compose.yaml'),
      new RegExp(`image: ${host}/prom/prometheus:v3@${digestOf(ONE_ARCHITECTURE)} # why\n`),
    )
    assert.match(
      read('.github/workflows/check.yml'),
      new RegExp(`image: "${host}/library/node:24@${digestOf(INDEX)}"`),
    )
    assert.match(
      read('.github/workflows/check.yml'),
      new RegExp(`BUILDKIT_IMAGE: ${host}/prom/prometheus:v3@${digestOf(ONE_ARCHITECTURE)}\n`),
    )
    assert.deepEqual(asked.filter(line => line === 'GET /token').length, 2)
    assert.match((await pin()).output, /Nothing has changed/)
    assert.equal((await pin('--check')).code, 0)
  })

  test('follows a tag that has moved; with --check it only tells of it', async t => {
    const { host } = await registry(t, { 'library/node:24': { body: INDEX } })
    const old = digestOf('old')
    const { pin, read } = project(t, { Dockerfile: dockerfile(`${host}/library/node:24`, old) })
    const checked = await pin('--check')
    assert.deepEqual(
      [checked.code, read('Dockerfile')],
      [1, dockerfile(`${host}/library/node:24`, old)],
    )
    assert.match(checked.output, new RegExp(`${old} has moved: ${digestOf(INDEX)}`))
    assert.equal((await pin()).code, 0)
    assert.equal(read('Dockerfile'), dockerfile(`${host}/library/node:24`, digestOf(INDEX)))
  })

  const REFUSALS: readonly {
    readonly where: string
    readonly answer: Scripted
    readonly says: RegExp
  }[] = [
    {
      where: 'knows no such tag',
      answer: { status: 404 },
      says: /answered 404: there is no such image or tag/,
    },
    {
      where: 'was asked too often',
      answer: { status: 429, headers: { 'retry-after': '60' } },
      says: /answered 429: it was asked too often; try again in 60 s/,
    },
    {
      where: 'shows it not to everybody',
      answer: { status: 403 },
      says: /answered 403: it is not for everybody, or not there/,
    },
    { where: 'is broken', answer: { status: 502 }, says: /answered 502$/m },
    { where: 'sends a page', answer: { body: '<html>' }, says: /sent no JSON/ },
    {
      where: 'sends something else',
      answer: { body: '{}' },
      says: /sent neither an index nor a manifest/,
    },
    {
      where: 'sends what does not have the digest it says',
      answer: { body: INDEX, headers: { 'docker-content-digest': digestOf('another') } },
      says: new RegExp(`says ${digestOf('another')}, and sent what is ${digestOf(INDEX)}`),
    },
    {
      where: 'has the base for one architecture',
      answer: { body: ONE_ARCHITECTURE },
      says: /has no image for linux\/amd64 and linux\/arm64/,
    },
  ]
  for (const { where, answer, says } of REFUSALS) {
    test(`writes nothing, of any image, where a registry ${where}`, async t => {
      const { host } = await registry(t, {
        'library/node:24': answer,
        'prom/prometheus:v3': { body: INDEX },
      })
      const files = {
        Dockerfile: dockerfile(`${host}/library/node:24`),
        'compose.yaml': `image: ${host}/prom/prometheus:v3\n`,
      }
      const { pin, read } = project(t, files)
      const { code, errors } = await pin()
      assert.equal(code, 1)
      assert.match(errors, says)
      assert.match(errors, /Nothing was written/)
      for (const [path, text] of Object.entries(files)) assert.equal(read(path), text)
    })
  }

  test('says which registry cannot be reached', async t => {
    // A port that was free a moment ago.
    const server = createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await once(server.close(), 'close')
    const { code, errors } = await project(t, {
      Dockerfile: dockerfile(`127.0.0.1:${port}/library/node:24`),
    }).pin()
    assert.equal(code, 1)
    assert.match(
      errors,
      new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached: connect ECONNREFUSED`),
    )
  })
})

suite('an image', () => {
  for (const [reference, ...parts] of [
    ['node:24', 'registry-1.docker.io', 'library/node', '24'],
    [
      'docker.io/library/node:24.21.0-bookworm-slim',
      'registry-1.docker.io',
      'library/node',
      '24.21.0-bookworm-slim',
    ],
    ['prom/prometheus:v3.16.0', 'registry-1.docker.io', 'prom/prometheus', 'v3.16.0'],
    ['gcr.io/knative-releases/a/b:v1', 'gcr.io', 'knative-releases/a/b', 'v1'],
    ['localhost:5000/a:b', 'localhost:5000', 'a', 'b'],
  ] as const) {
    test(`${reference} is of ${parts[0]}`, () =>
      assert.deepEqual(Object.values(parseImage(reference)), parts))
  }

  test('that is built here or is a placeholder, or has no tag, is not pinned', () => {
    const text =
      'image: ghcr.io/example/onnx-function:0.1.0\nimage: dev.local/a:1\nimage: node\nimage: $OTHER\n'
    assert.deepEqual(placesIn('compose.yaml', text), [])
  })
})

test('this project’s own images are found: the base, and Prometheus and Grafana beside it', () => {
  const found = ['Dockerfile', 'compose.yaml'].flatMap(path =>
    placesIn(path, readFileSync(join(projectFolder, path), 'utf8')),
  )
  assert.deepEqual(
    found.map(({ image }) => image.split(':')[0]),
    ['docker.io/library/node', 'prom/prometheus', 'grafana/grafana'],
  )
})
