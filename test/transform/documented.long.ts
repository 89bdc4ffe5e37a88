import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder, startServer } from '../server.ts'

test('the first example of docs/transform.md returns the response on that page', async t => {
  const page = readFileSync(join(projectFolder, 'docs/transform.md'), 'utf8')
  const [, example = ''] = /```ts\n([\s\S]*?)```/.exec(page) ?? []
  const [, body = '', answer = ''] = /-d '([^']*)'\n# (.*)\n/.exec(page) ?? []
  const folder = mkdtempSync(join(tmpdir(), 'documented-'))
  t.after(() => rmSync(folder, { recursive: true }))
  copyFileSync(join(projectFolder, 'models/iris/v1.0.0/model.onnx'), join(folder, 'model.onnx'))
  writeFileSync(join(folder, 'transform.ts'), example)
  const server = await startServer({ MODEL_DIR: folder })
  t.after(server.stop)
  const headers = { 'content-type': 'application/json' }
  const right = await fetch(server.url, { method: 'POST', headers, body })
  assert.equal(right.status, 200)
  const text = await right.text()
  assert.equal(text, answer)
  const wrong = await fetch(server.url, {
    method: 'POST',
    headers,
    body: body.replace('5.1', '"5.1"'),
  })
  assert.equal(wrong.status, 400)
  assert.ok(page.includes(await wrong.text()))
})
