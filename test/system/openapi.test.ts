import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { start } from '../fuzz/fuzz.ts'
import { projectFolder, testModel } from '../server.ts'

/** Requests per operation and kind of data, and their seed. */
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
      `cannot create a Python environment for Schemathesis: apt-get install python3-venv\n${error.message}`,
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
before(() => run('npm', ['ci', '--silent', '--ignore-scripts', '--prefix', folder]))
after(() => rmSync(written, { recursive: true }))

const tool = (name: string, ...args: readonly string[]) =>
  run(join(folder, 'node_modules/.bin', name), args, {
    cwd: written,
    // The programs must send no usage data to their vendors.
    env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
    maxBuffer: 64 * 2 ** 20,
  }).catch(({ stdout, stderr }) => assert.fail(`${name}: ${stdout}${stderr}`))

const SECRET = 'a-secret-of-the-tests'

const MODELS: Record<string, Record<string, string>> = {
  iris: {},
  'a transform': { TRANSFORM: join(projectFolder, 'test/transform/authors/fields.ts') },
  'two inputs and outputs': { MODEL_DIR: testModel('two-in-two-out') },
  'binary data only': { MODEL_DIR: testModel('identity-fp16') },
}

async function saveDocument(url: string, name: string): Promise<string> {
  const path = join(written, `${name.replaceAll(' ', '-')}.json`)
  const headers = { authorization: `Bearer ${SECRET}` }
  writeFileSync(path, await (await fetch(`${url}/openapi.json`, { headers })).text())
  return path
}

for (const [name, env] of Object.entries({ ...MODELS, 'with tokens': { AUTH_SECRET: SECRET } })) {
  test(`Redocly and Spectral find no error in the OpenAPI document of the model: ${name}`, async () => {
    const server = await start(env)
    try {
      const document = await saveDocument(server.url, name)
      writeFileSync(join(written, '.spectral.yaml'), 'extends: ["spectral:oas"]\n')
      await tool('redocly', 'lint', document)
      await tool('spectral', 'lint', '--fail-severity', 'error', document)
    } finally {
      server.process.kill()
    }
  })
}

describe('a client generated from the OpenAPI document', () => {
  const row = { name: 'input', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] }
  let server: Awaited<ReturnType<typeof start>>
  let document: string
  before(async () => {
    server = await start({})
    document = await saveDocument(server.url, 'client')
  })
  after(() => server.process.kill())

  /** Type-checks a program in strict mode, bundles it, and runs it. @returns its output */
  async function runTypeScript(source: string): Promise<string> {
    writeFileSync(join(written, 'caller.ts'), source)
    if (!existsSync(join(written, 'node_modules')))
      symlinkSync(join(folder, 'node_modules'), join(written, 'node_modules'))
    const options = ['--strict', '--noEmit', '--skipLibCheck', '--module', 'preserve']
    await run(join(projectFolder, 'node_modules/.bin/tsc'), [...options, 'caller.ts'], {
      cwd: written,
    }).catch(({ stdout }) => assert.fail(stdout))
    const bundle = join(written, 'caller.mjs')
    await build({
      entryPoints: [join(written, 'caller.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
    })
    return (await run(process.execPath, [bundle, server.url])).stdout.trim()
  }

  test('works with openapi-typescript and openapi-fetch', async () => {
    await tool('openapi-typescript', document, '-o', join(written, 'schema.ts'))
    const printed = await runTypeScript(`
      import createClient from 'openapi-fetch'
      import type { paths } from './schema'
      declare const process: { argv: string[] }
      const client = createClient<paths>({ baseUrl: process.argv[2] })
      const { data } = await client.POST('/v2/models/iris-classifier/infer', {
        body: { inputs: [${JSON.stringify(row)}] },
      })
      // The response may also be binary tensor data.
      if (typeof data === 'object') console.log(data.outputs[1]?.data[0])
      export {}
    `)
    assert.equal(printed, 'setosa')
  })

  test('works with @hey-api/openapi-ts', async () => {
    await tool('openapi-ts', '-i', document, '-o', join(written, 'sdk'))
    const printed = await runTypeScript(`
      import { infer } from './sdk'
      declare const process: { argv: string[] }
      const { data } = await infer({
        baseUrl: process.argv[2],
        body: { inputs: [${JSON.stringify(row)}] },
      })
      console.log(data?.outputs[1]?.data[0])
      export {}
    `)
    assert.equal(printed, 'setosa')
  })

  test('works with openapi-python-client', async () => {
    const output = join(written, 'python')
    const { stdout } = await run(join(venv, 'bin/openapi-python-client'), [
      'generate',
      '--meta=none',
      `--path=${document}`,
      `--output-path=${join(output, 'iris_client')}`,
      `--config=${join(folder, 'openapi-python-client.yaml')}`,
    ])
    assert.doesNotMatch(stdout, /will not be generated/)
    const caller = `
import sys
from iris_client import Client
from iris_client.api.inference import infer
from iris_client.models import InferenceRequest
request = InferenceRequest.from_dict({"inputs": [${JSON.stringify(row)}]})
answer = infer.sync(client=Client(base_url=sys.argv[1]), body=request)
print(answer.outputs[1].data[0])
`
    const asked = await run(join(venv, 'bin/python'), ['-c', caller, server.url], { cwd: output })
    assert.equal(asked.stdout.trim(), 'setosa')
  })
})

for (const [name, env] of Object.entries(MODELS)) {
  test(`Schemathesis gets only documented responses: ${name}`, {
    timeout: 3_600_000,
  }, async () => {
    const server = await start(env)
    try {
      const document = join(written, `${name}.json`)
      writeFileSync(document, await (await fetch(`${server.url}/openapi.json`)).text())
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
