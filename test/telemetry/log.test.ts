import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { until } from '../http/client.ts'
import { projectFolder, startProcess } from '../server.ts'

/** @param error the error as code */
function logged(error: string) {
  const script = `import { createLog } from './function/telemetry/log.ts'
    createLog('info').error({ err: ${error} }, 'it failed')`
  const line = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: projectFolder,
    encoding: 'utf8',
  })
  return JSON.parse(line).err
}

suite('an error in the log', () => {
  test('logs the type, message and stack of an error', () => {
    const { type, message, stack, ...rest } = logged(`new TypeError('no')`)
    assert.deepEqual([type, message], ['TypeError', 'no'])
    assert.match(stack, /^TypeError: no\n +at /)
    assert.deepEqual(rest, {})
  })

  test('logs the code of an error, its cause, and the cause of its cause', () => {
    const { cause } = logged(`new Error('a', { cause: Object.assign(
      new Error('b', { cause: 'the disk' }), { code: 'EIO' }) })`)
    assert.deepEqual([cause.message, cause.code, cause.cause], ['b', 'EIO', 'the disk'])
  })

  test('logs all errors of an AggregateError', () => {
    const { errors } = logged(`new AggregateError([new Error('a'), new Error('b')])`)
    assert.deepEqual(
      errors.map(({ message }: Error) => message),
      ['a', 'b'],
    )
  })

  test('logs an error that is its own cause', () => {
    const err = logged(`(error => Object.assign(error, { cause: error }))(new Error('a'))`)
    assert.equal(err.cause.cause.message, 'a')
  })
})

test('writes text with line separators as one line of ASCII', () => {
  const script = `import { createLog } from './function/telemetry/log.ts'
    createLog('info').info({ id: 'a\\u0085b\\u2028c\\u2029d\\ne' }, 'done')`
  const line = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: projectFolder,
    encoding: 'utf8',
  })
  assert.match(line, /^[ -~]+\n$/)
  assert.equal(JSON.parse(line).id, 'a\u0085b\u2028c\u2029d\ne')
})

test('drops and counts lines while the reader of standard output is stopped', async () => {
  const script = `import { createLog } from './function/telemetry/log.ts'
    const log = createLog('debug')
    for (let i = 0; i < 50; i++) {
      for (let j = 0; j < 200; j++) log.debug({ text: 'x'.repeat(400) }, 'written')
      await new Promise(setImmediate)
    }
    process.send(process.stdout.writableLength)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: projectFolder,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const [waiting] = await once(child, 'message')
  assert.ok(waiting < 1.5 * 2 ** 20, `${waiting} of 4.8 million bytes are waiting`)
  child.disconnect()
  const text = ((await child.stdout?.setEncoding('utf8').toArray()) ?? []).join('')
  const lines = text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  const [last] = lines.filter(({ dropped }) => dropped !== undefined)
  assert.equal(last.msg, `${last.dropped} log lines were dropped: standard output was not read`)
  assert.equal(lines.filter(({ msg }) => msg === 'written').length + last.dropped, 10_000)
})

test('logs the reason why the keys of AUTH_JWKS cannot be fetched', async () => {
  const server = await startProcess({
    // A privileged port, on which no server of another test can listen in the meantime.
    AUTH_JWKS: 'http://127.0.0.1:2/keys',
    AUTH_ISSUER: 'issuer',
    AUTH_AUDIENCE: 'iris',
  })
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = `${part({ alg: 'RS256', kid: 'a' })}.${part({})}.AAAA`
  const answer = await fetch(`${server.url}/v2`, { headers: { authorization: `Bearer ${token}` } })
  assert.equal(answer.status, 503)
  const errors = () =>
    server.log.map(line => JSON.parse(line)).filter(({ err }) => err !== undefined)
  await until('the reason has been logged', () => errors().length > 0)
  assert.equal(errors()[0].err.cause.code, 'ECONNREFUSED')
  server.process.kill('SIGTERM')
  assert.deepEqual(await server.exited, [0, null])
})
