import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { IRIS, irisBody, request, until } from '../http/client.ts'
import {
  block,
  END_STREAM,
  frame,
  head,
  header,
  PREFACE,
  settings,
  uint32,
} from '../http/frames.ts'
import { spawnFunction, startProcess, startServer, testModel } from '../server.ts'

const CERTIFICATES = fileURLToPath(new URL('certificates', import.meta.url))
const pem = (name: string) => readFileSync(join(CERTIFICATES, name), 'utf8')
const ca = [pem('first.crt'), pem('second.crt')]
const FIRST = {
  TLS_CERT_FILE: join(CERTIFICATES, 'first.crt'),
  TLS_KEY_FILE: join(CERTIFICATES, 'first.key'),
}

const temporary = mkdtempSync(join(tmpdir(), 'tls-'))
after(() => rmSync(temporary, { recursive: true }))

interface SecureAnswer {
  readonly status: number | undefined
  readonly body: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly name: string
}

const ask = (port: number, method = 'GET', path = '/v2', body?: string) =>
  new Promise<SecureAnswer>((resolve, reject) => {
    const asked = httpsRequest(
      { host: '127.0.0.1', port, ca, method, path, agent: false },
      async response => {
        const name = String((response.socket as TLSSocket).getPeerCertificate().subject.CN)
        const text = (await response.setEncoding('utf8').toArray()).join('')
        resolve({ status: response.statusCode, body: text, headers: response.headers, name })
      },
    )
    asked.once('error', reject)
    asked.end(body)
  })

const secureConnect = (port: number) =>
  new Promise<TLSSocket>((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ca, ALPNProtocols: ['http/1.1'] }, () =>
      resolve(socket),
    )
    socket.once('error', reject)
  })

suite('a server with a certificate', () => {
  test('answers requests, pages and errors over HTTPS', async () => {
    const server = await startServer(FIRST)
    assert.match((await ask(server.port, 'POST', IRIS, irisBody())).body, /"setosa"/)
    assert.equal((await ask(server.port, 'GET', '/docs')).status, 200)
    assert.equal((await ask(server.port, 'GET', '/nowhere')).status, 404)
    await server.stop()
  })

  test('answers data that is not HTTP with 400, as without TLS', async () => {
    const server = await startServer(FIRST)
    const socket = await secureConnect(server.port)
    socket.end('rubbish\r\n\r\n')
    assert.match(
      (await socket.setEncoding('utf8').toArray()).join(''),
      /^HTTP\/1\.1 400 .*"the request is not valid HTTP/s,
    )
    await server.stop()
  })

  test('does not answer plain HTTP, and still answers other clients', async () => {
    const server = await startServer(FIRST)
    const socket = connectPlain(server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end(request('GET', '/v2'))
    const answer = (await socket.toArray().catch(() => [])).join('')
    assert.doesNotMatch(answer, /HTTP/)
    assert.equal((await ask(server.port)).status, 200)
    await server.stop()
  })

  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    test(`rejects ${version}`, async () => {
      const server = await startServer(FIRST)
      const socket = connectTls({
        host: '127.0.0.1',
        port: server.port,
        ca,
        minVersion: version,
        maxVersion: version,
        ciphers: 'DEFAULT@SECLEVEL=0',
      })
      await assert.rejects(
        new Promise((resolve, reject) =>
          socket.once('secureConnect', resolve).once('error', reject),
        ),
        /protocol version|alert/,
      )
      await server.stop()
    })
  }

  test('answers several requests on one connection, and requests in flight during shutdown', async () => {
    const server = await startServer({ ...FIRST, MODEL_DIR: testModel('slow') })
    const [idle, busy] = [await secureConnect(server.port), await secureConnect(server.port)]
    const body = JSON.stringify({
      inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
    })
    const received: string[] = []
    busy.setEncoding('utf8').on('data', text => received.push(text))
    const answers = () => received.join('').split('HTTP/1.1 200').length - 1
    for (let i = 1; i <= 3; i++) {
      busy.write(request('GET', '/v2'))
      await until(`response ${i} has arrived`, () => answers() === i)
    }
    busy.write(request('POST', '/v2/models/slow/infer', {}, body))
    await new Promise(setImmediate)
    idle.resume()
    const [closed] = await Promise.all([
      server.close(5_000),
      ...[idle, busy].map(socket => new Promise(resolve => socket.once('close', resolve))),
    ])
    assert.ok(closed)
    assert.equal(answers(), 4)
    await server.stop()
  })

  test('shuts down although a client never finishes its handshake', async () => {
    const server = await startServer(FIRST)
    const socket = connectPlain(server.port, '127.0.0.1')
    socket.on('error', () => {})
    const closed = new Promise(resolve => socket.once('close', resolve))
    // Send only the beginning of a message.
    await new Promise<void>(resolve =>
      socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), () => resolve()),
    )
    assert.equal((await ask(server.port)).status, 200)
    assert.ok(await server.close(5_000))
    await closed
    await server.stop()
  })

  test('shuts down although a client has reset its HTTP/2 connection during a large response', async () => {
    const server = await startServer({ ...FIRST, MODEL_DIR: testModel('identity-fp32') })
    const socket = connectPlain(server.port, '127.0.0.1')
    const secure = connectTls({ socket, ca, ALPNProtocols: ['h2'] })
    await once(secure, 'secureConnect')
    secure.pause()
    const bytes = 16 * 2 ** 20
    const inputs = [
      {
        name: 'x',
        datatype: 'FP32',
        shape: [bytes / 4],
        parameters: { binary_data_size: bytes },
      },
    ]
    const json = JSON.stringify({ inputs, parameters: { binary_data_output: true } })
    const body = gzipSync(Buffer.concat([Buffer.from(json), Buffer.alloc(bytes)]))
    const more = [
      header('inference-header-content-length', String(json.length)),
      header('content-encoding', 'gzip'),
    ]
    const POST = block('POST', '/v2/models/identity-fp32/infer', ...more)
    const initialWindow = 4
    const frames = [
      settings({ [initialWindow]: 2 * bytes }),
      frame('windowUpdate', uint32(2 * bytes)),
      head(1, POST, false),
      frame('data', body.subarray(0, 2 ** 14), { stream: 1 }),
      frame('data', body.subarray(2 ** 14), { stream: 1, flags: END_STREAM }),
    ]
    secure.write(Buffer.concat([Buffer.from(PREFACE), ...frames]))
    await until('the server waits for the client to read', () =>
      process.getActiveResourcesInfo().includes('SimpleWriteWrap'),
    )
    // The server reads this frame after its write has failed, and then writes again.
    secure.write(frame('ping', Buffer.alloc(8)), () => socket.resetAndDestroy())
    assert.ok(await server.close(5_000))
    await server.stop()
  })

  test('does not shut down for lack of use while a client is performing its handshake', async t => {
    const server = await startServer(FIRST)
    t.after(() => server.stop())
    const socket = connectPlain(server.port, '127.0.0.1')
    // Connections are accepted in order, so the socket has also been accepted.
    await ask(server.port)
    let closed = false
    const closing = server.closeWhenUnused(20).then(() => {
      closed = true
    })
    const began = performance.now()
    await until('100 ms have passed', () => performance.now() > began + 100)
    assert.equal(closed, false)
    const secure = connectTls({ socket, ca, host: '127.0.0.1', ALPNProtocols: ['http/1.1'] })
    secure.end(request('GET', '/v2', { connection: 'close' }))
    assert.match((await secure.setEncoding('utf8').toArray()).join(''), /^HTTP\/1\.1 200/)
    await closing
  })

  test('shuts down for lack of use after a failed handshake', async t => {
    const server = await startServer(FIRST)
    t.after(() => server.stop())
    const socket = connectPlain(server.port, '127.0.0.1')
    socket.on('error', () => {})
    await ask(server.port)
    const closing = server.closeWhenUnused(20)
    socket.end('GET / HTTP/1.1\r\n\r\n')
    await closing
  })

  test('answers only health without a secret', async () => {
    const server = await startServer({ ...FIRST, AUTH_SECRET: 'correct-horse-battery-staple' })
    assert.equal((await ask(server.port, 'GET', '/health/liveness')).status, 200)
    assert.equal((await ask(server.port, 'GET', '/v2')).status, 401)
    await server.stop()
  })
})

suite('a certificate that is replaced', () => {
  /**
   * Kubernetes mounts a Secret in this way: the files are links through one other link, and an
   * update replaces that link.
   */
  function mount(name: string) {
    const folder = mkdtempSync(join(temporary, `${name}-`))
    const put = (cert: string, key: string) => {
      const version = mkdtempSync(join(folder, '..version-'))
      copyFileSync(join(CERTIFICATES, cert), join(version, 'tls.crt'))
      copyFileSync(join(CERTIFICATES, key), join(version, 'tls.key'))
      symlinkSync(version, join(folder, '..data_tmp'))
      renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    }
    put('first.crt', 'first.key')
    for (const file of ['tls.crt', 'tls.key']) symlinkSync(`..data/${file}`, join(folder, file))
    return {
      put,
      env: { TLS_CERT_FILE: join(folder, 'tls.crt'), TLS_KEY_FILE: join(folder, 'tls.key') },
    }
  }

  test('uses a replaced certificate for new connections, without losing requests on open connections', async () => {
    const { put, env } = mount('swap')
    const server = await startServer(env)
    const open = await secureConnect(server.port)
    open.setEncoding('utf8')
    const received: string[] = []
    open.on('data', text => received.push(text))
    assert.equal((await ask(server.port)).name, 'first')
    put('second.crt', 'second.key')
    await until(
      'the second certificate is used',
      async () => (await ask(server.port)).name === 'second',
    )
    open.write(request('GET', '/v2'))
    await until('the open connection was answered', () =>
      received.join('').startsWith('HTTP/1.1 200'),
    )
    open.destroy()
    await server.stop()
  })

  test('keeps the old certificate if the new certificate is invalid or does not fit its key', async () => {
    const { put, env } = mount('bad')
    const server = await startProcess(env)
    const port = Number(new URL(server.url).port)
    assert.match(server.url, /^https:/)
    put('second.crt', 'first.key')
    await until('the error has been logged', () =>
      server.log.some(line =>
        /TLS_CERT_FILE, TLS_KEY_FILE: the previous contents stay in use/.test(line),
      ),
    )
    assert.equal((await ask(port)).name, 'first')
    put('first.key', 'second.key')
    await until(
      'the error has been logged again',
      () => server.log.filter(line => /stay in use/.test(line)).length >= 2,
    )
    assert.equal((await ask(port)).name, 'first')
    put('second.crt', 'second.key')
    await until('the valid certificate is used', async () => (await ask(port)).name === 'second')
    assert.ok(!server.log.some(line => /PRIVATE/.test(line)))
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })

  test('uses a new certificate as soon as both of its files have been replaced', async () => {
    const [cert, key] = [join(temporary, 'own.crt'), join(temporary, 'own.key')]
    writeFileSync(cert, pem('first.crt'))
    writeFileSync(key, pem('first.key'))
    const server = await startServer({ TLS_CERT_FILE: cert, TLS_KEY_FILE: key })
    writeFileSync(cert, pem('second.crt'))
    assert.equal((await ask(server.port)).name, 'first')
    writeFileSync(key, pem('second.key'))
    await until(
      'the second certificate is used',
      async () => (await ask(server.port)).name === 'second',
    )
    await server.stop()
  })
})

suite('startup', () => {
  const FAILING: readonly (readonly [what: string, env: Record<string, string>, says: RegExp])[] = [
    [
      'a missing certificate',
      { ...FIRST, TLS_CERT_FILE: '/nowhere' },
      /TLS_CERT_FILE \/nowhere cannot be read \(ENOENT\)/,
    ],
    [
      'the key of another certificate',
      { ...FIRST, TLS_KEY_FILE: join(CERTIFICATES, 'second.key') },
      /TLS_CERT_FILE, TLS_KEY_FILE: .*mismatch/,
    ],
    [
      'a certificate in place of its key',
      { ...FIRST, TLS_KEY_FILE: FIRST.TLS_CERT_FILE },
      /TLS_CERT_FILE, TLS_KEY_FILE: /,
    ],
  ]
  for (const [what, env, says] of FAILING) {
    test(`fails with a one-line error for ${what}`, async () => {
      const child = spawnFunction(env)
      const output = (await child.stdout?.setEncoding('utf8').toArray()) as string[]
      const lines = output.join('').trimEnd().split('\n')
      assert.equal(lines.length, 1)
      assert.match(JSON.parse(lines[0] as string).msg, says)
    })
  }
})
