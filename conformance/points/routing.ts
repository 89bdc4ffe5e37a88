import assert from 'node:assert/strict'
import {
  assertError,
  assertRefused,
  assertSame,
  assertStatus,
  infer,
  jsonOf,
  readResponse,
} from '../answer.ts'
import { inJson, unversioned, versioned } from '../applies.ts'
import { toJson } from '../json.ts'
import type { Applicable, Point, Target } from '../point.ts'
import { exampleRequest, get, inferPath, modelPath, post } from '../request.ts'
import { oip, rfc, silent } from '../sources.ts'

interface Route {
  readonly route: string
  readonly path: (target: Target) => string
  readonly method: 'GET' | 'POST'
  readonly notApplicable?: Applicable
}

const ROUTES: readonly Route[] = [
  { route: 'v2', path: () => '/v2', method: 'GET' },
  { route: 'v2/health/live', path: () => '/v2/health/live', method: 'GET' },
  { route: 'v2/health/ready', path: () => '/v2/health/ready', method: 'GET' },
  ...['', '/ready', '/infer'].flatMap((verb): Route[] => [
    {
      route: `v2/models/<model>${verb}`,
      path: target => modelPath(target, { versioned: false }) + verb,
      method: verb === '/infer' ? 'POST' : 'GET',
      ...(verb === '/infer' && { notApplicable: inJson }),
    },
    {
      route: `v2/models/<model>/versions/<version>${verb}`,
      path: target => modelPath(target, { versioned: true }) + verb,
      method: verb === '/infer' ? 'POST' : 'GET',
      notApplicable: target =>
        versioned(target) ?? (verb === '/infer' ? inJson(target) : undefined),
    },
  ]),
]

const call = (target: Target, method: string, path: string) =>
  method === 'POST'
    ? target.send({
        method,
        path,
        headers: { 'content-type': 'application/json' },
        body: toJson(exampleRequest(target)),
      })
    : target.send({ method, path })

const answers: readonly Point[] = ROUTES.flatMap(({ route, path, method, ...rest }): Point[] => [
  {
    ...rest,
    name: `${method} ${route} returns 200`,
    source: oip('HTTP/REST'),
    level: 'required',
    expected: '200',
    check: async target => assertStatus(await call(target, method, path(target)), 200),
  },
  {
    ...rest,
    name: `${method} ${route}/ returns 200`,
    source:
      route === 'v2'
        ? 'open_inference_rest.yaml has the path /v2/, the Markdown document has v2'
        : silent('a trailing slash does not name another resource'),
    level: 'stricter',
    expected: '200',
    check: async target => assertStatus(await call(target, method, `${path(target)}/`), 200),
  },
  {
    ...rest,
    name: `${method} ${route} with a query returns 200`,
    source: silent('an unknown query is ignored'),
    level: 'stricter',
    expected: '200',
    check: async target => assertStatus(await call(target, method, `${path(target)}?a=b`), 200),
  },
  {
    ...rest,
    name: `${route} rejects methods other than ${method} with 405, {"error"} and Allow`,
    source: rfc(9110, '15.5.6'),
    level: 'stricter',
    expected: `405 with {"error"} and Allow: ${method}`,
    check: async target => {
      for (const wrong of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(
        other => other !== method,
      )) {
        const reply = await call(target, wrong, path(target))
        assertRefused(reply, 405)
        const allowed = String(reply.headers.allow).split(/ *, */)
        assert.ok(
          allowed.includes(method) && !allowed.includes(wrong),
          `${wrong} is rejected with Allow: ${reply.headers.allow}`,
        )
      }
    },
  },
])

interface Unknown {
  readonly what: string
  readonly path: (target: Target) => string
  readonly method?: string
  readonly level: Point['level']
  readonly notApplicable?: Applicable
}

const UNKNOWN: readonly Unknown[] = [
  { what: 'an unknown model', path: () => '/v2/models/no-such-model', level: 'required' },
  {
    what: 'the readiness of an unknown model',
    path: () => '/v2/models/no-such-model/ready',
    level: 'stricter',
  },
  {
    what: 'inference with an unknown model',
    path: () => '/v2/models/no-such-model/infer',
    method: 'POST',
    level: 'required',
  },
  {
    what: 'a version of an unknown model',
    path: ({ version }) => `/v2/models/no-such-model/versions/${version}`,
    level: 'required',
    notApplicable: versioned,
  },
  {
    what: 'an unknown version',
    path: target => `${modelPath(target, { versioned: false })}/versions/no-such-version`,
    level: 'required',
    notApplicable: versioned,
  },
  {
    what: 'the readiness of an unknown version',
    path: target => `${modelPath(target, { versioned: false })}/versions/no-such-version/ready`,
    level: 'stricter',
    notApplicable: versioned,
  },
  {
    what: 'inference with an unknown version',
    path: target => `${modelPath(target, { versioned: false })}/versions/no-such-version/infer`,
    method: 'POST',
    level: 'required',
    notApplicable: versioned,
  },
  {
    what: 'a version of a model without versions',
    path: target => `${modelPath(target)}/versions/1`,
    level: 'stricter',
    notApplicable: unversioned,
  },
  {
    what: 'inference with a version of a model without versions',
    path: target => `${modelPath(target)}/versions/1/infer`,
    method: 'POST',
    level: 'stricter',
    notApplicable: unversioned,
  },
  {
    what: 'a version whose name starts with a known version',
    path: target => `${modelPath(target)}-no-such`,
    level: 'required',
    notApplicable: versioned,
  },
  {
    what: 'the model’s name in another letter case',
    path: target => `/v2/models/${changeCase(target.model)}`,
    level: 'stricter',
    notApplicable: ({ model }) =>
      changeCase(model) === model ? 'the name has no letters' : undefined,
  },
  { what: 'a model called __proto__', path: () => '/v2/models/__proto__', level: 'required' },
  { what: 'a model called constructor', path: () => '/v2/models/constructor', level: 'required' },
  {
    what: 'a version called __proto__',
    path: target => `${modelPath(target, { versioned: false })}/versions/__proto__`,
    level: 'stricter',
  },
  {
    what: 'an empty model name',
    path: () => '/v2/models//infer',
    method: 'POST',
    level: 'stricter',
  },
  { what: 'an unknown route', path: () => '/v2/no-such-route', level: 'stricter' },
  {
    what: 'an unknown verb of the model',
    path: target => `${modelPath(target)}/no-such-verb`,
    method: 'POST',
    level: 'stricter',
  },
  {
    what: 'an unknown verb called __proto__',
    path: target => `${modelPath(target)}/__proto__`,
    method: 'POST',
    level: 'stricter',
  },
  {
    what: 'a path below the inference route',
    path: target => `${inferPath(target)}/more`,
    method: 'POST',
    level: 'stricter',
  },
  { what: 'a route in capital letters', path: () => '/V2/HEALTH/LIVE', level: 'stricter' },
  {
    what: 'the model’s name with an encoded slash',
    path: target => `/v2/models/${encodeURIComponent(`${target.model}/ready`)}`,
    level: 'stricter',
  },
]

const changeCase = (name: string) =>
  name === name.toUpperCase() ? name.toLowerCase() : name.toUpperCase()

const refuses: readonly Point[] = UNKNOWN.flatMap(
  ({ what, path, method = 'GET', level, ...rest }): Point[] => {
    const stricter: Point = {
      ...rest,
      name: `${what} gets 404 with {"error"}`,
      source: silent('servers return 404 for an unknown resource'),
      level: 'stricter',
      expected: '404 with {"error"}',
      check: async target => assertRefused(await call(target, method, path(target)), 404),
    }
    if (level === 'stricter') return [stricter]
    const required: Point = {
      ...rest,
      name: `${what} gets an error with {"error"}`,
      source: oip(
        method === 'GET'
          ? 'Model Metadata Response JSON Error Object'
          : 'Inference Response JSON Error Object',
      ),
      level,
      expected: 'an error status with {"error"}',
      check: async target => assertError(await call(target, method, path(target))),
    }
    return [required, stricter]
  },
)

export const points: readonly Point[] = [
  ...answers,
  ...refuses,
  ...[
    { what: 'an unknown model', path: () => '/v2/models/no-such-model/ready' },
    {
      what: 'an unknown version',
      path: (target: Target) =>
        `${modelPath(target, { versioned: false })}/versions/no-such-version/ready`,
      notApplicable: versioned,
    },
  ].map(
    ({ what, path, ...rest }): Point => ({
      ...rest,
      name: `${what} is not reported as ready`,
      source: oip('Model Ready'),
      level: 'required',
      expected: 'a status other than 200, or {"ready":false}',
      check: async target => {
        const reply = await get(target, path(target))
        if (reply.status === 200) assert.equal(jsonOf(reply).ready, false)
      },
    }),
  ),
  {
    name: 'invalid percent-encoding gets a 4xx status',
    source: rfc(3986, '2.1'),
    level: 'stricter',
    expected: '4xx with {"error"}',
    check: async target => {
      for (const name of ['%', '%zz', '%ff', 'a%2']) {
        const reply = await get(target, `/v2/models/${name}`)
        assertError(reply)
        assert.ok(reply.status < 500, `${name} got status ${reply.status}`)
      }
    },
  },
  {
    name: 'a model’s name may be percent-encoded',
    source: rfc(3986, '6.2.2.2'),
    level: 'stricter',
    expected: '200',
    check: async target => {
      const encoded = [...Buffer.from(target.model)].map(byte => `%${byte.toString(16)}`).join('')
      assertStatus(await get(target, `/v2/models/${encoded}`), 200)
    },
  },
  {
    name: 'inference gives the same outputs with and without the version in the path',
    source: silent('a server with one version uses that version'),
    level: 'stricter',
    expected: 'the same outputs and model_version',
    notApplicable: target => versioned(target) ?? inJson(target),
    check: async target => {
      const without = readResponse(
        await call(target, 'POST', `${modelPath(target, { versioned: false })}/infer`),
      )
      const versionedAnswer = await infer(target)
      assertSame(target, without, versionedAnswer)
      assert.equal(without.json.model_version, versionedAnswer.json.model_version)
    },
  },
  {
    name: 'a body sent to an unknown route does not affect the next request',
    source: rfc(9112, '9.3'),
    level: 'stricter',
    expected: '200 for the next request',
    notApplicable: inJson,
    check: async target => {
      await call(target, 'POST', '/v2/no-such-route')
      assertStatus(await post(target, exampleRequest(target)), 200)
    },
  },
]
