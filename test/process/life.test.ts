import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import manifest from '../../package.json' with { type: 'json' }
import { connectGrpc } from '../grpc/client.ts'
import {
  type Connection,
  connect,
  exchange,
  IRIS,
  irisBody,
  request,
  SLOW,
  slowBody,
  until,
} from '../http/client.ts'
import {
  freePort,
  INHERITED,
  projectFolder,
  type ServerProcess,
  spawnFunction,
  startProcess,
  startServer,
  testModel,
} from '../server.ts'

const temporary = mkdtempSync(join(tmpdir(), 'onnx-function-'))
after(() => rmSync(temporary, { recursive: true }))

function modelFolder(
  name: string,
  from: string | undefined,
  files: Record<string, string> = {},
): string {
  const folder = join(temporary, name)
  mkdirSync(folder)
  if (from !== undefined) cpSync(testModel(from), folder, { recursive: true })
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text)
  return folder
}

const portOf = ({ url }: ServerProcess) => Number(new URL(url).port)
const INFER = request('POST', IRIS, {}, irisBody())
const SLOW_INFER = request('POST', SLOW, {}, slowBody())

async function ask(connection: Connection, bytes: string) {
  connection.send(bytes)
  const { status, headers } = await connection.answer()
  return [status, headers.connection]
}

async function terminate(server: ServerProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  server.process.kill(signal)
  await until('the process drains', () =>
    server.log.some(line => JSON.parse(line).msg === 'draining'),
  )
}

async function refusesConnections(port: number): Promise<boolean> {
  try {
    const connection = await connect(port)
    connection.socket.destroy()
    return false
  } catch {
    return true
  }
}

test('a process ends at TERM while it waits for its configuration', async () => {
  const code = `import { runProcess } from './function/process.ts'
    runProcess(() => {
      console.log('waiting')
      return new Promise(resolve => setTimeout(resolve, 20_000))
    })`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: projectFolder,
    env: INHERITED,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [0, null])
})

describe('startup', { concurrency: 3 }, () => {
  test('the process listens before the model is loaded: readiness fails, and requests wait until they are answered', async t => {
    const server = await startServer({}, { load: false })
    t.after(server.stop)
    const health = async () =>
      (await exchange(server.port, request('GET', '/v2/health/ready'))).status
    const waiting = exchange(server.port, INFER)
    const event = exchange(
      server.port,
      request(
        'POST',
        '/',
        { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/t', 'ce-type': 't' },
        irisBody(),
      ),
    )
    await until('both requests wait', () => server.service.model.queuedRows === 2)
    assert.equal(await health(), 503)
    const loading = server.service.model.load()
    assert.deepEqual([(await waiting).status, (await event).status], [200, 200])
    await loading
    assert.equal(await health(), 200)
  })

  test('the process reports readiness only after the warm-up', async t => {
    const server = await startServer({ MODEL_DIR: testModel('slow') }, { load: false })
    t.after(server.stop)
    let loaded = false
    const loading = server.service.model.load().then(() => {
      loaded = true
    })
    while (!loaded) {
      const { json } = await exchange(server.port, request('GET', '/v2/health/ready'))
      const warmedUp = (await server.service.metrics.text()).includes(
        'cold_start_seconds{phase="warm-up"}',
      )
      assert.ok(warmedUp || !json.ready)
    }
    await loading
    assert.equal((await exchange(server.port, request('GET', '/v2/health/ready'))).status, 200)
  })

  test('the process logs the model, version and address in one line of JSON, and prints a working curl command on standard error', async t => {
    if (spawnSync('curl', ['--version']).error !== undefined) return t.skip('curl is not installed')
    const quoted = modelFolder('quoted', 'identity-bytes', {
      'model.json': JSON.stringify({
        name: "it's a model",
        sample: { x: ["it's", '"$HOME" `id`\n'] },
      }),
    })
    for (const [env, name, version, says] of [
      [{}, 'iris-classifier', 'v1.0.0', /"setosa"/],
      [
        { MODEL_DIR: quoted },
        "it's a model",
        undefined,
        /"data":\["it's","\\"\$HOME\\" `id`\\n"\]/,
      ],
    ] as const) {
      const server = await startProcess(env)
      const lines = server.log.map(line => JSON.parse(line))
      const line = lines.find(({ url }) => url !== undefined)
      assert.deepEqual([line.model, line.version, line.url], [name, version, server.url])
      let told = ''
      server.process.stderr?.on('data', chunk => {
        told += chunk
      })
      await until('the curl command is printed', () => told.endsWith('\n\n'))
      const { stdout } = await promisify(execFile)('bash', [
        '-c',
        (/curl .*/s.exec(told) as RegExpExecArray)[0],
      ])
      assert.match(stdout, says)
      server.process.kill('SIGTERM')
      assert.deepEqual(await server.exited, [0, null])
    }
  })

  test('the process prints only JSON in a pod', async () => {
    const server = await startProcess({ KUBERNETES_SERVICE_HOST: '10.0.0.1' })
    let told = ''
    server.process.stderr?.on('data', chunk => {
      told += chunk
    })
    server.process.kill('SIGTERM')
    await server.exited
    assert.equal(told, '')
    for (const line of server.log) assert.equal(typeof JSON.parse(line).msg, 'string')
  })

  const hasFull = existsSync('/dev/full')
  test('the process continues if standard error is on a full disk', {
    skip: !hasFull,
  }, async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, ['function/main.ts'], {
      cwd: projectFolder,
      env: { ...INHERITED, PORT: '0', LISTEN_HOST: '127.0.0.1' },
      stdio: ['ignore', 'pipe', full],
      timeout: 30_000,
      killSignal: 'SIGKILL',
    })
    closeSync(full)
    const exited = once(child, 'exit')
    const served = Promise.withResolvers<string>()
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      const { url } = JSON.parse(line)
      if (url !== undefined) served.resolve(url)
    })
    const url = await Promise.race([
      served.promise,
      exited.then(() => assert.fail('the process exited')),
    ])
    assert.equal((await fetch(`${url}/v2/health/ready`)).status, 200)
    child.kill('SIGTERM')
    assert.deepEqual(await exited, [0, null])
  })

  test('the process writes no files to the home and temporary folders', async () => {
    const home = modelFolder('home', undefined)
    const tmp = modelFolder('tmp', undefined)
    const server = await startProcess({
      HOME: home,
      TMPDIR: tmp,
      XDG_CACHE_HOME: join(home, 'cache'),
    })
    assert.equal((await exchange(portOf(server), INFER)).status, 200)
    server.process.kill('SIGTERM')
    await server.exited
    assert.deepEqual([readdirSync(home), readdirSync(tmp)], [[], []])
  })

  test('npm start is a single node command', () => {
    assert.match(manifest.scripts.start, /^node [\w./ =-]+$/)
    assert.deepEqual(
      Object.keys(manifest.scripts).filter(name => /^(pre|post)start$/.test(name)),
      [],
    )
  })
})

describe('startup fails with the reason in one line and exit status 1 for', {
  concurrency: 3,
}, () => {
  // test/config/config.test.ts and test/inference/model-folder.test.ts test other faults in
  // variables and folders.
  const HOPELESS: readonly { what: string; env: Record<string, string>; says: RegExp }[] = [
    { what: 'an invalid variable', env: { PORT: 'http' }, says: /^PORT is "http"; it must be / },
    {
      what: 'a missing model folder',
      env: { MODEL_DIR: '/nowhere' },
      says: /MODEL_DIR \/nowhere .*ENOENT/,
    },
    { what: 'a broken model', env: { MODEL_DIR: testModel('broken') }, says: /cannot be loaded/ },
    {
      what: 'an address of another machine',
      env: { LISTEN_HOST: '192.0.2.1' },
      says: /cannot listen on 192\.0\.2\.1/,
    },
  ]
  for (const { what, env, says } of HOPELESS) {
    test(what, () => assertHopeless(env, says))
  }

  test('a port that is already in use', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await assertHopeless(
      { PORT: `${port}` },
      /cannot listen on 127\.0\.0\.1:\d+: it is already in use/,
    )
    other.close()
  })
})

test('the startup line names the model, and its version if it has one', async () => {
  for (const [env, says] of [
    [{}, /^serving iris-classifier v1\.0\.0 on http:/],
    [{ MODEL_DIR: testModel('identity-fp32') }, /^serving identity-fp32 on http:/],
  ] as const) {
    const server = await startProcess(env)
    const lines = server.log.map(line => JSON.parse(line)).filter(({ url }) => url !== undefined)
    assert.equal(lines.length, 1)
    assert.match(lines[0].msg, says)
    server.process.kill()
    await server.exited
  }
})

describe('a model is refused in one line for', () => {
  const inModelJson = (name: string, json: string) =>
    modelFolder(name, 'identity-fp32', { 'model.json': json })
  const REFUSED: readonly { what: string; folder: string; says: RegExp }[] = [
    {
      what: 'an empty file',
      folder: modelFolder('nothing', undefined, { 'a.onnx': '' }),
      says: /cannot be loaded/,
    },
    {
      what: 'a sample with a shape that the model does not accept',
      folder: inModelJson('shape', '{"sample":{"x":[["a"]]}}'),
      says: /sample does not match/,
    },
    {
      what: 'a sample for an unknown input',
      folder: inModelJson('input', '{"sample":{"y":[1]}}'),
      says: /sample does not match/,
    },
    {
      what: 'a wrong number of features',
      folder: inModelJson('features', '{"features":["a","b"]}'),
      says: /^model\.json: the features do not match the model: input "x": shape \[-1\] has no dimension besides the rows/,
    },
  ]
  for (const { what, folder, says } of REFUSED) {
    test(what, async t => {
      const server = await startServer({ MODEL_DIR: folder }, { load: false })
      t.after(server.stop)
      await assert.rejects(
        server.service.model.load(),
        ({ message }: Error) => says.test(message) && !/\n|\bat .*:\d+:\d+/.test(message),
      )
    })
  }
})

async function assertHopeless(env: Record<string, string>, says: RegExp): Promise<void> {
  const child = spawnFunction(env)
  const [stdout, stderr] = [child.stdout, child.stderr].map(stream =>
    stream?.setEncoding('utf8').toArray(),
  )
  const [code] = await once(child, 'exit')
  const lines = ((await stdout) ?? []).join('').trimEnd().split('\n')
  assert.equal(lines.length, 1, lines.join('\n'))
  const { level, msg, time } = JSON.parse(lines[0] as string)
  assert.deepEqual([code, level, typeof time], [1, 60, 'string'])
  assert.match(msg, says)
  assert.doesNotMatch(msg, /\n|\bat .*:\d+:\d+/)
  assert.equal(((await stderr) ?? []).join(''), '')
}

describe('shutdown', { concurrency: 3 }, () => {
  test('until DRAIN_DELAY_MS has passed, readiness is 503, and open and new connections are answered and closed', async () => {
    const server = await startProcess({ DRAIN_DELAY_MS: '1500' })
    const port = portOf(server)
    const [open, idle] = [await connect(port), await connect(port)]
    for (const connection of [open, idle])
      assert.deepEqual(await ask(connection, INFER), [200, 'keep-alive'])
    await terminate(server)
    assert.equal((await exchange(port, request('GET', '/v2/health/ready'))).status, 503)
    assert.equal((await exchange(port, request('GET', '/v2/health/live'))).status, 200)
    assert.match((await exchange(port, request('GET', '/metrics'))).body, /^model_ready 0$/m)
    for (const connection of [open, await connect(port)]) {
      assert.deepEqual(await ask(connection, INFER), [200, 'close'])
      await connection.closed
    }
    assert.deepEqual(await ask(await connect(port), request('GET', '/docs')), [200, 'close'])
    assert.deepEqual(await server.exited, [0, null])
    await idle.closed
  })

  test('requests in flight are finished, whether they run, wait or are still arriving', async () => {
    const server = await startProcess({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
    const port = portOf(server)
    const [halfBody, halfHead, unused] = [
      await connect(port),
      await connect(port),
      await connect(port),
    ]
    halfBody.send(SLOW_INFER.slice(0, -20))
    halfHead.send(SLOW_INFER.slice(0, 20))
    await exchange(port, request('GET', '/v2'))
    const running = await Promise.all([0, 1, 2].map(() => connect(port)))
    for (const connection of running) connection.send(SLOW_INFER)
    // This response shows that the server has received the previous requests.
    await exchange(port, request('GET', '/v2'))
    await terminate(server)
    for (const connection of running) assert.equal((await connection.answer()).status, 200)
    await unused.closed
    await until('new connections are refused', () => refusesConnections(port))
    assert.deepEqual(await ask(halfBody, SLOW_INFER.slice(-20)), [200, 'close'])
    assert.deepEqual(await ask(halfHead, SLOW_INFER.slice(20)), [200, 'close'])
    assert.deepEqual(await server.exited, [0, null])
    assert.equal(JSON.parse(server.log.at(-1) as string).msg, 'drained')
  })

  test('a client that connected before SIGTERM is accepted and answered', async () => {
    const server = await startProcess()
    // While the process is stopped, all connections wait to be accepted.
    server.process.kill('SIGSTOP')
    const connections = await Promise.all(Array.from({ length: 50 }, () => connect(portOf(server))))
    for (const connection of connections) connection.send(INFER)
    server.process.kill('SIGTERM')
    server.process.kill('SIGCONT')
    for (const connection of connections) assert.equal((await connection.answer()).status, 200)
    assert.deepEqual(await server.exited, [0, null])
  })

  test('requests that never end are cut off after DRAIN_TIMEOUT_MS, and the exit status is still 0', async () => {
    const server = await startProcess({ DRAIN_TIMEOUT_MS: '300' })
    const connection = await connect(portOf(server))
    connection.send(INFER.slice(0, -20))
    await exchange(portOf(server), request('GET', '/v2'))
    const began = performance.now()
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
    assert.ok(performance.now() - began >= 290)
    assert.ok(performance.now() - began < 5_000)
    await connection.closed
    assert.match(server.log.at(-1) as string, /were aborted/)
  })

  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    test(`a second ${signal} stops the process at once`, async () => {
      const server = await startProcess({ DRAIN_DELAY_MS: '60000', DRAIN_TIMEOUT_MS: '70000' })
      await terminate(server, signal)
      server.process.kill(signal)
      assert.deepEqual(await server.exited, [code, null])
    })
  }

  test('after SIGTERM while the model loads, waiting requests are answered, and the process exits without logging that it serves', async () => {
    const port = await freePort()
    const child = spawnFunction({ PORT: `${port}`, MODEL_DIR: testModel('slow') })
    const stdout = child.stdout?.setEncoding('utf8').toArray()
    const exited = once(child, 'exit')
    let connection: Connection | undefined
    await until('the process listens', async () => {
      connection = await connect(port).catch(() => undefined)
      return connection !== undefined
    })
    connection?.send(SLOW_INFER)
    child.kill('SIGTERM')
    assert.equal((await connection?.answer())?.status, 200)
    assert.deepEqual(await exited, [0, null])
    const lines = ((await stdout) ?? []).join('').trimEnd().split('\n')
    const said = lines.map(line => JSON.parse(line).msg)
    assert.deepEqual(
      said.filter(message => /^drain|serving/.test(message)),
      ['draining', 'drained'],
    )
  })

  test('under load on many connections, no accepted request is lost', async () => {
    const server = await startProcess()
    const port = portOf(server)
    const connections = await Promise.all(Array.from({ length: 20 }, () => connect(port)))
    let answered = 0
    const clients = connections.map(async connection => {
      for (;;) {
        const [status, header] = await ask(connection, INFER)
        assert.equal(status, 200)
        answered++
        if (header === 'close') return
      }
    })
    await until('200 requests are answered', () => answered > 200)
    server.process.kill('SIGTERM')
    await Promise.all(clients)
    assert.deepEqual(await server.exited, [0, null])
  })
})

describe('the log', { concurrency: 2 }, () => {
  const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  test('has one line per gRPC call or request of a stream at debug, also for refused calls', async () => {
    const server = await startProcess({ LOG_LEVEL: 'debug' })
    const client = connectGrpc(portOf(server))
    const bad = { model_name: 'other' }
    const calls = [
      ['ServerReady', {}, [0]],
      ['ModelMetadata', { name: 'other' }, [5]],
      ['ModelInfer', bad, [5]],
      ['ModelInfer', [], [13]],
      ['ModelStreamInfer', [bad, bad], [5, 5]],
      ['ModelStreamInfer', [], [0]],
    ] as const
    for (const [i, [method, messages]] of calls.entries())
      await client.call(method, messages, { 'x-request-id': String(i) })
    await client.close()
    server.process.kill('SIGTERM')
    await server.exited
    const lines = server.log.map(line => JSON.parse(line))
    for (const [i, [method, , statuses]] of calls.entries()) {
      const own = lines.filter(({ requestId }) => requestId === String(i))
      assert.deepEqual(
        own.map(({ status }) => status),
        statuses,
      )
      for (const { path, msg } of own)
        assert.deepEqual([path, msg], [`/inference.GRPCInferenceService/${method}`, 'answered'])
    }
  })

  for (const [level, lines] of [
    ['debug', 3],
    ['info', 0],
  ] as const) {
    test(`has ${lines === 0 ? 'no line' : 'one line'} per request at ${level}, with the request\u2019s id and trace`, async () => {
      const server = await startProcess({ LOG_LEVEL: level })
      const connection = await connect(portOf(server))
      for (const id of ['a', 'b', 'c'])
        await ask(
          connection,
          request('POST', IRIS, { 'x-request-id': id, traceparent: TRACE }, irisBody()),
        )
      server.process.kill('SIGTERM')
      await server.exited
      const requests = server.log
        .map(line => JSON.parse(line))
        .filter(({ requestId }) => requestId !== undefined)
      assert.deepEqual(
        requests.map(({ requestId }) => requestId),
        ['a', 'b', 'c'].slice(0, lines),
      )
      for (const line of requests)
        assert.deepEqual(
          [line.traceparent, line.status, line.path, line.method],
          [TRACE, 200, IRIS, 'POST'],
        )
    })
  }
})
