import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connect } from '../connection.ts'
import { type Servers, startServers } from './servers.ts'
import { withJson } from './wrong-server.ts'

const suite = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
const file = (name: string) => join(folder, name)
after(() => rmSync(folder, { recursive: true }))

interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const conformance = (...args: string[]) => run(suite, 'run.ts', ...args)

const run = (cwd: string, ...args: string[]) =>
  new Promise<Run>(resolve =>
    execFile(process.execPath, args, { cwd, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    ),
  )

let servers: Servers
let url: string
before(async () => {
  servers = await startServers(['iris'])
  url = servers.served.iris?.url as string
})
after(() => servers.stop())

describe('npm run conformance', () => {
  const iris = (...args: string[]) =>
    conformance('--url', url, '--model', 'iris-classifier', ...args)

  test('onnx-function passes every point, with exit code 0', async () => {
    const { code, stdout } = await iris('--strict')
    assert.equal(code, 0, stdout)
    assert.match(
      stdout,
      /✓ {2}required {2}the liveness route of a live server returns 200 +OIP Server Live +200 +200 \{"live":true\}/,
    )
    assert.match(
      stdout,
      /– {2}required {2}BOOL values sent as JSON come back unchanged as JSON.*the first input does not have datatype BOOL/,
    )
    assert.match(
      stdout,
      /passes all \d+ required points that apply and all \d+ stricter points\.\n$/,
    )
  })

  test('progress is written to standard error, one line per group', async () => {
    const { stderr } = await iris('--only', 'health', '--only', 'errors')
    assert.match(
      stderr,
      /^conformance: 0 of \d+ points, 0 failed; health\nconformance: 13 of \d+ points, 0 failed; errors\n$/,
    )
  })

  test('results are written as JSON and as JUnit XML', async () => {
    await iris('--only', 'errors', '--json', file('results.json'), '--junit', file('results.xml'))
    const { totals, points, model, version } = JSON.parse(
      readFileSync(file('results.json'), 'utf8'),
    )
    assert.deepEqual([model, version], ['iris-classifier', 'v1.0.0'])
    assert.equal(
      points.length,
      Object.values(totals)
        .flatMap(row => Object.values(row as object))
        .reduce((sum, n) => sum + n),
    )
    const junit = readFileSync(file('results.xml'), 'utf8')
    assert.match(
      junit,
      /<testsuite name="errors \(stricter\)" tests="\d+" failures="0" errors="0" skipped="2">/,
    )
    assert.match(
      junit,
      /name="an error response contains only &quot;error&quot;, not the id" time="[\d.]+"\/>/,
    )
  })

  test('a copy of the folder works without the repository', async () => {
    cpSync(suite, file('alone'), { recursive: true })
    const { code, stderr } = await run(
      file('alone'),
      'run.ts',
      '--url',
      url,
      '--model',
      'iris-classifier',
      '--only',
      'health',
    )
    assert.equal(code, 0, stderr)
  })

  test('--request replaces the generated values, and accepts nested data', async () => {
    const inputs = [
      { name: 'input', datatype: 'FP32', shape: [1, 4], data: [[5.1, 3.5, 1.4, 0.2]] },
    ]
    writeFileSync(file('request.json'), JSON.stringify({ inputs }))
    const { code } = await iris(
      '--request',
      file('request.json'),
      '--only',
      'the same request*',
      '--json',
      file('own.json'),
    )
    assert.equal(code, 0)
    assert.match(
      JSON.parse(readFileSync(file('own.json'), 'utf8')).points[0].got,
      /"data":\[0\.978/,
    )
  })

  for (const { mistake, args, says } of [
    {
      mistake: 'missing options',
      args: [],
      says: '--url URL is missing; --help lists the options',
    },
    {
      mistake: 'a missing --model',
      args: ['--url', 'http://localhost:1'],
      says: '--model NAME is missing; --help lists the options',
    },
    {
      mistake: 'an invalid --url',
      args: ['--url', 'localhost', '--model', 'x'],
      says: '--url localhost is not an HTTP address such as http://localhost:8080; --help lists the options',
    },
    {
      mistake: 'an unknown option',
      args: ['--uri', 'x'],
      says: "Unknown option '--uri'; --help lists the options",
    },
    {
      mistake: 'a header without a colon',
      args: ['--url', 'http://localhost:1', '--model', 'x', '--header', 'token'],
      says: "--header 'token' is not of the form 'Name: value'; --help lists the options",
    },
    {
      mistake: 'a --request file that does not exist',
      args: ['--url', 'http://localhost:1', '--model', 'x', '--request', 'no-such-file'],
      says: "--request no-such-file: ENOENT: no such file or directory, open 'no-such-file'; --help lists the options",
    },
    {
      mistake: 'an unreachable server',
      args: ['--url', 'http://127.0.0.1:1', '--model', 'x'],
      says: 'cannot reach http://127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1; check that the server is running and that --url is correct',
    },
  ]) {
    test(`${mistake}: the error is one line, and the exit code is 2`, async () =>
      assert.deepEqual(await conformance(...args), {
        code: 2,
        stdout: '',
        stderr: `conformance: ${says}\n`,
      }))
  }

  test('an unknown model and a glob without matches are errors of one line', async () => {
    const { code, stderr } = await conformance('--url', url, '--model', 'no-such-model')
    assert.deepEqual(
      [
        code,
        stderr.includes('cannot read the metadata of model "no-such-model": 404'),
        stderr.split('\n').length,
      ],
      [2, true, 2],
    )
    const none = await iris('--only', 'no-such-*')
    assert.deepEqual(
      [
        none.code,
        none.stderr.startsWith('conformance: no point matches no-such-*; groups are health,'),
      ],
      [2, true],
    )
  })
})

describe('npm run conformance on a server that invents ids and omits Allow, behind a path prefix and an API key', () => {
  let gateway: string
  const proxy = createServer(async (request, response) => {
    if (request.headers.authorization !== 'Bearer key')
      return response.writeHead(401).end('{"error":"no key"}')
    const { method, url: path = '', headers } = request
    const {
      'content-type': type,
      'content-encoding': encoding,
      'accept-encoding': accepts,
    } = headers
    const length = headers['inference-header-content-length']
    const body = await buffer(request)
    const reply = await connect(url)({
      method: method as string,
      path: path.replace(/^\/gateway/, ''),
      headers: {
        ...(type !== undefined && { 'content-type': type }),
        ...(encoding !== undefined && { 'content-encoding': encoding }),
        ...(accepts !== undefined && { 'accept-encoding': accepts }),
        ...(length !== undefined && { 'inference-header-content-length': length }),
      },
      ...(body.byteLength > 0 && { body }),
    })
    const { allow: _, connection: __, 'keep-alive': ___, ...others } = reply.headers
    const wrong = withJson({ ...reply, headers: others }, json =>
      json.outputs && json.id === undefined ? { ...json, id: 'made-up' } : json,
    )
    response.writeHead(wrong.status, wrong.headers).end(wrong.body)
  })

  before(async () => {
    await new Promise<void>(listening => proxy.listen(0, '127.0.0.1', listening))
    gateway = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/gateway`
  })
  after(async () => {
    proxy.close()
    proxy.closeAllConnections()
  })

  const ask = (...args: string[]) =>
    conformance(
      '--url',
      gateway,
      '--model',
      'iris-classifier',
      '--header',
      'Authorization: Bearer key',
      ...args,
    )

  test('failed stricter points are listed in full, and change the exit code only with --strict', async () => {
    const { code, stdout } = await ask('--only', '*methods other than*', '--only', '*has no id')
    assert.equal(code, 0)
    assert.match(
      stdout,
      /✗ stricter, request: the response to a request without an id has no id\n {2}section {3}OIP Inference Response JSON Object: "identifier given in the request, if any"\n {2}expected {2}no "id"\n {2}got {7}the response has the id "made-up"\n/,
    )
    assert.match(
      stdout,
      /iris-classifier at \S+ has no applicable required points; 10 of 10 stricter points fail\.\n$/,
    )
    assert.equal((await ask('--only', '*has no id', '--strict')).code, 1)
  })

  test('without the key, the exit code is 2 and the message contains the response', async () => {
    const { code, stderr } = await conformance('--url', gateway, '--model', 'iris-classifier')
    assert.deepEqual([code, stderr.includes('401 {"error":"no key"}')], [2, true])
  })
})
