import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

/** The Dockerfile without comments, and with each instruction on one line. */
const instructions = readFileSync(join(projectFolder, 'Dockerfile'), 'utf8')
  .replaceAll(/\\\n\s*/g, ' ')
  .split('\n')
  .filter(line => /^[A-Z]/.test(line))
const stages = instructions.flatMap((line, index) => (line.startsWith('FROM ') ? [index] : []))
const final = instructions.slice(stages.at(-1))
const argumentsOf = (name: string, from = instructions) =>
  from.filter(line => line.startsWith(`${name} `)).map(line => line.slice(name.length + 1))

describe('the Dockerfile', () => {
  test('uses the exact Node version of the tests', () => {
    const [base = '', digest] = (argumentsOf('ARG')[0] as string).split('@')
    assert.equal(base, `BASE=docker.io/library/node:${manifest.devDependencies.node}-bookworm-slim`)
    assert.match(digest ?? '', /^(sha256:[0-9a-f]{64})?$/)
  })

  test('uses the same base image in every stage, so that one digest pins all stages', () => {
    for (const from of argumentsOf('FROM'))
      assert.match(from, /^--platform=\$(BUILD|TARGET)PLATFORM \$\{BASE\}( |$)/)
  })

  test('installs the packages of the lock file without running their install scripts', () => {
    assert.match(argumentsOf('RUN')[0] as string, / npm ci --ignore-scripts$/)
  })

  test('runs no commands in the final stage, so that a build for another architecture needs no emulation', () => {
    assert.deepEqual(argumentsOf('RUN', final), [])
  })

  test('starts Node with the command of `npm start`, without a shell, and as a numeric user other than root', () => {
    const words = [...argumentsOf('ENTRYPOINT', final), ...argumentsOf('CMD', final)].flatMap(
      list => JSON.parse(list) as string[],
    )
    assert.equal(words.join(' '), manifest.scripts.start)
    assert.match(argumentsOf('USER', final).join(), /^[1-9]\d*:[1-9]\d*$/)
  })

  test('copies files only from the first stage, and as root, so that the user owns no files', () => {
    for (const copy of argumentsOf('COPY', final)) assert.match(copy, /^--from=build \/app\/\S+ /)
  })
})

/** The number of the machine in an ELF file (System V ABI, e_machine). */
const MACHINES = { x64: 62, arm64: 183 }

for (const [architecture, machine] of Object.entries(MACHINES)) {
  test(`a production tree for ${architecture} has ONNX Runtime’s files, which work with Debian 12’s C and C++ libraries`, t => {
    const tree = mkdtempSync(join(tmpdir(), 'production-'))
    t.after(() => rmSync(tree, { recursive: true }))
    execFileSync(process.execPath, ['scripts/production-tree.mjs', tree, architecture], {
      cwd: projectFolder,
    })
    const folder = join(tree, 'node_modules/onnxruntime-node/bin/napi-v6/linux', architecture)
    assert.deepEqual(readdirSync(folder), ['libonnxruntime.so.1', 'onnxruntime_binding.node'])
    for (const file of readdirSync(folder)) {
      const bytes = readFileSync(join(folder, file))
      assert.equal(bytes.readUInt16LE(18), machine, file)
      const text = bytes.toString('latin1')
      const newest = (symbol: RegExp) =>
        Math.max(...Array.from(text.matchAll(symbol), ([, minor]) => Number(minor)))
      assert.ok(
        newest(/\0GLIBC_2\.(\d+)/g) <= 36,
        `${file}: glibc 2.${newest(/\0GLIBC_2\.(\d+)/g)}`,
      )
      assert.ok(
        newest(/\0GLIBCXX_3\.4\.(\d+)/g) <= 30,
        `${file}: libstdc++ 3.4.${newest(/\0GLIBCXX_3\.4\.(\d+)/g)}`,
      )
    }
  })
}

test('production-tree.mjs rejects an architecture without files of ONNX Runtime, and lists the allowed ones', () => {
  const refused = () =>
    execFileSync(process.execPath, ['scripts/production-tree.mjs', 'x', 'riscv64'], {
      cwd: projectFolder,
      stdio: 'pipe',
    })
  assert.throws(
    refused,
    /ONNX Runtime has no files for the architecture "riscv64" on linux; allowed: arm64 or x64/,
  )
})
