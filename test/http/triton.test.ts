import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Statistics } from '../../function/inference/statistics.ts'
import { createApp } from './ask.ts'
import { IRIS, irisBody } from './client.ts'

const MODEL = '/v2/models/iris-classifier'

describe('requests from Triton clients that are not part of the Open Inference Protocol', async () => {
  const app = await createApp()
  const index = async (body?: string) =>
    (await app.ask('POST', '/v2/repository/index', body === undefined ? {} : { body }))?.json

  test('the index lists a model that is not loaded, unless the request is only for ready models', async () => {
    const { ask } = await createApp()
    const all = await ask('POST', '/v2/repository/index', { body: '' })
    assert.deepEqual(
      all?.json.map(({ reason, ...entry }: { reason: string }) => ({
        ...entry,
        why: reason !== '',
      })),
      [{ name: 'iris-classifier', version: 'v1.0.0', state: 'UNAVAILABLE', why: true }],
    )
    const ready = await ask('POST', '/v2/repository/index', { body: '{"ready":true}' })
    assert.deepEqual(ready?.json, [])
  })

  test('the index lists the loaded model', async () => {
    await app.service.model.load()
    const expected = [{ name: 'iris-classifier', version: 'v1.0.0', state: 'READY', reason: '' }]
    for (const body of [undefined, '', '{}', '{"ready":false}', '{"ready":true}', '{"ready":null}'])
      assert.deepEqual(await index(body), expected, body)
  })

  for (const [body, says] of [
    ['{"ready":1}', 'ready is 1; it must be true or false'],
    ['[]', 'the body is an array of length 0; it must be a JSON object'],
    ['{', /^the body is not valid JSON: /],
  ] as const) {
    test(`an index request with the body ${body} gets 400`, async () => {
      const { error } = (await index(body)) as { error: string }
      if (typeof says === 'string') assert.equal(error, says)
      else assert.match(error, says)
    })
  }

  test('GET /v2/models returns the name of the model, like KServe’s server', async () => {
    assert.deepEqual((await app.ask('GET', '/v2/models'))?.json, { models: ['iris-classifier'] })
  })

  test('the configuration contains what perf_analyzer needs: dimensions without the rows, and the maximum batch size', async () => {
    for (const path of [`${MODEL}/config`, `${MODEL}/versions/v1.0.0/config`]) {
      const { name, max_batch_size, input, output } = (await app.ask('GET', path))?.json ?? {}
      assert.deepEqual(
        { name, max_batch_size, input, output },
        {
          name: 'iris-classifier',
          max_batch_size: 256,
          input: [{ name: 'input', data_type: 'TYPE_FP32', dims: [4] }],
          output: [
            { name: 'probabilities', data_type: 'TYPE_FP32', dims: [3] },
            { name: 'predicted_class', data_type: 'TYPE_STRING', dims: [] },
          ],
        },
      )
    }
  })

  test('the statistics count the answered requests, at each of their paths', async () => {
    const counts = async (path: string) => {
      const answer = await app.ask('GET', path)
      assert.ok(answer)
      const [{ name, version, inference_count, inference_stats }] = answer.json.model_stats
      return [
        name,
        version,
        inference_count,
        inference_stats.success.count,
        inference_stats.fail.count,
      ]
    }
    const [, , rows, answered, failed] = await counts(`${MODEL}/stats`)
    await app.ask('POST', IRIS, { body: irisBody() })
    await app.ask('POST', IRIS, { body: '{}' })
    for (const path of [`${MODEL}/stats`, `${MODEL}/versions/v1.0.0/stats`, '/v2/models/stats'])
      assert.deepEqual(await counts(path), [
        'iris-classifier',
        '1',
        rows + 1,
        answered + 1,
        failed + 1,
      ])
  })

  for (const [version, number] of [
    ['7', '7'],
    ['v2.1.0', '2'],
    ['candidate', '1'],
    ['2026-11-29', '2026'],
    ['007', '7'],
    ['build-12345678901234567890', '123456789012345678'],
    [undefined, '1'],
  ] as const) {
    test(`the statistics show version ${version} as ${number}, because perf_analyzer accepts only numbers, like Triton`, () => {
      assert.equal(new Statistics().read('iris', version).version, number)
    })
  }

  test('a model with the name "stats" has its metadata at its own path', async () => {
    const { ask, service } = await createApp({ MODEL_NAME: 'stats' })
    await service.model.load()
    assert.equal((await ask('GET', '/v2/models/stats'))?.json.platform, 'onnx_onnxv1')
    assert.equal((await ask('GET', '/v2/models/stats/stats'))?.json.model_stats.length, 1)
  })

  for (const [method, path, says] of [
    ['POST', '/v2/repository/models/iris-classifier/load', /one model, which it loads at startup/],
    [
      'POST',
      '/v2/repository/models/iris-classifier/unload',
      /one model, which it loads at startup/,
    ],
    ['POST', '/v2/systemsharedmemory/region/x/register', /does not share memory with clients/],
    ['GET', '/v2/cudasharedmemory/status', /does not share memory with clients/],
    ['GET', '/v2/trace/setting', /OTEL_/],
    ['GET', `${MODEL}/trace/setting`, /OTEL_/],
    ['POST', '/v2/logging', /LOG_LEVEL/],
  ] as const) {
    test(`${method} ${path} gets 404, and the error gives the reason`, async () => {
      const answer = await app.ask(method, path)
      assert.equal(answer?.status, 404)
      assert.match(answer.json.error, says)
    })
  }
})
