import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { gunzipSync, inflateSync } from 'node:zlib'
import { Compressor } from '../../function/http/compression.ts'

const TEXT = 'to be or not to be '.repeat(1_000)
const answer = (body: string | Uint8Array[], etag?: string) => ({
  body,
  headers: etag === undefined ? {} : { etag },
})

describe('Compressor', () => {
  test('compresses in the encoding that the client prefers', async () => {
    const compressor = new Compressor()
    const of = (accept: string) => compressor.compress(answer(TEXT), TEXT.length, accept)
    const gzip = await of('gzip')
    assert.equal(gunzipSync(gzip?.body ?? '').toString(), TEXT)
    const deflate = await of('gzip;q=0.5, deflate')
    assert.equal(inflateSync(deflate?.body ?? '').toString(), TEXT)
    assert.equal(await of('br'), undefined)
  })

  test('does not compress a body that would not become smaller', async () => {
    const body = [randomBytes(5_000)]
    assert.equal(await new Compressor().compress(answer(body), 5_000, 'gzip'), undefined)
  })

  test('compresses a document with an entity tag once for any number of concurrent requests', async () => {
    const compressor = new Compressor()
    const of = (etag: string) => compressor.compress(answer(TEXT, etag), TEXT.length, 'gzip')
    const all = await Promise.all(Array.from({ length: 1_000 }, () => of('"a"')))
    assert.equal(new Set(all.map(compressed => compressed?.body)).size, 1)
    assert.notEqual((await of('"b"'))?.body, all[0]?.body)
  })

  test('compresses a document again after 16 other documents were requested', async () => {
    const compressor = new Compressor()
    const of = (etag: number) => compressor.compress(answer(TEXT, `"${etag}"`), TEXT.length, 'gzip')
    const first = (await of(0))?.body
    for (let i = 1; i < 16; i++) await of(i)
    assert.equal((await of(0))?.body, first)
    for (let i = 100; i < 116; i++) await of(i)
    assert.notEqual((await of(0))?.body, first)
  })

  test('does not compress further responses while 16 MiB of other responses wait', async () => {
    const compressor = new Compressor()
    const large = 'a'.repeat(4 * 2 ** 20)
    const all = await Promise.all(
      Array.from({ length: 12 }, () => compressor.compress(answer(large), large.length, 'gzip')),
    )
    assert.equal(all.filter(Boolean).length, 7)
    assert.ok(await compressor.compress(answer(TEXT), TEXT.length, 'gzip'))
  })

  test('does not make small responses wait for large responses', async () => {
    const compressor = new Compressor()
    const ended: string[] = []
    const compress = async (size: string, text: string) => {
      await compressor.compress(answer(text), text.length, 'gzip')
      ended.push(size)
    }
    const large = 'a'.repeat(2 ** 21)
    const all = Array.from({ length: 8 }, () => compress('large', large))
    await Promise.all([...all, compress('small', TEXT)])
    assert.ok(ended.indexOf('small') < 4, ended.join())
  })
})
