import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, suite, test } from 'node:test'
import { openSession } from '../../function/inference/session.ts'
import { projectFolder, testModel } from '../server.ts'
import { TEXT_MODEL } from './text-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'load-error-'))
after(() => rmSync(folder, { recursive: true }))

function put(name: string, bytes: string | Buffer): string {
  const file = join(folder, name)
  writeFileSync(file, bytes, 'latin1')
  return file
}

suite('files that are not ONNX models', () => {
  for (const [what, bytes, says] of [
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid', /Run git lfs pull/],
    ['a pickle', '\x80\x04\x95\x00', /a Python pickle.*export the model to ONNX/],
    ['a .ort file', '\x14\x00\x00\x00ORTM', /ONNX Runtime's own format \(\.ort\)/],
    ['a TensorFlow Lite model', '\x1c\x00\x00\x00TFL3', /TensorFlow Lite.*tf2onnx/],
    ['an archive', 'PK\x03\x04', /a ZIP archive/],
    ['an HDF5 file', '\x89HDF\r\n', /an HDF5 file/],
    ['a compressed file', '\x1f\x8b', /compressed with gzip/],
    ['a web page', '<!DOCTYPE html>', /a web page, not the model/],
    ['an empty file', '', /is empty$/],
    ['a text', 'not a model', /is not an ONNX model, or is truncated$/],
  ] as const)
    test(`the error for ${what} identifies the file`, () =>
      assert.rejects(openSession(put('model.onnx', bytes), 1), says))
})

suite('text models', () => {
  const { LOCPATH } = process.env
  afterEach(() => {
    // Assigning undefined would set the text "undefined".
    if (LOCPATH === undefined) delete process.env.LOCPATH
    else process.env.LOCPATH = LOCPATH
  })

  test('a text model without its locale fails with the name of the locale and the command to install it', async () => {
    process.env.LOCPATH = folder
    await assert.rejects(
      openSession(put('text.onnx', TEXT_MODEL), 1),
      /need the locale en_US\.UTF-8, which is not installed\. .*localedef -i en_US -f UTF-8/,
    )
  })

  const letters = '/usr/lib/locale/C.utf8'
  test('a text model runs with the character tables of C.UTF-8, which the build installs as its locale', {
    skip: !existsSync(letters) && `there is no ${letters}`,
  }, async () => {
    const locales = join(folder, 'locales')
    cpSync(letters, join(locales, 'en_US.utf8'), { recursive: true, dereference: true })
    process.env.LOCPATH = locales
    const session = await openSession(put('text.onnx', TEXT_MODEL), 1)
    const text = { name: 'text', datatype: 'BYTES', shape: [2], data: ['HÉLLO', 'ΣΑΣ'] } as const
    assert.deepEqual((await session.run([text], ['small']))[0]?.data, ['héllo', 'σασ'])
    await session.close()
  })
})

suite('files that the process cannot read', () => {
  const NOBODY = 65_534
  /** Tries to read the file as a user without access, because root can read every file. */
  const saidBy = (file: string) =>
    execFileSync(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { openSession } from ${JSON.stringify(join(projectFolder, 'function/inference/session.ts'))}
         process.env.ORT_DISABLE_TELEMETRY = '1'
         await openSession(${JSON.stringify(file)}, 1).catch(({ message }) => console.log(message))`,
      ],
      { encoding: 'utf8', uid: NOBODY, gid: NOBODY, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'] },
    )
  const needsRoot = {
    skip: process.getuid?.() !== 0 && 'only root can start a process as another user',
  }

  test(
    'an unreadable file is reported with the user and the remedy, for weights beside the model, too',
    needsRoot,
    () => {
      chmodSync(folder, 0o755)
      const owned = join(folder, 'owned')
      mkdirSync(owned)
      cpSync(testModel('external-data'), owned, { recursive: true })
      for (const name of ['weights.bin', 'model.onnx']) {
        chmodSync(join(owned, name), 0o600)
        const said = saidBy(join(owned, 'model.onnx'))
        assert.match(
          said,
          /cannot be read \(EACCES\): the process runs as uid 65534\. Give all users/,
        )
        assert.ok(said.includes(name), said)
      }
    },
  )
})
