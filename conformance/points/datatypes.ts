import assert from 'node:assert/strict'
import { assertEchoed, assertRefused, assertStatus, infer, inferBinary, jsonOf } from '../answer.ts'
import {
  all,
  batched,
  binary,
  echoesVectorsOf,
  gives,
  inJson,
  notEmpty,
  takes,
  takesOneOf,
} from '../applies.ts'
import type { Reply } from '../connection.ts'
import { IN_JSON, INTEGERS, plainValues, rowOf } from '../datatypes.ts'
import { raw } from '../json.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Point, Target, Tensor, Value } from '../point.ts'
import {
  binaryRequest,
  exampleInput,
  exampleRequest,
  outputsOf,
  post,
  postBinary,
  reshaped,
  rowsOf,
  withInput,
} from '../request.ts'
import { binaryExtension, oip, rfc, silent } from '../sources.ts'

const DATA = oip('Tensor Data')
const TYPES = oip('Tensor Data Types')
const BINARY = binaryExtension('Binary Tensor Request')
const SAME = 'the same shape and data'

const vector = (target: Target, data: readonly Value[]) => ({
  ...exampleInput(target),
  shape: [data.length],
  data,
})

/** Values that JSON parsers often lose. */
const HARD: Readonly<Record<string, string>> = {
  INT64: 'integers beyond 2^53',
  UINT64: 'integers beyond 2^53',
  FP32: '−0 and denormal numbers',
  FP64: '−0 and denormal numbers',
}

/** Each value in the table must come back unchanged, in each encoding. */
const roundTrips: Point[] = [...IN_JSON, 'FP16'].flatMap(datatype => {
  const plain = plainValues(datatype)
  const finite = rowOf(datatype).values.filter(
    value => typeof value !== 'number' || Number.isFinite(value),
  )
  const json: Point[] = [
    {
      name: `${datatype} values sent as JSON come back unchanged as JSON`,
      source: TYPES,
      level: 'required',
      expected: SAME,
      notApplicable: all(inJson, echoesVectorsOf(datatype)),
      check: async target =>
        assertEchoed(
          await infer(target, { inputs: [vector(target, plain)] }),
          vector(target, plain),
        ),
    },
    {
      name: `${datatype} values sent as JSON come back unchanged as binary data`,
      source: BINARY,
      level: 'required',
      expected: SAME,
      notApplicable: all(binary, inJson, echoesVectorsOf(datatype)),
      check: async target => {
        const request = {
          inputs: [vector(target, plain)],
          outputs: outputsOf(target, { binary_data: true }),
        }
        assertEchoed(await infer(target, request), vector(target, plain))
      },
    },
    {
      name: `${datatype} values sent as binary data come back unchanged as JSON`,
      source: BINARY,
      level: 'required',
      expected: SAME,
      notApplicable: all(binary, inJson, echoesVectorsOf(datatype)),
      check: async target =>
        assertEchoed(await inferBinary(target, [vector(target, plain)]), vector(target, plain)),
    },
    {
      name: `an empty ${datatype} tensor comes back empty`,
      source: silent('Triton accepts tensors without elements'),
      level: 'stricter',
      expected: 'shape [0] and data []',
      notApplicable: all(inJson, echoesVectorsOf(datatype)),
      check: async target =>
        assertEchoed(await infer(target, { inputs: [vector(target, [])] }), vector(target, [])),
    },
  ]
  const hard: Point[] = Object.entries({
    'in JSON requests and responses': (target: Target, sent: Tensor) =>
      infer(target, { inputs: [sent] }),
    'from JSON to binary data': (target: Target, sent: Tensor) =>
      infer(target, { inputs: [sent], outputs: outputsOf(target, { binary_data: true }) }),
    'from binary data to JSON': (target: Target, sent: Tensor) => inferBinary(target, [sent]),
  }).map(([way, ask]) => ({
    name: `${datatype} keeps ${HARD[datatype]} ${way}`,
    source: `${TYPES}; ${rfc(8259, '6')} does not guarantee this precision`,
    level: 'stricter',
    expected: SAME,
    notApplicable: all(way.includes('binary') ? binary : all(), inJson, echoesVectorsOf(datatype)),
    check: async target =>
      assertEchoed(await ask(target, vector(target, finite)), vector(target, finite)),
  }))
  return [
    ...(datatype === 'FP16' ? [] : json),
    ...(HARD[datatype] === undefined ? [] : hard),
    {
      name: `${datatype} values sent as binary data come back unchanged as binary data`,
      source: BINARY,
      level: 'required',
      expected: SAME,
      notApplicable: all(binary, echoesVectorsOf(datatype)),
      check: async target => {
        const sent = vector(target, rowOf(datatype).values)
        assertEchoed(
          await inferBinary(target, [sent], { outputs: outputsOf(target, { binary_data: true }) }),
          sent,
        )
      },
    },
  ]
})

const element = (
  datatype: string,
  mistake: string,
  json: string,
  level: Point['level'],
  source = DATA,
): Mistake => ({
  mistake,
  source,
  level,
  notApplicable: all(inJson, notEmpty, takes(datatype)),
  send: target =>
    post(target, withInput(target, { data: [raw(json), ...exampleInput(target).data.slice(1)] })),
})

const WRONG: readonly {
  readonly what: string
  readonly json: string
  readonly fits: (datatype: string) => boolean
}[] = [
  { what: 'null', json: 'null', fits: () => false },
  { what: 'an object', json: '{}', fits: () => false },
  { what: 'true', json: 'true', fits: datatype => datatype === 'BOOL' },
  { what: 'false', json: 'false', fits: datatype => datatype === 'BOOL' },
  {
    what: 'the number 0',
    json: '0',
    fits: datatype => datatype !== 'BOOL' && datatype !== 'BYTES',
  },
  {
    what: 'the number 1',
    json: '1',
    fits: datatype => datatype !== 'BOOL' && datatype !== 'BYTES',
  },
  { what: 'a fraction', json: '1.5', fits: datatype => datatype.startsWith('FP') },
  { what: 'a number in a string', json: '"1"', fits: datatype => datatype === 'BYTES' },
  { what: 'an empty string', json: '""', fits: datatype => datatype === 'BYTES' },
  { what: '"true"', json: '"true"', fits: datatype => datatype === 'BYTES' },
  { what: '"constructor"', json: '"constructor"', fits: datatype => datatype === 'BYTES' },
  { what: '"__proto__"', json: '"__proto__"', fits: datatype => datatype === 'BYTES' },
]

const wrongElements: Mistake[] = IN_JSON.flatMap(datatype =>
  WRONG.filter(({ fits }) => !fits(datatype)).map(({ what, json }) =>
    element(
      datatype,
      `${what} in ${datatype} data`,
      json,
      json === '{}' ? 'required' : 'stricter',
      json === '{}'
        ? DATA
        : oip(
            'Tensor Data',
            '"can decide to coerce each element"; an error is better than a wrong result',
          ),
    ),
  ),
)

const limits: Mistake[] = INTEGERS.flatMap(datatype => {
  const [least, most] = rowOf(datatype).values.map(value => BigInt(value as number)) as [
    bigint,
    bigint,
  ]
  return [
    element(
      datatype,
      `${least - 1n}, one below the minimum of ${datatype},`,
      String(least - 1n),
      'stricter',
      TYPES,
    ),
    element(
      datatype,
      `${most + 1n}, one above the maximum of ${datatype},`,
      String(most + 1n),
      'stricter',
      TYPES,
    ),
    element(datatype, `1e30 in ${datatype} data`, '1e30', 'stricter', TYPES),
    element(datatype, `1e400 in ${datatype} data`, '1e400', 'stricter', TYPES),
    element(
      datatype,
      `an integer of 1000 digits in ${datatype} data`,
      '9'.repeat(1000),
      'stricter',
      TYPES,
    ),
    element(datatype, `"NaN" in ${datatype} data`, '"NaN"', 'stricter', TYPES),
  ]
})

const overflows: Mistake[] = [
  ['FP32', '1e39'],
  ['FP32', '-1e39'],
  ['FP32', '3.4028236e38'],
  ['FP32', '1e400'],
  ['FP64', '1e400'],
  ['FP64', '-1e400'],
  ['FP64', '1.7976931348623159e308'],
  ['FP64', '9'.repeat(400)],
].map(([datatype, json]) => {
  const shown = (json as string).length > 40 ? 'an integer of 400 digits' : json
  return element(
    datatype as string,
    `${shown}, which is outside the range of ${datatype},`,
    json as string,
    'stricter',
    TYPES,
  )
})

const bareTokens: Mistake[] = ['FP32', 'FP64'].flatMap(datatype =>
  ['NaN', 'Infinity', '-Infinity', 'nan', 'inf', '+1', '.5', '1.', '0x10'].map(token =>
    element(
      datatype,
      `the bare token ${token} in ${datatype} data`,
      token,
      'stricter',
      rfc(8259, '6'),
    ),
  ),
)

const otherSpellings: Mistake[] = ['FP32', 'FP64'].flatMap(datatype =>
  ['nan', 'inf', '+Infinity', '-NaN', ' NaN', '1e5'].map(text =>
    element(datatype, `"${text}" in ${datatype} data`, `"${text}"`, 'stricter'),
  ),
)

const SPELLINGS: readonly {
  readonly datatype: string
  readonly json: string
  readonly value: Value
}[] = [
  { datatype: 'INT32', json: '1e2', value: 100 },
  { datatype: 'INT32', json: '7.0', value: 7 },
  { datatype: 'INT64', json: '-1.0', value: -1n },
  { datatype: 'UINT8', json: '25.5e1', value: 255 },
  { datatype: 'FP32', json: '1E-3', value: Math.fround(0.001) },
  { datatype: 'FP32', json: '-0', value: -0 },
  { datatype: 'FP32', json: '-0.0e5', value: -0 },
  { datatype: 'FP32', json: '1e-60', value: 0 },
  { datatype: 'FP32', json: '3.4028235e38', value: 3.4028234663852886e38 },
  { datatype: 'FP32', json: '16777217', value: 16777216 },
  { datatype: 'FP32', json: '0.1', value: Math.fround(0.1) },
  {
    datatype: 'FP32',
    json: '12345678901234567890',
    value: Math.fround(Number('12345678901234567890')),
  },
  { datatype: 'FP64', json: '9007199254740993', value: 9007199254740992 },
  { datatype: 'FP64', json: '0.1000000000000000055511151231257827', value: 0.1 },
  { datatype: 'FP64', json: '5e-324', value: 5e-324 },
  { datatype: 'FP64', json: '-0', value: -0 },
  { datatype: 'BYTES', json: '"\\u0041\\ud83c\\udf38\\/"', value: 'A🌸/' },
  { datatype: 'BYTES', json: '"NaN"', value: 'NaN' },
]

const spellings: Point[] = SPELLINGS.map(({ datatype, json, value }) => ({
  name: `${json} in ${datatype} data is read as ${Object.is(value, -0) ? '-0' : value}`,
  source: rfc(8259, json.startsWith('"') ? '7' : '6'),
  level: 'stricter',
  expected: SAME,
  notApplicable: all(inJson, echoesVectorsOf(datatype)),
  check: async target =>
    assertEchoed(await infer(target, withInput(target, { shape: [1], data: [raw(json)] })), {
      shape: [1],
      data: [value],
    }),
}))

const notFinite: Point[] = ['FP32', 'FP64'].map(datatype => ({
  name: `NaN, Infinity and -Infinity are strings in ${datatype} requests and responses`,
  source: silent('JSON has no such numbers, and null would not distinguish them'),
  level: 'stricter',
  expected: '["NaN","Infinity","-Infinity",1]',
  notApplicable: all(inJson, echoesVectorsOf(datatype)),
  check: async target => {
    const data = ['NaN', 'Infinity', '-Infinity', 1]
    const reply = await post(target, { inputs: [{ ...exampleInput(target), shape: [4], data }] })
    assertStatus(reply, 200)
    const { outputs } = jsonOf(reply) as { outputs: { data: unknown }[] }
    assert.deepEqual(outputs[0]?.data, data)
  },
}))

/** A server must return a BYTES element unchanged or reject it. */
const keptOrRefused = (
  what: string,
  ask: (target: Target) => Promise<Reply>,
  kept: (body: Buffer) => boolean,
  conditions = all(),
): Point => ({
  name: `${what} comes back unchanged or is rejected`,
  source: silent('an error is better than a wrong result'),
  level: 'stricter',
  expected: 'the same bytes, or 400 with {"error"}',
  notApplicable: all(conditions, inJson, echoesVectorsOf('BYTES')),
  check: async target => {
    const reply = await ask(target)
    if (reply.status === 200)
      assert.ok(kept(reply.body), `the response is ${JSON.stringify(reply.body.toString())}`)
    else assertRefused(reply, 400)
  },
})

const bytesPoints: Point[] = [
  keptOrRefused(
    'a BYTES element with a NUL',
    target => post(target, withInput(target, { shape: [2], data: ['a\0b', '\0'] })),
    body => body.includes('a\\u0000b'),
  ),
  keptOrRefused(
    'a binary BYTES element with a NUL',
    target => {
      const sent = { ...exampleInput(target), shape: [2], data: ['a\0b', '\0'] }
      return postBinary(
        target,
        binaryRequest([sent], { outputs: outputsOf(target, { binary_data: true }) }),
      )
    },
    body => body.includes('a\0b'),
    binary,
  ),
  keptOrRefused(
    'a BYTES element with a lone surrogate',
    target => post(target, withInput(target, { shape: [1], data: ['\ud800'] })),
    body => body.includes('\\ud800'),
  ),
  keptOrRefused(
    'a BYTES element that is not UTF-8',
    target => {
      const element = Buffer.from([2, 0, 0, 0, 0xff, 0xfe])
      const { json } = binaryRequest([{ ...exampleInput(target), shape: [1], data: ['xx'] }], {
        outputs: outputsOf(target, { binary_data: true }),
      })
      return postBinary(target, { json, parts: [element] })
    },
    body => body.includes(Buffer.from([0xff, 0xfe])),
    binary,
  ),
  {
    name: 'a BYTES element of 1 MB comes back unchanged',
    source: oip('Tensor Data Types', '"max 2^32"; a server may accept less'),
    level: 'stricter',
    expected: SAME,
    notApplicable: all(inJson, echoesVectorsOf('BYTES')),
    check: async target => {
      const sent = vector(target, ['é'.repeat(2 ** 19)])
      assertEchoed(await infer(target, { inputs: [sent] }), sent)
    },
  },
]

const halfPoints: Point[] = [
  {
    name: 'an FP16 input in JSON is rejected',
    source: oip('Tensor Data', '"fp16 and bf16 are problematic"'),
    level: 'stricter',
    expected: '400 with {"error"}',
    notApplicable: takes('FP16'),
    check: async target => assertRefused(await post(target, exampleRequest(target)), 400),
  },
  {
    name: 'a request for an FP16 output in JSON is rejected',
    source: oip('Tensor Data', '"fp16 and bf16 are problematic"'),
    level: 'stricter',
    expected: '400 with {"error"}',
    notApplicable: all(binary, gives('FP16')),
    check: async target => {
      const { json, parts } = binaryRequest(exampleRequest(target).inputs)
      for (const outputs of [
        undefined,
        outputsOf(target),
        outputsOf(target, { binary_data: false }),
      ]) {
        assertRefused(await postBinary(target, { json: { ...json, outputs }, parts }), 400)
      }
    },
  },
  {
    name: 'a response may mix binary FP16 outputs with JSON outputs',
    source: BINARY,
    level: 'required',
    expected: 'FP16 outputs in binary, all other outputs in JSON',
    notApplicable: all(binary, gives('FP16')),
    check: async target => {
      const isHalf = target.metadata.outputs.map(({ datatype }) => datatype === 'FP16')
      const outputs = outputsOf(target).map((output, i) => ({
        ...output,
        parameters: { binary_data: isHalf[i] },
      }))
      assert.deepEqual(
        (await inferBinary(target, exampleRequest(target).inputs, { outputs })).binary,
        isHalf,
      )
    },
  },
]

export const points: readonly Point[] = [
  ...roundTrips,
  ...refusals('invalid elements of tensor data', wrongElements),
  ...refusals('invalid integers', limits),
  ...refusals('floating-point numbers out of range', overflows),
  ...refusals('bare tokens', bareTokens),
  ...refusals('invalid strings for numbers', otherSpellings),
  ...refusals('invalid BOOL tensors', [
    {
      mistake: 'the specification’s own example, a BOOL tensor of shape [3] with data [true],',
      source: oip('Inference Request Examples'),
      level: 'required',
      notApplicable: all(inJson, takes('BOOL'), batched),
      send: target => post(target, withInput(target, { shape: [3], data: [true] })),
    },
  ]),
  ...spellings,
  ...notFinite,
  ...bytesPoints,
  ...halfPoints,
  {
    name: 'an invalid element at the end of a long tensor is rejected',
    source: DATA,
    level: 'stricter',
    expected: '400 with {"error"}',
    notApplicable: all(inJson, batched, notEmpty, takesOneOf(IN_JSON)),
    check: async target => {
      const { inputs } = exampleRequest(target)
      const many = inputs.map(input => rowsOf(input, 500))
      const spoilt = many.map((input, i) =>
        i === 0 ? { ...input, data: [...input.data.slice(0, -1), null] } : input,
      )
      assertRefused(await post(target, { inputs: spoilt }), 400)
    },
  },
  {
    name: 'a vector of 10,000 elements comes back unchanged',
    source: DATA,
    level: 'required',
    expected: SAME,
    notApplicable: all(inJson, takesOneOf(IN_JSON), target =>
      echoesVectorsOf(exampleInput(target).datatype)(target),
    ),
    check: async target => {
      const sent = reshaped(vector(target, plainValues(exampleInput(target).datatype)), [10_000])
      assertEchoed(await infer(target, { inputs: [sent] }), sent)
    },
  },
]
