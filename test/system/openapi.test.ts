import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { start } from '../fuzz/fuzz.ts'
import { testModel } from '../server.ts'

/** Requests an operation and kind of data; `EXAMPLES=1000 SEED=2 npm test --prefix test/system` sends more, and others. */
const { EXAMPLES = '15', SEED = '1' } = process.env

const folder = join(import.meta.dirname, 'openapi')
const venv = join(folder, '.venv')
const run = promisify(execFile)
const written = mkdtempSync(join(tmpdir(), 'openapi-'))

before(async () => {
  const wanted = readFileSync(join(folder, 'requirements.txt'), 'utf8')
  const had = join(venv, 'requirements.txt')
  if (existsSync(had) && readFileSync(had, 'utf8') === wanted) return
  await run('python3', ['-m', 'venv', '--clear', venv]).catch(error => {
    throw new Error(
      `these tests run Schemathesis, and Python makes no place for it: apt-get install python3-venv\n${error.message}`,
    )
  })
  await run(join(venv, 'bin/pip'), [
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--requirement',
    join(folder, 'requirements.txt'),
  ])
  writeFileSync(had, wanted)
})
after(() => rmSync(written, { recursive: true }))

/** Schemathesis 4.32 makes a draft-7 `items` of `prefixItems` and then finds that this is none of draft 2020-12; so it is told less. */
const withoutPrefixItems = (schema: unknown): unknown =>
  Array.isArray(schema)
    ? schema.map(withoutPrefixItems)
    : typeof schema === 'object' && schema !== null
      ? Object.fromEntries(
          Object.entries(schema).map(([key, value]) =>
            key === 'prefixItems'
              ? ['items', { anyOf: withoutPrefixItems(value) }]
              : [key, withoutPrefixItems(value)],
          ),
        )
      : schema

const MODELS: Record<string, Record<string, string>> = {
  iris: {},
  'two inputs and outputs': { MODEL_DIR: testModel('two-in-two-out') },
  'binary data only': { MODEL_DIR: testModel('identity-fp16') },
}

for (const [name, env] of Object.entries(MODELS)) {
  test(`what Schemathesis makes of the OpenAPI document is answered as that says: ${name}`, {
    timeout: 3_600_000,
  }, async () => {
    const server = await start(env)
    try {
      const document = join(written, `${name}.json`)
      writeFileSync(
        document,
        JSON.stringify(
          withoutPrefixItems(await (await fetch(`${server.url}/openapi.json`)).json()),
        ),
      )
      const options = [
        '--phases',
        'examples,coverage,fuzzing',
        '--max-examples',
        EXAMPLES,
        '--seed',
        SEED,
        '--generation-database',
        'none',
      ]
      const { stdout } = await run(
        join(venv, 'bin/schemathesis'),
        [
          '--config-file',
          join(folder, 'schemathesis.toml'),
          'run',
          document,
          '--url',
          server.url,
          ...options,
          '--warnings',
          'off',
          '--no-color',
        ],
        { cwd: written, maxBuffer: 64 * 2 ** 20 },
      ).catch(({ stdout, stderr }) => assert.fail(`${stdout}${stderr}`))
      assert.match(stdout, /Test cases:\s+[1-9]/)
      assert.equal((await fetch(`${server.url}/v2/health/ready`)).status, 200)
    } finally {
      server.process.kill()
    }
  })
}
