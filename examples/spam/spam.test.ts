import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { type StartedFunction, start } from 'onnx-function'

/** Messages that were not used for training, with the predictions of scikit-learn. */
const HELD_OUT: readonly { text: string; label: string; spam: number }[] = JSON.parse(
  readFileSync(new URL('training/held-out.json', import.meta.url), 'utf8'),
)

interface Answer {
  readonly label: string
  readonly score: number
}

suite('spam', () => {
  let server: StartedFunction
  before(async () => {
    server = await start({ model: new URL('model', import.meta.url) })
  })
  after(() => server.close())

  const post = (body: string, contentType = 'text/plain') =>
    fetch(server.url, { method: 'POST', headers: { 'content-type': contentType }, body })

  const assertPythonsAnswer = async (response: Response, { label, spam }: (typeof HELD_OUT)[0]) => {
    assert.equal(response.status, 200)
    const answer = (await response.json()) as Answer
    assert.equal(answer.label, label)
    assert.ok(Math.abs(answer.score - spam) < 1e-5, `${answer.score} instead of ${spam}`)
  }

  test('each held-out message gets the same label and score as in scikit-learn', async () => {
    assert.equal(HELD_OUT.length, 60)
    await Promise.all(
      HELD_OUT.map(async message => assertPythonsAnswer(await post(message.text), message)),
    )
  })

  test('a message can also be a JSON string', async () => {
    const [message] = HELD_OUT as [(typeof HELD_OUT)[0]]
    await assertPythonsAnswer(await post(JSON.stringify(message.text), 'application/json'), message)
  })

  test('an event with text gets an event with JSON', async () => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: {
        'content-type': 'text/plain',
        'ce-specversion': '1.0',
        'ce-id': '1',
        'ce-source': '/inbox',
        'ce-type': 'com.example.mail.received',
      },
      body: 'Claim your free prize now',
    })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('ce-type'), 'com.example.mail.received.response')
    assert.equal(((await response.json()) as Answer).label, 'spam')
  })

  test('an empty message and a message that is too long get 400', async () => {
    for (const text of ['', 'a '.repeat(5_001)]) assert.equal((await post(text)).status, 400)
  })
})
