import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { type StartedFunction, start } from 'onnx-function'

interface Payment {
  readonly id: string
}

/** Payments that were not used for training, with the scores that Python computes. */
const HELD_OUT: readonly { payment: Payment; score: number }[] = JSON.parse(
  readFileSync(new URL('training/held-out.json', import.meta.url), 'utf8'),
)
const SUSPICIOUS = HELD_OUT.filter(({ score }) => score >= 0.9)
const GENUINE = HELD_OUT.find(({ score }) => score < 0.9)?.payment

interface Answer {
  readonly paymentId: string
  readonly score: number
}

suite('the fraud filter', () => {
  let server: StartedFunction
  before(async () => {
    server = await start({ model: new URL('model', import.meta.url) })
  })
  after(() => server.close())

  const attributes = (id: string) => ({
    specversion: '1.0',
    id,
    source: '/shop',
    type: 'com.example.payment.created',
  })
  const post = (body: unknown, headers: Record<string, string>) =>
    fetch(server.url, { method: 'POST', headers, body: JSON.stringify(body) })
  const send = (payment: unknown, id = '1') =>
    post(payment, {
      'content-type': 'application/json',
      ...Object.fromEntries(
        Object.entries(attributes(id)).map(([name, value]) => [`ce-${name}`, value]),
      ),
    })

  test('only held-out payments that Python finds suspicious get an event', async () => {
    assert.ok(SUSPICIOUS.length > 0)
    const answers = await Promise.all(
      HELD_OUT.map(async ({ payment, score }) => ({ score, response: await send(payment) })),
    )
    for (const { score, response } of answers) {
      if (score < 0.9) {
        assert.equal(response.status, 204)
        assert.equal(await response.text(), '')
        continue
      }
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('ce-type'), 'com.example.payment.suspicious')
      assert.equal(response.headers.get('ce-severity'), score < 0.97 ? 'medium' : 'high')
      assert.ok(Math.abs(((await response.json()) as Answer).score - score) < 1e-5)
    }
  })

  test('a payment that is delivered twice gets the same reply id twice', async () => {
    const ids = await Promise.all(
      [1, 2].map(async () => (await send(SUSPICIOUS[0]?.payment, '7')).headers.get('ce-id')),
    )
    assert.ok(ids[0])
    assert.equal(ids[0], ids[1])
  })

  test('a batch of events gets replies only to the suspicious payments', async () => {
    const payments = [GENUINE, SUSPICIOUS[0]?.payment, GENUINE]
    const batch = payments.map((data, i) => ({ ...attributes(String(i)), data }))
    const response = await post(batch, { 'content-type': 'application/cloudevents-batch+json' })
    assert.equal(response.status, 200)
    const replies = (await response.json()) as { subject: string }[]
    assert.deepEqual(
      replies.map(({ subject }) => subject),
      ['1'],
    )
  })

  test('an unreadable payment gets 400, so that a Broker sends it to the dead letter sink', async () => {
    const response = await send({ ...GENUINE, time: 'yesterday' })
    assert.equal(response.status, 400)
    assert.match(((await response.json()) as { error: string }).error, /yesterday.*ISO 8601/)
    assert.equal((await send({ id: 'p-1' })).status, 400)
  })

  test('over plain HTTP, a suspicious payment gets a score and any other payment gets 204', async () => {
    const json = { 'content-type': 'application/json' }
    const suspicious = await post(SUSPICIOUS[0]?.payment, json)
    assert.equal(suspicious.status, 200)
    assert.equal(((await suspicious.json()) as Answer).paymentId, SUSPICIOUS[0]?.payment.id)
    assert.equal((await post(GENUINE, json)).status, 204)
  })
})
