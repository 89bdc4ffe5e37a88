import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { createService } from '../../function/service.ts'
import { IRIS, post } from '../events/events.ts'
import { startServer } from '../server.ts'
import { author } from './table.ts'

const folder = mkdtempSync(join(tmpdir(), 'life-'))
after(() => rmSync(folder, { recursive: true }))

for (const EXECUTION of ['inline', 'worker']) {
  test(`setup() runs before the first call, and close() runs at the end (${EXECUTION})`, async () => {
    const file = join(folder, EXECUTION)
    writeFileSync(file, '')
    process.env.LIFE_FILE = file
    const server = await startServer({ TRANSFORM: author('life.ts'), EXECUTION })
    const type = { 'content-type': 'application/json' }
    assert.equal((await post(server.url, type, JSON.stringify(IRIS))).text, '1')
    await server.stop()
    assert.equal(readFileSync(file, 'utf8'), 'setup of iris-classifier\ncall\nclose\n')
  })

  test(`startup fails with a one-line error if setup() fails (${EXECUTION})`, async () => {
    process.env.LIFE_FAILS = '1'
    try {
      const env = { TRANSFORM: author('life.ts'), EXECUTION, LOG_LEVEL: 'silent' }
      await assert.rejects(createService(readConfig(env)).model.load(), {
        message: `setup() of the transform ${author('life.ts')} failed: the vocabulary is missing`,
      })
    } finally {
      delete process.env.LIFE_FAILS
    }
  })
}
