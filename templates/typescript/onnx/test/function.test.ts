import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type StartedFunction, start } from 'onnx-function'

let server: StartedFunction
before(async () => {
  server = await start({ model: new URL('../model', import.meta.url) })
})
after(() => server.close())

const post = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(server.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

const setosa = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }

test('classifies a flower', async () => {
  const answer = await post(setosa)
  assert.equal(answer.status, 200)
  const { species, confidence } = (await answer.json()) as { species: string; confidence: number }
  assert.equal(species, 'setosa')
  assert.ok(confidence > 0.9, `${confidence}`)
})

test('rejects an invalid flower, and names the invalid field', async () => {
  const answer = await post({ ...setosa, petalWidth: -1 })
  assert.equal(answer.status, 400)
  assert.match(await answer.text(), /petalWidth/)
})

test('responds to an event with an event', async () => {
  const event = {
    'ce-specversion': '1.0',
    'ce-id': '1',
    'ce-source': '/garden',
    'ce-type': 'com.example.flower.request',
  }
  const reply = await post(setosa, event)
  assert.equal(reply.headers.get('ce-type'), 'com.example.flower.response')
  assert.equal(((await reply.json()) as { species: string }).species, 'setosa')
})
