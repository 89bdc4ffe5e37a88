import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createApp } from '../http/ask.ts'
import { IRIS } from '../http/client.ts'

const AZURE = { 'webhook-request-origin': 'eventgrid.azure.net', 'webhook-request-rate': '120' }

const granted = (headers: Readonly<Record<string, string>> | undefined) =>
  Object.keys(headers ?? {}).filter(name => name.startsWith('webhook-'))

describe('a sender that requests permission to deliver events', async () => {
  const { ask } = await createApp({ WEBHOOK_ORIGINS: 'eventgrid.azure.net, Events.Example' })

  for (const path of ['/', IRIS]) {
    test(`permits a listed sender to deliver events to ${path} at any rate`, async () => {
      const { status, headers } = (await ask('OPTIONS', path, { headers: AZURE })) ?? {}
      assert.deepEqual(
        [status, headers],
        [
          200,
          {
            allow: 'POST, OPTIONS',
            'webhook-allowed-origin': 'eventgrid.azure.net',
            'webhook-allowed-rate': '*',
          },
        ],
      )
    })
  }

  test('returns the sender’s origin unchanged, in any case', async () => {
    const headers = { 'webhook-request-origin': 'EVENTS.example' }
    const answer = await ask('OPTIONS', '/', { headers })
    assert.equal(answer?.headers['webhook-allowed-origin'], 'EVENTS.example')
  })

  test('gives no permission for paths that accept no events', async () => {
    for (const path of ['/v2', '/metrics', '*'])
      assert.deepEqual(granted((await ask('OPTIONS', path, { headers: AZURE }))?.headers), [])
  })

  test('gives no permission to a sender whose origin is not listed', async () => {
    const headers = { 'webhook-request-origin': 'azure.net' }
    const answer = await ask('OPTIONS', '/', { headers })
    assert.deepEqual([answer?.status, granted(answer?.headers)], [204, []])
  })

  test('gives no permission without WEBHOOK_ORIGINS', async () => {
    const { ask } = await createApp()
    const answer = await ask('OPTIONS', '/', { headers: AZURE })
    assert.deepEqual([answer?.status, granted(answer?.headers)], [204, []])
  })

  test('requires no token to request permission, but requires a token for events', async () => {
    const { ask } = await createApp({ WEBHOOK_ORIGINS: '*', AUTH_SECRET: 'a-secret-of-the-tests' })
    assert.equal((await ask('OPTIONS', '/', { headers: AZURE }))?.status, 200)
    assert.equal((await ask('POST', '/', { headers: AZURE, body: '{}' }))?.status, 401)
    assert.equal((await ask('OPTIONS', '/v2', { headers: AZURE }))?.status, 401)
  })

  test('does not reveal to a sender without a token whether a model is served', async () => {
    const { ask } = await createApp({ WEBHOOK_ORIGINS: '*', AUTH_SECRET: 'a-secret-of-the-tests' })
    for (const path of [
      IRIS,
      '/v2/models/iris-classifier',
      '/v2/models/iris-classifier/versions/1.0.0/infer',
    ]) {
      const served = await ask('OPTIONS', path, { headers: AZURE })
      const other = await ask('OPTIONS', path.replace('iris-classifier', 'other'), {
        headers: AZURE,
      })
      assert.deepEqual(other, served)
    }
  })
})
