import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import {
  placeOfError,
  readResponse,
  short,
  shownRows,
} from '../../function/http/pages/browser/answer.js'
import { curl } from '../../function/http/pages/browser/curl.js'
import { placeText } from '../../function/http/pages/browser/input/elements.js'
import { parseExactly, pretty } from '../../function/http/pages/browser/json.js'
import { follows, ratesBetween, readSample } from '../../function/http/pages/browser/rates.js'
import {
  dataJson,
  elementJson,
  halfBytes,
  inferenceRequest,
  resized,
  structuredEvent,
  writtenTensor,
} from '../../function/http/pages/browser/request.js'
import { sliderRange } from '../../function/http/pages/browser/slider.js'
import { createMetrics } from '../../function/telemetry/metrics.ts'

/** The page's scripts need the FP16 methods of browsers, which Node 24 has. */
const WITH_FP16 = { skip: typeof Float16Array === 'undefined' }

describe('the form on GET /', () => {
  for (const [datatype, typed, sent] of [
    ['FP32', '5.1', '5.1'],
    ['FP32', ' .5 ', '0.5'],
    ['FP32', '5.', '5'],
    ['FP32', '+1e-3', '1e-3'],
    ['FP64', '-0', '-0'],
    ['FP32', 'NaN', '"NaN"'],
    ['INT32', '007', '7'],
    ['INT64', '9223372036854775807', '9223372036854775807'],
    ['BOOL', 'true', 'true'],
    ['BYTES', ' "a" ', '" \\"a\\" "'],
  ] as const) {
    test(`sends ${JSON.stringify(typed)} in a field of ${datatype} as ${sent}`, () =>
      assert.equal(elementJson(datatype, typed), sent))
  }

  for (const typed of ['abc', '', '5,1', '1e', '.', '0x10', 'true']) {
    test(`sends ${JSON.stringify(typed)} in a numeric field as a string, so that the server explains the mistake`, () => {
      assert.equal(elementJson('FP32', typed), JSON.stringify(typed))
    })
  }

  test('sends every typed digit, also beyond 2^53', () => {
    const request = inferenceRequest(
      [
        {
          name: 'x',
          shape: [2],
          datatype: 'INT64',
          data: dataJson('INT64', ['9007199254740993', '-9007199254740993']),
        },
      ],
      [{ name: 'y', datatype: 'INT64' }],
    )
    assert.equal(
      request.json,
      '{"inputs":[{"name":"x","shape":[2],"datatype":"INT64","data":[9007199254740993,-9007199254740993]}]}',
    )
    assert.deepEqual(request.headers, [['Content-Type', 'application/json']])
  })

  test(
    'sends FP16 inputs as binary tensor data after the JSON, and requests FP16 outputs as binary tensor data',
    WITH_FP16,
    () => {
      const { headers, json, bytes } = inferenceRequest(
        [{ name: 'ä', shape: [2], datatype: 'FP16', bytes: halfBytes(['1', '-Infinity']) }],
        [
          { name: 'half', datatype: 'FP16' },
          { name: 'whole', datatype: 'INT32' },
        ],
      )
      assert.deepEqual(JSON.parse(json), {
        inputs: [{ name: 'ä', shape: [2], datatype: 'FP16', parameters: { binary_data_size: 4 } }],
        outputs: [{ name: 'half', parameters: { binary_data: true } }, { name: 'whole' }],
      })
      assert.equal(headers[1]?.[1], String(Buffer.byteLength(json)))
      assert.deepEqual([...(bytes[0] ?? [])], [0x00, 0x3c, 0x00, 0xfc])
    },
  )

  for (const typed of ['abc', '', '65520']) {
    test(
      `sends no request if an FP16 field contains ${JSON.stringify(typed)}, and names the element`,
      WITH_FP16,
      () => {
        assert.throws(() => halfBytes(['1', typed]), {
          element: 1,
          message: /^data\[1\] is .*; allowed for FP16/,
        })
      },
    )
  }

  test('sends valid JSON unchanged, with the shape of its nesting, and rejects invalid JSON', () => {
    const input = { name: 'x', datatype: 'FP32' }
    const keep = (shape: number[]) => shape
    assert.deepEqual(writtenTensor(input, '[[1.50, 2], [3, 4]]\n', keep), {
      ...input,
      shape: [2, 2],
      data: '[[1.50, 2], [3, 4]]',
    })
    assert.throws(() => writtenTensor(input, '[1,', keep), /not valid JSON/)
  })
})

test('an element is named by its feature, or else by its index', () => {
  const names = ['width', 'height']
  assert.deepEqual(
    [
      placeText(1, [2]),
      placeText(3, [2, 2]),
      placeText(0, []),
      placeText(1, [2], names),
      placeText(3, [2, 2], names),
      placeText(1, [3], names),
    ],
    ['[1]', '[1, 1]', '', 'height', '[1] height', '[1]'],
  )
})

test('a dimension that grows repeats its elements, and a dimension that shrinks drops elements', () => {
  assert.deepEqual(resized(['1', '2'], [1, 2], [3, 2], '0'), ['1', '2', '1', '2', '1', '2'])
  assert.deepEqual(resized(['1', '2', '3', '4'], [2, 2], [2, 1], '0'), ['1', '3'])
  assert.deepEqual(resized([], [0, 2], [1, 2], '0'), ['0', '0'])
})

describe('the commands on the pages', () => {
  const arguments_ = (command: string) =>
    execFileSync('bash', ['-c', `curl() { printf '%s\\n' "$@"; cat; }; ${command} </dev/null`], {
      encoding: 'utf8',
    })

  test('pass their arguments to curl unchanged, whatever characters the arguments contain', () => {
    const body = `{"id":"it's $HOME \`id\` \\\\ !! é"}`
    const command = curl({ url: `http://x/it's[1]`, method: 'POST', headers: [['X', `a'b`]], body })
    assert.equal(
      arguments_(command),
      [`http://x/it's[1]`, '--globoff', '-H', `X: a'b`, '-H', 'Content-Type:', '-d', body, ''].join(
        '\n',
      ),
    )
  })

  test('pass binary tensor data through a pipe, and a body that is too long as a file', () => {
    const request = {
      url: 'http://x/',
      method: 'POST',
      headers: [['Content-Type', 'a/b']] as [string, string][],
    }
    const piped = curl({ ...request, body: '{}', tail: Buffer.from([65, 66]).toString('base64') })
    assert.match(
      execFileSync('bash', ['-c', `curl() { cat; }; ${piped}`], { encoding: 'utf8' }),
      /^\{\}AB$/,
    )
    const bytes = curl({ ...request, tail: Buffer.from([65, 66]).toString('base64') })
    assert.match(
      execFileSync('bash', ['-c', `curl() { cat; }; ${bytes}`], { encoding: 'utf8' }),
      /^AB$/,
    )
    assert.match(curl({ ...request, file: 'request.bin' }), /--data-binary '@request.bin'$/)
  })

  test('an event in structured mode contains the request as its data, digit by digit', () => {
    const event = structuredEvent(
      { specversion: '1.0', id: '1' },
      'application/json',
      '"data":{"inputs":[9007199254740993]}',
    )
    assert.equal(
      event,
      '{"specversion":"1.0","id":"1","datacontenttype":"application/json","data":{"inputs":[9007199254740993]}}',
    )
  })
})

describe('the response on GET /', () => {
  const labels = ['a', 'b', 'c']
  const output = (datatype: string, shape: number[], data: unknown[]) => ({ datatype, shape, data })

  test('a response is shown as bars if there is one value for each label', () => {
    const [row] = shownRows(output('FP32', [1, 3], [-1, 3, 0]), labels, true)
    assert.deepEqual(row, {
      bars: [
        { name: 'a', value: -1, length: 1 / 3, isLargest: false },
        { name: 'b', value: 3, length: 1, isLargest: true },
        { name: 'c', value: 0, length: 0, isLargest: false },
      ],
      shares: false,
      negative: true,
      of: 3,
    })
  })

  test('a response is shown as bars if values are shares of 1, named by index if no labels match', () => {
    const rows = shownRows(output('FP32', [2, 2], [0.25, 0.75, 1, 0]), labels, true)
    assert.deepEqual(
      rows.map(({ bars, shares }) => [shares, bars?.map(({ name, length }) => [name, length])]),
      [
        [
          true,
          [
            ['[0]', 0.25],
            ['[1]', 0.75],
          ],
        ],
        [
          true,
          [
            ['[0]', 1],
            ['[1]', 0],
          ],
        ],
      ],
    )
  })

  test('a response is shown with only the largest of many bars', () => {
    const [row] = shownRows(output('FP32', [1, 1000], new Array(1000).fill(0.001)), [], true)
    assert.deepEqual([row?.bars?.length, row?.of], [10, 1000])
  })

  for (const { what, value } of [
    { what: 'that have no labels and are not shares', value: output('FP32', [1, 2], [0.2, 3]) },
    { what: 'that are not finite', value: output('FP32', [1, 3], ['NaN', 0, 1]) },
    { what: 'that are integers', value: output('INT64', [1, 3], [0, 0, 1]) },
    { what: 'of one element', value: output('FP32', [1], [1]) },
  ]) {
    test(`a response is shown as numbers, without bars, for values ${what}`, () => {
      const [row] = shownRows(value, labels, true)
      assert.ok(row?.bars === undefined && row?.numbers?.length === value.data.length)
    })
  }

  test('a response that contains an index is shown with the label of the index', () => {
    const [row] = shownRows(output('INT64', [1], [2]), labels, true)
    assert.deepEqual(row?.numbers, [{ value: 2, label: 'c' }])
  })

  test(
    'a response is shown with exact integers beyond 2^53, and FP16 is read from the bytes after the JSON',
    WITH_FP16,
    () => {
      const json =
        '{"outputs":[{"name":"i","datatype":"INT64","shape":[1],"data":[9007199254740993]},{"name":"h","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}}]}'
      const body = Buffer.concat([Buffer.from(json), Buffer.from([0x00, 0x3c, 0x00, 0xc0])])
      const { outputs } = readResponse(body, String(json.length))
      assert.deepEqual(
        outputs.map(({ data }: { data: unknown[] }) => data),
        [[9007199254740993n], [1, -2]],
      )
      assert.equal(parseExactly('1e300'), 1e300)
      assert.equal(pretty('{"a":[9007199254740993]}'), '{"a": [9007199254740993]}')
    },
  )

  test('a response is shown with numbers of four digits, and with -0', () => {
    assert.deepEqual(
      [
        0.9786807298660278,
        0.00012346,
        0.0000206789,
        8.261232551376452e-7,
        12345678,
        -0,
        'NaN',
        2n ** 60n,
      ].map(short),
      [
        '0.9787',
        '0.0001235',
        '2.068e-5',
        '8.261e-7',
        '12345678',
        '-0',
        'NaN',
        '1152921504606846976',
      ],
    )
  })
})

test('a server error is shown at the input and element that it names, or else above the response', () => {
  const inputs = [{ shown: '"a"' }, { shown: '"a: b"' }]
  assert.deepEqual(placeOfError('input "a": data[2] is "x"; FP32 accepts numbers', inputs), {
    input: 0,
    element: 2,
    text: 'data[2] is "x"; FP32 accepts numbers',
  })
  assert.deepEqual(
    placeOfError('input "a: b": shape [1] has the wrong number of dimensions', inputs),
    {
      input: 1,
      element: undefined,
      text: 'shape [1] has the wrong number of dimensions',
    },
  )
  assert.deepEqual(placeOfError('input "other" is unknown', inputs).input, undefined)
})

test('sliders extend beyond the example, and cover the complete range of a small integer type', () => {
  assert.deepEqual(sliderRange('FP32', ['5.1', '3.5', '1.4', '0.2']), {
    min: 0,
    max: 10,
    step: 0.1,
  })
  assert.deepEqual(sliderRange('FP32', ['-2', '1']), { min: -5, max: 5, step: 0.05 })
  assert.deepEqual(sliderRange('INT64', ['3']), { min: 0, max: 5, step: 1 })
  assert.deepEqual(sliderRange('UINT8', ['7']), { min: 0, max: 255, step: 1 })
  for (const [datatype, element] of [
    ['BYTES', 'a'],
    ['BOOL', 'true'],
    ['FP32', 'NaN'],
    ['INT64', '9223372036854775807'],
  ] as const) {
    assert.equal(sliderRange(datatype, [element]), undefined, `${datatype} ${element}`)
  }
})

describe('the rates on GET /', () => {
  async function sampleOf(
    answers: readonly (readonly ['success' | 'error', number])[],
    at: number,
  ) {
    const metrics = createMetrics(
      {
        model: 'm',
        version: undefined,
        labels: [],
        service: undefined,
        revision: undefined,
        functionVersion: '1',
      },
      () => ({
        queuedRows: 0,
        ready: true,
        batching: { joins: true, reason: 'proven' },
      }),
    )
    for (const [status, seconds] of answers) {
      metrics.began()
      metrics.answered('http', status, seconds)
    }
    return readSample(await metrics.text(), at)
  }

  test('the rates are differences between samples of the metrics, divided by the time', async () => {
    const before = await sampleOf([['success', 0.001]], 10)
    const after = await sampleOf(
      [
        ['success', 0.001],
        ['success', 0.02],
        ['success', 0.02],
        ['error', 0.02],
      ],
      15,
    )
    const { perSecond, errorsPerSecond, mean, p95 } = ratesBetween(before, after)
    assert.deepEqual([perSecond, errorsPerSecond, mean?.toFixed(4)], [0.6, 0.2, '0.0200'])
    // The estimate within the bucket from 0.01 to 0.025, as Prometheus computes it.
    assert.equal(p95?.toFixed(5), '0.02425')
  })

  test('the rates include no latency if no request was answered', async () => {
    const [before, after] = [await sampleOf([], 1), await sampleOf([], 2)]
    assert.deepEqual(ratesBetween(before, after), {
      perSecond: 0,
      errorsPerSecond: 0,
      mean: undefined,
      p95: undefined,
    })
  })

  test('the rates restart if another process responds', async () => {
    const sample = await sampleOf([['success', 0.001]], 1)
    assert.equal(follows(sample, { ...sample, at: 2, requests: 5 }), true)
    assert.equal(follows(sample, { ...sample, at: 2, requests: 0 }), false)
    assert.equal(follows(sample, { ...sample, at: 2, started: sample.started + 1 }), false)
  })
})
