import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { type StartedFunction, start } from 'onnx-function'
import { PNG } from 'pngjs'

interface Answer {
  readonly digit: number
  readonly probabilities: readonly number[]
}

/** Pictures that were not used for training, with the probabilities that Python computes. */
const HELD_OUT: readonly { png: string; probabilities: readonly number[] }[] = JSON.parse(
  readFileSync(new URL('training/held-out.json', import.meta.url), 'utf8'),
)
const FIRST = Buffer.from(HELD_OUT[0]?.png ?? '', 'base64')

suite('digits', () => {
  let server: StartedFunction
  before(async () => {
    server = await start({ model: new URL('model', import.meta.url) })
  })
  after(() => server.close())

  const post = (body: Uint8Array<ArrayBuffer> | string, contentType = 'image/png') =>
    fetch(server.url, { method: 'POST', headers: { 'content-type': contentType }, body })

  const read = async (png: Uint8Array<ArrayBuffer>) => {
    const response = await post(png)
    assert.equal(response.status, 200, await response.clone().text())
    return (await response.json()) as Answer
  }

  const refusal = async (response: Response) =>
    [response.status, ((await response.json()) as { error: string }).error] as const

  test('each held-out picture gets the same digit and probabilities as in Python', async () => {
    assert.equal(HELD_OUT.length, 450)
    await Promise.all(
      HELD_OUT.map(async ({ png, probabilities }, i) => {
        const answer = await read(Buffer.from(png, 'base64'))
        assert.equal(
          answer.digit,
          probabilities.indexOf(Math.max(...probabilities)),
          `picture ${i}`,
        )
        answer.probabilities.forEach((probability, digit) => {
          const expected = probabilities[digit] ?? NaN
          assert.ok(
            Math.abs(probability - expected) < 1e-5,
            `picture ${i}, digit ${digit}: ${probability} instead of ${expected}`,
          )
        })
      }),
    )
  })

  test('a larger picture is reduced to the mean brightness of each field', async () => {
    const small = PNG.sync.read(FIRST)
    const large = new PNG({ width: 80, height: 80 })
    for (let pixel = 0; pixel < 80 * 80; pixel++) {
      const x = Math.floor((pixel % 80) / 10)
      const y = Math.floor(pixel / 800)
      small.data.copy(large.data, pixel * 4, (y * 8 + x) * 4, (y * 8 + x) * 4 + 4)
    }
    assert.deepEqual(await read(Buffer.from(PNG.sync.write(large))), await read(FIRST))
  })

  test('data that is not a PNG is rejected', async () => {
    assert.match(
      String(await refusal(await post(Buffer.from('GIF89a')))),
      /^400,the body is not a PNG/,
    )
    assert.match(String(await refusal(await post('{}', 'application/json'))), /^415,.*image\/png/)
    const cut = FIRST.subarray(0, FIRST.length - 20)
    assert.match(String(await refusal(await post(cut))), /^400,the PNG is damaged/)
  })

  suite('a PNG that declares too large a size or inflates to too many bytes', () => {
    const chunk = (type: string, data: Uint8Array) => {
      const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
      const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)]
      length.writeUInt32BE(data.length)
      crc.writeUInt32BE(crc32(named))
      return Buffer.concat([length, named, crc])
    }
    const head = (width: number, height: number, interlaced = 0) => {
      const data = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, interlaced])
      data.writeUInt32BE(width)
      data.writeUInt32BE(height, 4)
      return chunk('IHDR', data)
    }
    const png = (...chunks: readonly Buffer[]) =>
      Buffer.concat([FIRST.subarray(0, 8), ...chunks, chunk('IEND', Buffer.alloc(0))])
    /** 64 KiB that inflate to 64 MiB. */
    const bomb = chunk('IDAT', deflateSync(Buffer.alloc(2 ** 26)))

    const ATTACKS: readonly (readonly [string, Buffer<ArrayBuffer>, number, RegExp])[] = [
      [
        'a header with a large size',
        png(head(50_000, 50_000), bomb),
        413,
        /50000 × 50000 pixels; at most 512 × 512/,
      ],
      ['a header with too small a size', png(head(8, 8), bomb), 400, /damaged/],
      ['an interlaced picture', png(head(8, 8, 1), bomb), 400, /interlaced/],
      ['a second header', png(head(8, 8), head(50_000, 50_000), bomb), 400, /two headers/],
      ['a header without pixels', png(head(0, 0), bomb), 400, /at least 8 × 8/],
    ]
    for (const [name, body, status, message] of ATTACKS)
      test(`${name} is rejected before memory is allocated`, async () => {
        const before = process.memoryUsage().rss
        const [actual, error] = await refusal(await post(body))
        assert.equal(actual, status)
        assert.match(error, message)
        assert.ok(process.memoryUsage().rss - before < 2 ** 25)
      })
  })
})
