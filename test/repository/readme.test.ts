import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { predictor, projectFolder, startServer } from '../server.ts'

const docs = readdirSync(join(projectFolder, 'docs')).filter(name => name.endsWith('.md'))
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'conformance/README.md',
  ...docs.map(name => `docs/${name}`),
]
const read = (page: string) => readFileSync(join(projectFolder, page), 'utf8')

function requests(page: string) {
  return [...page.matchAll(/^curl [\s\S]*?(?=\n```)/gm)].map(([command]) => ({
    path: new URL(/https?:\S+/.exec(command)?.[0] ?? '').pathname,
    headers: Object.fromEntries(
      [...command.matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name, value]) => [
        name as string,
        value as string,
      ]),
    ),
    body: /-d '([\s\S]*)'/.exec(command)?.[1] ?? '',
  }))
}

test("the README's curl commands get the responses in the README", async () => {
  const page = read('README.md')
  const inference = requests(page).find(({ path }) => path.startsWith('/v2/'))
  const event = requests(page).find(({ headers }) => 'ce-id' in headers)
  assert.ok(inference !== undefined && event !== undefined)
  const server = await startServer()
  try {
    const post = ({ path, headers, body }: typeof inference) =>
      fetch(server.url + path, { method: 'POST', headers, body: Buffer.from(body) })
    const shown = JSON.parse(/```json\n(\{"model_name"[\s\S]*?)\n```/.exec(page)?.[1] ?? '')
    assert.deepEqual(await (await post(inference)).json(), shown)

    const reply = await post(event)
    assert.equal(reply.status, 200)
    const lines = [
      ...(/```\nHTTP\/1\.1 200 OK\n([\s\S]*?)…/.exec(page)?.[1] ?? '').matchAll(
        /^([\w-]+): (.*)$/gm,
      ),
    ]
    assert.ok(lines.length >= 5)
    for (const [, header, value] of lines) assert.equal(reply.headers.get(header as string), value)
  } finally {
    await server.stop()
  }
})

test("the README's transform returns the response in the README", async t => {
  const page = read('README.md')
  const [, code, command, shown] =
    /```ts\n(.*?)```\n\n```sh\n(curl .*?\n```)\n\n```json\n(.*?)\n```/s.exec(page) ??
    assert.fail('README.md has no transform with a request and a response')
  const folder = mkdtempSync(join(tmpdir(), 'readme-'))
  t.after(() => rmSync(folder, { recursive: true }))
  cpSync(join(projectFolder, 'models/iris/v1.0.0'), folder, { recursive: true })
  writeFileSync(join(folder, 'transform.ts'), String(code))
  const [{ path, headers, body } = assert.fail()] = requests(String(command))
  const server = await startServer({ MODEL_DIR: folder })
  try {
    const response = await fetch(server.url + path, { method: 'POST', headers, body })
    assert.equal(await response.text(), shown)
  } finally {
    await server.stop()
  }
})

test('the V1 request in docs/kserve.md gets the response in that page', async () => {
  const page = read('docs/kserve.md')
  const [predict] = requests(page)
  assert.ok(predict !== undefined)
  const server = await startServer({}, { listening: predictor })
  try {
    const { path, headers, body } = predict
    const answer = await fetch(server.url + path, {
      method: 'POST',
      headers,
      body: Buffer.from(body),
    })
    assert.deepEqual(
      await answer.json(),
      JSON.parse(/```json\n([\s\S]*?)\n```/.exec(page)?.[1] ?? ''),
    )
  } finally {
    await server.stop()
  }
})

test('the request to a model with a transform in docs/kserve.md gets the response in that page', async () => {
  const page = read('docs/kserve.md')
  const [, withTransform] = requests(page)
  const [, shown] = [...page.matchAll(/```json\n([\s\S]*?)\n```/g)].map(([, json]) => json)
  assert.ok(withTransform !== undefined)
  const example = join(projectFolder, 'examples/iris-fields/model')
  const store = mkdtempSync(join(tmpdir(), 'store-'))
  for (const file of ['model.onnx', 'model.json']) cpSync(join(example, file), join(store, file))
  // Like the runtime's argument --model_name, MODEL_NAME overrides the name in model.json.
  const env = { MODEL_DIR: store, MODEL_NAME: 'iris', TRANSFORM: join(example, 'transform.ts') }
  const server = await startServer(env, { listening: predictor })
  try {
    const { path, headers, body } = withTransform
    const response = await fetch(server.url + path, { method: 'POST', headers, body })
    assert.equal(await response.text(), shown)
  } finally {
    await server.stop()
    rmSync(store, { recursive: true })
  }
})

/**
 * All pages that the README links to, directly or indirectly, with their links. As on GitHub, a
 * link to a folder leads to the folder's README.
 */
function walk(): Map<
  string,
  readonly { readonly link: string; readonly path: string; readonly anchor: string | undefined }[]
> {
  const pages = new Map<string, { link: string; path: string; anchor: string | undefined }[]>()
  const ahead = ['README.md']
  for (let page = ahead.pop(); page !== undefined; page = ahead.pop()) {
    if (pages.has(page) || !existsSync(join(projectFolder, page))) continue
    // Links in code are examples.
    const text = read(page).replaceAll(/^( *)```[\s\S]*?^ *```/gm, '')
    const links = [...text.matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)].map(([, link]) => {
      const [path = '', anchor] = (link as string).split('#')
      return {
        link: link as string,
        path: path === '' ? (page as string) : pageAt(join(page as string, '..', path)),
        anchor,
      }
    })
    pages.set(page, links)
    ahead.push(...links.map(({ path }) => path).filter(path => path.endsWith('.md')))
  }
  return pages
}

function pageAt(path: string): string {
  const index = join(path, 'README.md')
  return existsSync(join(projectFolder, index)) ? index : path
}

function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of read(page)
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#{1,6} (.*)$/gm)) {
    const plain = (heading as string).replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = plain.replaceAll(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, '').replaceAll(' ', '-')
    for (let n = 0, unique = slug; ; unique = `${slug}-${++n}`) {
      if (anchors.has(unique)) continue
      anchors.add(unique)
      break
    }
  }
  return anchors
}

const pages = walk()

test('the README lists every page of docs/', () => {
  const listed = pages.get('README.md')?.map(({ path }) => path)
  assert.deepEqual(
    docs.map(name => `docs/${name}`).filter(page => !listed?.includes(page)),
    [],
    "add it to the README's table of pages",
  )
})

test('links lead from the README to every page', () => {
  assert.deepEqual(
    PAGES.filter(page => !pages.has(page)),
    [],
  )
})

for (const [page, links] of pages) {
  test(`every link of ${page} leads to an existing file and anchor`, () => {
    const dead = links.filter(({ path, anchor }) => {
      if (!existsSync(join(projectFolder, path))) return true
      return anchor !== undefined && path.endsWith('.md') && !anchorsOf(path).has(anchor)
    })
    assert.deepEqual(
      dead.map(({ link }) => link),
      [],
    )
  })
}
