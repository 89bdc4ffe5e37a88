import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type StartedFunction, start } from 'onnx-function'

const SETOSA = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }
const VERSICOLOR = { sepalLength: 7, sepalWidth: 3.2, petalLength: 4.7, petalWidth: 1.4 }
const VIRGINICA = { sepalLength: 6.3, sepalWidth: 3.3, petalLength: 6, petalWidth: 2.5 }

interface Answer {
  readonly species: string
  readonly confidence: number
}

suite('iris by named fields', () => {
  let server: StartedFunction
  before(async () => {
    server = await start({ model: new URL('model', import.meta.url) })
  })
  after(() => server.close())

  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })

  for (const [species, flower] of Object.entries({
    setosa: SETOSA,
    versicolor: VERSICOLOR,
    virginica: VIRGINICA,
  }))
    test(`a ${species} is recognized by its measurements`, async () => {
      const response = await post(flower)
      assert.equal(response.status, 200)
      const answer = (await response.json()) as Answer
      assert.equal(answer.species, species)
      assert.ok(answer.confidence > 1 / 3 && answer.confidence <= 1)
    })

  test('the error names a field that is missing, misspelt or not a number', async () => {
    const { petalWidth: _, ...rest } = SETOSA
    for (const body of [rest, { ...rest, petalwidth: 0.2 }, { ...rest, petalWidth: '0.2' }]) {
      const response = await post(body)
      assert.equal(response.status, 400)
      assert.match(((await response.json()) as { error: string }).error, /petalWidth/)
    }
  })

  const event = { specversion: '1.0', id: '1', source: '/garden', type: 'com.example.iris.request' }

  test('an event in binary mode gets a reply in binary mode', async () => {
    const headers = Object.entries(event).map(([name, value]) => [`ce-${name}`, value])
    const response = await post(SETOSA, Object.fromEntries(headers))
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('ce-type'), 'com.example.iris.response')
    assert.equal(response.headers.get('ce-subject'), '1')
    assert.equal(((await response.json()) as Answer).species, 'setosa')
  })

  test('an event in structured mode gets a reply in structured mode', async () => {
    const response = await post(
      { ...event, data: VIRGINICA },
      { 'content-type': 'application/cloudevents+json' },
    )
    assert.equal(response.status, 200)
    const reply = (await response.json()) as { type: string; subject: string; data: Answer }
    assert.equal(reply.type, 'com.example.iris.response')
    assert.equal(reply.subject, '1')
    assert.equal(reply.data.species, 'virginica')
  })

  test('a batch of events gets replies in order, and an invalid event does not affect the other events', async () => {
    const response = await post(
      [
        { ...event, data: SETOSA },
        { ...event, id: '2', data: { sepalLength: 5.1 } },
        { ...event, id: '3', data: VERSICOLOR },
      ],
      { 'content-type': 'application/cloudevents-batch+json' },
    )
    assert.equal(response.status, 200)
    const replies = (await response.json()) as {
      type: string
      subject: string
      data: Partial<Answer> & { error?: string }
    }[]
    assert.deepEqual(
      replies.map(({ subject, data }) => [subject, data.species]),
      [
        ['1', 'setosa'],
        ['2', undefined],
        ['3', 'versicolor'],
      ],
    )
    assert.match(replies[1]?.type ?? '', /\.error$/)
    assert.match(replies[1]?.data.error ?? '', /sepalWidth/)
  })
})
