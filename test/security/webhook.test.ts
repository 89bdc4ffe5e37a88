import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createApp } from '../http/ask.ts'
import { IRIS } from '../http/client.ts'

const AZURE = { 'webhook-request-origin': 'eventgrid.azure.net', 'webhook-request-rate': '120' }

const granted = (headers: Readonly<Record<string, string>> | undefined) =>
  Object.keys(headers ?? {}).filter(name => name.startsWith('webhook-'))

describe('a sender that asks whether it may deliver events', async () => {
  const { ask } = await createApp({ WEBHOOK_ORIGINS: 'eventgrid.azure.net, Events.Example' })

  for (const path of ['/', IRIS]) {
    test(`is allowed to at ${path}, at any rate`, async () => {
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

  test('is named back as it wrote itself, in any case', async () => {
    const headers = { 'webhook-request-origin': 'EVENTS.example' }
    const answer = await ask('OPTIONS', '/', { headers })
    assert.equal(answer?.headers['webhook-allowed-origin'], 'EVENTS.example')
  })

  test('is not allowed to where no events are taken', async () => {
    for (const path of ['/v2', '/metrics', '*'])
      assert.deepEqual(granted((await ask('OPTIONS', path, { headers: AZURE }))?.headers), [])
  })

  test('is not allowed to where it is not named', async () => {
    const headers = { 'webhook-request-origin': 'azure.net' }
    const answer = await ask('OPTIONS', '/', { headers })
    assert.deepEqual([answer?.status, granted(answer?.headers)], [204, []])
  })

  test('is not allowed to without WEBHOOK_ORIGINS', async () => {
    const { ask } = await createApp()
    const answer = await ask('OPTIONS', '/', { headers: AZURE })
    assert.deepEqual([answer?.status, granted(answer?.headers)], [204, []])
  })

  test('needs no token to ask, as its events do', async () => {
    const { ask } = await createApp({ WEBHOOK_ORIGINS: '*', AUTH_SECRET: 'a-secret-of-the-tests' })
    assert.equal((await ask('OPTIONS', '/', { headers: AZURE }))?.status, 200)
    assert.equal((await ask('POST', '/', { headers: AZURE, body: '{}' }))?.status, 401)
    for (const path of ['/v2', '/v2/models/other/infer'])
      assert.equal((await ask('OPTIONS', path, { headers: AZURE }))?.status, 401)
  })
})
