import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Server, startServer } from '../server.ts'
import { type Answer, EVENT, IRIS, MODES, post, refusal, replyIn, SEND } from './events.ts'

/** The CloudEvents HTTP binding, section 3.1.3.2. */
describe('header values in binary mode', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  const send = (headers: Record<string, string>): Promise<Answer> =>
    post(
      server.url,
      {
        'ce-specversion': '1.0',
        'ce-source': '/garden',
        'ce-type': 'x.request',
        'ce-id': '1',
        ...headers,
      },
      JSON.stringify(IRIS),
    )

  const ENCODED: readonly [id: string, header: string][] = [
    ['Euro € 😀', 'Euro%20%E2%82%AC%20%F0%9F%98%80'],
    ['say "hi"', 'say%20%22hi%22'],
    ['100 %', '100%20%25'],
    ['%41', '%2541'],
    ['\u00a0', '%C2%A0'],
    ["a,b;c=d/e?f#g\\h'i", "a,b;c=d/e?f#g\\h'i"],
    ['~!@$^&*()_+{}|[]:<>.', '~!@$^&*()_+{}|[]:<>.'],
    [' padded ', '%20padded%20'],
    ['سلام 世界', '%D8%B3%D9%84%D8%A7%D9%85%20%E4%B8%96%E7%95%8C'],
  ]
  for (const [id, header] of ENCODED) {
    test(`${JSON.stringify(id)} is read from and written as ${header}`, async () => {
      const answer = await send({ 'ce-id': header, 'ce-correlationid': header })
      assert.equal(answer.headers['ce-subject'], header)
      assert.equal(answer.headers['ce-causationid'], header)
      assert.equal(answer.headers['ce-replyid'], header)
      assert.equal(replyIn('binary', answer).subject, id)
      assert.equal(
        replyIn('structured', await SEND.structured(server.url, { ...EVENT, id })).subject,
        id,
      )
    })
  }

  const READ: readonly [how: string, header: string, id: string][] = [
    ['lower-case digits', 'Euro%20%e2%82%ac', 'Euro €'],
    ['characters that need no encoding', '%41%62c', 'Abc'],
    ['a value that is encoded once', '%2541', '%41'],
    ['a percent sign without digits', '100%', '100%'],
    ['a percent sign before characters that are not hexadecimal digits', '%zz%4', '%zz%4'],
    ['a quoted string', '"a b"', 'a b'],
    ['a quoted string with escapes', '"a \\"b\\" \\\\"', 'a "b" \\'],
    ['a quoted string with encoded characters', '"50%25 \\%41"', '50% A'],
    ['two quoted strings', '"a" "b"', '"a" "b"'],
    ['a quote in the middle', 'a"b', 'a"b'],
    ['a quoted string without its closing quote', '"a', '"a'],
    ['unencoded UTF-8', Buffer.from('é€').toString('latin1'), 'é€'],
  ]
  for (const [how, header, id] of READ) {
    test(`${how} is decoded: ${header} is ${id}`, async () => {
      assert.equal(replyIn('binary', await send({ 'ce-id': header })).subject, id)
    })
  }

  const REFUSED: readonly [what: string, header: string, says: RegExp][] = [
    ['an overlong encoding', '%C0%A0', /ce-id is not percent-encoded UTF-8/],
    ['a byte that cannot start a character', '%FF', /ce-id is not percent-encoded UTF-8/],
    ['an incomplete character', '%E2%82', /ce-id is not percent-encoded UTF-8/],
    ['an encoded surrogate', '%ED%A0%80', /ce-id is not percent-encoded UTF-8/],
    ['Latin-1', 'caf\xe9', /ce-id is not percent-encoded UTF-8/],
    [
      'a line break that would begin a new header',
      '1%0D%0ASet-Cookie:%20a=b',
      /control characters/,
    ],
    ['a line feed', '1%0A', /control characters/],
    ['a NUL', '%00', /control characters/],
    ['DEL', '%7F', /control characters/],
    ['a C1 control character', '%C2%85', /control characters/],
    ['a noncharacter', '%EF%BF%BF', /noncharacters/],
  ]
  for (const [what, header, says] of REFUSED) {
    test(`${what} in an attribute is rejected: ${header}`, async () => {
      assert.match(refusal(400, await send({ 'ce-id': header })), says)
    })
  }

  test('the type of the data is the Content-Type, and ce-datacontenttype is ignored', async () => {
    assert.equal(
      replyIn(
        'binary',
        await send({ 'content-type': 'application/json', 'ce-datacontenttype': 'text/plain' }),
      ).subject,
      '1',
    )
  })

  const REFUSED_IN_JSON: readonly [what: string, id: string][] = [
    ['a line break', '1\r\nSet-Cookie: a=b'],
    ['a NUL', '\u0000'],
    ['a C1 control character', '\u0085'],
    ['a lone surrogate', '\ud800'],
    ['a noncharacter', '\ufffe'],
    ['a noncharacter outside the first plane', '\u{1ffff}'],
  ]
  for (const [what, id] of REFUSED_IN_JSON) {
    test(`${what} in an attribute is also rejected in JSON`, async () => {
      assert.match(
        refusal(400, await SEND.structured(server.url, { ...EVENT, id })),
        /id is .* must not contain control characters/,
      )
      refusal(400, await SEND.batched(server.url, { ...EVENT, id }))
      refusal(400, await SEND.structured(server.url, { ...EVENT, correlationid: id }))
    })
  }

  test('an id of 1 MB is returned unchanged', async () => {
    const id = 'é'.repeat(500_000)
    for (const mode of MODES.filter(mode => mode !== 'binary')) {
      const { subject, causationid } = replyIn(mode, await SEND[mode](server.url, { ...EVENT, id }))
      assert.ok(subject === id && causationid === id)
    }
  })
})
