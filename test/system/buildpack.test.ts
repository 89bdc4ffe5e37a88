import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, suite, test } from 'node:test'
import { projectFolder } from '../server.ts'

/**
 * The user of func's builder images (source-to-image: 1001); only root can start a process as this
 * user.
 */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 1001, gid: 1001 } : {}

async function urlOf(lines: AsyncIterable<string>): Promise<string> {
  for await (const line of lines) {
    const { url } = JSON.parse(line)
    if (url !== undefined) return url
  }
  throw new Error('the process exited before it logged a URL')
}

for (const builder of ['pack', 's2i']) {
  suite(`the result of func's ${builder} builder`, () => {
    const folder = mkdtempSync(join(tmpdir(), `${builder}-`))
    chmodSync(folder, 0o755)
    after(() => rmSync(folder, { recursive: true }))

    test('contains no files that .funcignore lists and no development dependencies', t => {
      const output = execFileSync(process.execPath, ['scripts/buildpack.mjs', folder, builder], {
        cwd: projectFolder,
        encoding: 'utf8',
      })
      const [weight = '', start = ''] = output.trim().split('\n').slice(-2)
      t.diagnostic(weight)
      assert.match(
        start,
        /^started by "node --max-semi-space-size=16 build\/main\.js" as user \d+ on http:\S+: predicted setosa; exited with 0 after SIGTERM$/,
      )
      const { devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
      const left = Object.keys(devDependencies).filter(name =>
        existsSync(join(folder, 'node_modules', name)),
      )
      assert.deepEqual(left, [], 'development dependencies are still installed')
    })

    for (const [program, start] of [
      ['function', 'the start command of package.json'],
      ['consumer', 'node build/consumer.js'],
    ]) {
      test(`runs the ${program} with ${start}, as an unprivileged user, on the given port`, async t => {
        const { scripts } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
        const [node, ...args] = (program === 'function' ? scripts.start : (start as string)).split(
          ' ',
        )
        assert.equal(node, 'node')
        const child = spawn(process.execPath, args, {
          cwd: folder,
          env: {
            PORT: '0',
            LISTEN_HOST: '127.0.0.1',
            KUBERNETES_SERVICE_HOST: 'none',
            NODE_ENV: 'production',
          },
          stdio: ['ignore', 'pipe', 'inherit'],
          timeout: 60_000,
          ...UNPRIVILEGED,
        })
        t.after(() => child.kill('SIGKILL'))
        const url = await urlOf(createInterface({ input: child.stdout }))
        const event = {
          'content-type': 'application/json',
          'ce-specversion': '1.0',
          'ce-id': '1',
          'ce-source': '/garden',
          'ce-type': 'com.example.iris.classify.request',
        }
        const body =
          '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
        const answer = await fetch(url, { method: 'POST', headers: event, body })
        if (program === 'function') {
          assert.equal(answer.headers.get('ce-type'), 'com.example.iris.classify.response')
          assert.match(await answer.text(), /"setosa"/)
        } else assert.equal(answer.status, 204)
        for (const path of ['/health/liveness', '/health/readiness'])
          assert.equal((await fetch(url + path)).status, 200)
        child.kill('SIGTERM')
        assert.deepEqual(await once(child, 'exit'), [0, null])
      })
    }
  })
}
