import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { PROJECT, parse } from './sources.ts'

const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'))
const IMAGE = `registry.example.com/team/onnx-function@sha256:${'0123456789abcdef'.repeat(4)}`
const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64'

suite('the folder of release files', () => {
  let copy = ''
  const assets = (path = '') => join(copy, 'assets', path)
  const make = () =>
    execFileSync(process.execPath, ['scripts/release/assets.ts', 'assets', IMAGE], {
      cwd: copy,
      stdio: ['ignore', 'pipe', 'inherit'],
    })

  before(() => {
    copy = mkdtempSync(join(tmpdir(), 'assets-'))
    const parts = [
      'build',
      'knative',
      'kserve',
      'kubernetes',
      'models',
      'scripts/release',
      'scripts/sbom.mjs',
      'scripts/shipped.mjs',
      'scripts/production-tree.mjs',
    ]
    for (const part of [...parts, 'LICENSE', 'package.json', 'package-lock.json']) {
      mkdirSync(join(copy, part, '..'), { recursive: true })
      cpSync(join(PROJECT, part), join(copy, part), { recursive: true })
    }
    symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
    writeFileSync(
      join(copy, 'CHANGELOG.md'),
      `# Changelog\n\n## Unreleased\n\n- Later.\n\n## ${version} - 2026-01-01\n\n- Now.\n`,
    )
    make()
  })
  after(() => rmSync(copy, { recursive: true }))

  test('matches its checksums, which sha256sum can read', () => {
    const checked = execFileSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], {
      cwd: assets(),
      encoding: 'utf8',
    })
    const files = readdirSync(assets()).filter(file => file !== 'SHA256SUMS')
    assert.equal(
      checked,
      files
        .sort()
        .map(file => `${file}: OK\n`)
        .join(''),
    )
    assert.equal(files.length, 6)
  })

  test('is the same, byte for byte, when it is written again', () => {
    const first = readFileSync(assets('SHA256SUMS'), 'utf8')
    make()
    // npm gives each bill of materials a new serial number and time.
    const withoutBill = (sums: string) =>
      sums.split('\n').filter(line => !line.endsWith('.cdx.json'))
    assert.deepEqual(withoutBill(readFileSync(assets('SHA256SUMS'), 'utf8')), withoutBill(first))
  })

  test('contains manifests that run only the released image, by its digest', () => {
    for (const file of readdirSync(assets()).filter(file => file.endsWith('.yaml'))) {
      const text = readFileSync(assets(file), 'utf8')
      const images = [...text.matchAll(/\bimage: (\S+)/g)].map(([, image]) => image)
      assert.ok(images.length > 0 && images.every(image => image === IMAGE), file)
      assert.ok(parse(text, file).length > 0)
    }
  })

  test('has the notes of this version', () => {
    assert.match(
      readFileSync(join(copy, 'assets.md'), 'utf8'),
      /^- Now\.\n\nThe image is `registry\.example\.com\/team\/onnx-function@sha256:/,
    )
  })

  test('contains a tree that starts and reports this version', async t => {
    const tree = `onnx-function-${version}-linux-${ARCHITECTURE}`
    execFileSync('tar', ['-xzf', assets(`${tree}.tar.gz`), '-C', copy])
    const server = spawn(process.execPath, ['build/main.js'], {
      cwd: join(copy, tree),
      env: { PORT: '0', LISTEN_HOST: '127.0.0.1' },
    })
    t.after(() => server.kill('SIGKILL'))
    let url: string | undefined
    for await (const line of createInterface({ input: server.stdout })) {
      url = /http:\/\/127\.0\.0\.1:\d+|http:\/\/localhost:\d+/.exec(line)?.[0]
      if (url !== undefined) break
    }
    const metadata = (await (await fetch(`${url}/v2`)).json()) as { version: string }
    assert.equal(metadata.version, version)
    server.kill()
    await once(server, 'exit')
  })
})
