import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { json } from '../../function/answer.ts'
import { openApi } from '../../function/http/pages/openapi.ts'
import { pathsOf, ROUTES, rowsFor, type TableRoute } from '../../function/http/routes.ts'
import { createApp } from './ask.ts'

const MODEL = { name: 'iris-classifier', version: 'v1.0.0' }

const escaped = (path: string) =>
  Object.values(MODEL).reduce(
    (path, name) => path.replace(name, [...name].map(escapeCharacter).join('')),
    path,
  )

const escapeCharacter = (character: string) => `%${character.charCodeAt(0).toString(16)}`

describe('every route of the table', async () => {
  const app = await createApp()
  await app.service.model.load()

  for (const row of ROUTES as readonly TableRoute[]) {
    for (const path of pathsOf(row.path, MODEL)) {
      for (const asked of new Set([path, `${path}/`.replace('//', '/'), escaped(path)])) {
        test(`OPTIONS ${asked} lists the methods of its route`, async () => {
          const answer = await app.ask('OPTIONS', asked)
          const methods = [row.GET && 'GET, HEAD', row.POST && 'POST', 'OPTIONS'].filter(Boolean)
          assert.deepEqual([answer?.status, answer?.headers.allow], [204, methods.join(', ')])
        })
      }
    }
  }
})

describe('a route that is added to the table', async () => {
  const added: TableRoute = {
    path: '/v2/models/{model}[/versions/{version}]/extra',
    GET: () => json({ extra: true }),
  }
  const app = await createApp({}, [...ROUTES, added])

  for (const path of pathsOf(added.path, MODEL)) {
    test(`is served at ${path}, however the path is percent-encoded`, async () => {
      for (const asked of [path, `${path}/`, escaped(path)])
        assert.deepEqual((await app.ask('GET', asked))?.json, { extra: true }, asked)
    })
  }

  test('gets 404 for another model or version, and the error names the served model or version', async () => {
    for (const [path, says] of [
      ['/v2/models/other/extra', /model "other" is unknown; this server has "iris-classifier"/],
      ['/v2/models/iris-classifier/versions/2/extra', /version .* "2" is unknown; .* "v1.0.0"/],
    ] as const) {
      const answer = await app.ask('GET', path)
      assert.equal(answer?.status, 404)
      assert.match(answer.json.error, says)
    }
  })

  test('is named in the error if its description is missing', () => {
    const model = { ...MODEL, description: undefined }
    const loaded = { signature: { inputs: [], outputs: [] }, example: [] }
    const config = { playground: true, auth: undefined, metricsPort: undefined }
    const describeRows = (rows: readonly TableRoute[]) => openApi(model, loaded, config, rows)
    assert.throws(() => describeRows([added]), /does not describe GET \/v2\/models.*\/extra/)
    assert.doesNotThrow(() => describeRows(ROUTES))
  })
})

test('with METRICS_PORT, neither the routes nor their description include /metrics', async () => {
  const app = await createApp({ METRICS_PORT: '9090' })
  await app.service.model.load()
  assert.equal((await app.ask('GET', '/metrics'))?.status, 404)
  const { paths } = (await app.ask('GET', '/openapi.json'))?.json ?? {}
  assert.deepEqual(['/metrics' in paths, '/v2' in paths], [false, true])
})

test('with PLAYGROUND=off, no route has a page', () => {
  const rows = rowsFor({ metricsPort: undefined, playground: false })
  assert.ok(rows.length === ROUTES.length && rows.every(({ page }) => page === undefined))
})
