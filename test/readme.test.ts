import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder, startServer } from './server.ts'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'docs/protocol.md',
  'docs/events.md',
  'docs/eventing.md',
  'docs/deploy.md',
  'docs/configuration.md',
  'docs/performance.md',
  'docs/kserve.md',
  'docs/canary.md',
  'docs/models.md',
  'conformance/README.md',
  'docs/conformance.md',
  'docs/check-model.md',
  'docs/clients.md',
  'docs/single-machine.md',
  'docs/load.md',
]
const read = (page: string) => readFileSync(join(projectFolder, page), 'utf8')

/** The README's curl commands, as what they send. */
function requests(page: string) {
  return [...page.matchAll(/^curl [\s\S]*?(?=\n```)/gm)].map(([command]) => ({
    path: new URL(/https?:\S+/.exec(command)?.[0] ?? '').pathname,
    headers: Object.fromEntries(
      [...command.matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name, value]) => [name as string, value as string]),
    ),
    body: /-d '([\s\S]*)'/.exec(command)?.[1] ?? '',
  }))
}

test("the README's curl commands get the answers it shows", async () => {
  const page = read('README.md')
  const [inference, event] = requests(page)
  assert.ok(inference !== undefined && event !== undefined)
  const server = await startServer()
  try {
    const post = ({ path, headers, body }: typeof inference) =>
      fetch(server.url + path, { method: 'POST', headers, body: Buffer.from(body) })
    const shown = JSON.parse(/```json\n(\{"model_name"[\s\S]*?)\n```/.exec(page)?.[1] ?? '')
    assert.deepEqual(await (await post(inference)).json(), shown)

    const reply = await post(event)
    assert.equal(reply.status, 200)
    const lines = [...(/```\nHTTP\/1\.1 200 OK\n([\s\S]*?)…/.exec(page)?.[1] ?? '').matchAll(/^([\w-]+): (.*)$/gm)]
    assert.ok(lines.length >= 5)
    for (const [, header, value] of lines) assert.equal(reply.headers.get(header as string), value)
  } finally {
    await server.stop()
  }
})

test('the V1 request in docs/kserve.md gets the answer it shows', async () => {
  const page = read('docs/kserve.md')
  const [predict] = requests(page)
  assert.ok(predict !== undefined)
  const { createPredictor } = await import('../kserve/app.ts')
  const server = await startServer({}, { frontOf: createPredictor })
  try {
    const { path, headers, body } = predict
    const answer = await fetch(server.url + path, { method: 'POST', headers, body: Buffer.from(body) })
    assert.deepEqual(await answer.json(), JSON.parse(/```json\n([\s\S]*?)\n```/.exec(page)?.[1] ?? ''))
  } finally {
    await server.stop()
  }
})

for (const page of PAGES) {
  test(`every file that ${page} links to is there`, () => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link]) => link as string)
    const missing = links.filter(link => !existsSync(join(projectFolder, page, '..', link)))
    assert.deepEqual(missing, [])
  })
}
