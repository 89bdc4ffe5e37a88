import assert from 'node:assert/strict'
import { assertSame, assertStatus, infer, readResponse, show } from '../answer.ts'
import { all, inJson, severalInputs } from '../applies.ts'
import { raw, toJson } from '../json.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Point, Target } from '../point.ts'
import {
  exampleInput,
  exampleRequest,
  type InferenceRequest,
  inferPath,
  post,
  withInput,
} from '../request.ts'
import { binaryExtension, oip, rfc, silent } from '../sources.ts'

const REQUEST = oip('Inference Request JSON Object')
const INPUT = oip('Request Input')
const PARAMETERS = oip('Parameters')

interface Id {
  readonly is: string
  readonly id: string
  /** The reason why the point is only `stricter`. */
  readonly stricter?: string
}

const IDS: readonly Id[] = [
  { is: 'of letters and digits', id: 'req-001' },
  { is: 'that is empty', id: '' },
  { is: 'with Unicode characters', id: 'naïve 日本語 🌸 \u2028 "\\/' },
  {
    is: 'with escaped control characters',
    id: 'a\u0000b\u001f\u007f',
    stricter: 'any string is a valid id',
  },
  {
    is: 'with an escaped lone surrogate',
    id: '\ud800 and \udc00',
    stricter: 'any string is a valid id',
  },
  { is: 'equal to __proto__', id: '__proto__' },
  { is: 'that consists of digits', id: '00042' },
  { is: 'of 1 MB', id: 'x'.repeat(2 ** 20), stricter: 'no maximum length is stated' },
]

const idPoints: Point[] = IDS.map(({ is, id, stricter }) => ({
  name: `an id ${is} comes back unchanged`,
  source: oip('Inference Request JSON Object', stricter ?? '"must be returned in the response"'),
  level: stricter === undefined ? 'required' : 'stricter',
  expected: 'the same "id"',
  notApplicable: inJson,
  check: async target => {
    const { json } = await infer(target, { id, ...exampleRequest(target) })
    assert.ok(
      json.id === id,
      `the response has the id ${String(JSON.stringify(json.id)).slice(0, 100)}`,
    )
  },
}))

const wrong = (
  mistake: string,
  source: string,
  level: Point['level'],
  request: (target: Target) => InferenceRequest | string | Uint8Array,
): Mistake => ({
  mistake,
  source,
  level,
  notApplicable: inJson,
  send: target => post(target, request(target)),
})

const example = (change: InferenceRequest) => (target: Target) => ({
  ...exampleRequest(target),
  ...change,
})
const input = (change: object) => (target: Target) => withInput(target, change)
const text = (target: Target) => toJson(exampleRequest(target))

const bodies: Mistake[] = [
  wrong('an empty body', REQUEST, 'required', () => ''),
  wrong('a body of white space', REQUEST, 'required', () => ' \n'),
  wrong('a body that is not JSON', REQUEST, 'required', () => 'inputs=1'),
  wrong('truncated JSON', REQUEST, 'required', target => text(target).slice(0, -1)),
  wrong('JSON followed by other JSON', rfc(8259, '2'), 'stricter', target => `${text(target)}{}`),
  wrong('JSON with a trailing comma', rfc(8259, '4'), 'stricter', target =>
    text(target).replace(/}$/, ',}'),
  ),
  wrong(
    'JSON with a comment',
    rfc(8259, '2'),
    'stricter',
    target => `/* example */${text(target)}`,
  ),
  wrong('JSON with single quotes', rfc(8259, '7'), 'stricter', target =>
    text(target).replaceAll('"', "'"),
  ),
  wrong(
    'a control character in a JSON string',
    rfc(8259, '7'),
    'stricter',
    example({ id: raw('"a\nb"') }),
  ),
  wrong('a number with a leading zero', rfc(8259, '6'), 'stricter', input({ shape: raw('[01]') })),
  ...['null', '[]', '"x"', '1', 'true'].map(json =>
    wrong(`a body of the JSON value ${json}`, REQUEST, 'required', () => json),
  ),
  wrong('a body of an empty object', REQUEST, 'required', () => '{}'),
  wrong('a body with invalid UTF-8', rfc(8259, '8.1'), 'stricter', target =>
    Buffer.concat([
      Buffer.from('{"id":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(`",${text(target).slice(1)}`),
    ]),
  ),
  wrong('a body with a surrogate encoded as UTF-8', rfc(3629, '3'), 'stricter', target =>
    Buffer.concat([
      Buffer.from('{"id":"'),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.from(`",${text(target).slice(1)}`),
    ]),
  ),
  wrong('a body in UTF-16', rfc(8259, '8.1'), 'stricter', target =>
    Buffer.from(`\ufeff${text(target)}`, 'utf16le'),
  ),
  wrong(
    'JSON nested 101 levels deep',
    silent('Triton’s limit is 100'),
    'stricter',
    example({ extra: raw('['.repeat(100) + ']'.repeat(100)) }),
  ),
  wrong(
    'JSON nested 100,000 levels deep',
    rfc(8259, '9'),
    'stricter',
    example({ extra: raw('['.repeat(1e5) + ']'.repeat(1e5)) }),
  ),
  wrong('a body of 100,000 opening brackets', REQUEST, 'required', () => '['.repeat(1e5)),
]

const duplicates: Mistake[] = [
  ['a duplicate key', (target: Target) => `{"id":"1","id":"1",${text(target).slice(1)}`],
  [
    'a duplicate key, once written with an escape,',
    (target: Target) => `{"id":"1","\\u0069d":"2",${text(target).slice(1)}`,
  ],
  ['a duplicate "inputs" key', (target: Target) => `{"inputs":[],${text(target).slice(1)}`],
  [
    'a duplicate key in an input',
    (target: Target) => text(target).replace('{"name"', '{"name":"x","name"'),
  ],
  [
    'a duplicate __proto__ key',
    (target: Target) => `{"__proto__":1,"__proto__":2,${text(target).slice(1)}`,
  ],
  [
    'a duplicate key in an unknown field',
    (target: Target) => toJson({ ...exampleRequest(target), extra: raw('{"a":[{"b":1,"b":1}]}') }),
  ],
].map(([mistake, request]) =>
  wrong(mistake as string, rfc(8259, '4'), 'stricter', request as (target: Target) => string),
)

const fields: Mistake[] = [
  ...[1, true, {}, []].map(id =>
    wrong(`the id ${JSON.stringify(id)}`, REQUEST, 'stricter', example({ id })),
  ),
  wrong('a request without inputs', REQUEST, 'required', () => ({ id: '1' })),
  ...[null, {}, 'x', 1].map(inputs =>
    wrong(`a request whose inputs are ${JSON.stringify(inputs)}`, REQUEST, 'required', () => ({
      inputs,
    })),
  ),
  wrong('an empty list of inputs', REQUEST, 'required', () => ({ inputs: [] })),
  ...[null, 'x', 1, []].map(element =>
    wrong(`an input that is ${JSON.stringify(element)}`, INPUT, 'required', target => ({
      inputs: [element, ...exampleRequest(target).inputs.slice(1)],
    })),
  ),
  wrong('an input without a name', INPUT, 'required', input({ name: undefined })),
  ...[null, 1, {}, []].map(name =>
    wrong(`an input whose name is ${JSON.stringify(name)}`, INPUT, 'required', input({ name })),
  ),
  ...['no-such-input', '', '__proto__', 'constructor', 'toString'].map(name =>
    wrong(
      `an input called "${name}", which the model does not have,`,
      INPUT,
      'required',
      input({ name }),
    ),
  ),
  wrong('an unknown input among the correct inputs', INPUT, 'stricter', target => ({
    inputs: [...exampleRequest(target).inputs, { ...exampleInput(target), name: 'no-such-input' }],
  })),
  wrong('a duplicate input', INPUT, 'stricter', target => ({
    inputs: [...exampleRequest(target).inputs, exampleInput(target)],
  })),
  {
    ...wrong('a request that lacks one of several inputs', INPUT, 'required', target => ({
      inputs: exampleRequest(target).inputs.slice(1),
    })),
    notApplicable: all(inJson, severalInputs),
  },
  wrong('an input without a datatype', INPUT, 'stricter', input({ datatype: undefined })),
  ...[null, 1, ['FP32']].map(datatype =>
    wrong(`the datatype ${JSON.stringify(datatype)}`, INPUT, 'stricter', input({ datatype })),
  ),
  wrong('a datatype other than the model’s', INPUT, 'stricter', target =>
    withInput(target, { datatype: exampleInput(target).datatype === 'UINT8' ? 'INT8' : 'UINT8' }),
  ),
  ...['FP128', 'float32', 'STRING', '', '__proto__', 'constructor'].map(datatype =>
    wrong(
      `the datatype "${datatype}", which the protocol does not define,`,
      oip('Tensor Data Types'),
      'required',
      input({ datatype }),
    ),
  ),
  wrong('a datatype in lower case', oip('Tensor Data Types'), 'stricter', target =>
    withInput(target, { datatype: exampleInput(target).datatype.toLowerCase() }),
  ),
]

const parameters: Mistake[] = [
  ...[[], 'x', 1, true].flatMap(value => [
    wrong(
      `a request whose parameters are ${JSON.stringify(value)}`,
      PARAMETERS,
      'stricter',
      example({ parameters: value }),
    ),
    wrong(
      `an input whose parameters are ${JSON.stringify(value)}`,
      PARAMETERS,
      'stricter',
      input({ parameters: value }),
    ),
  ]),
  ...[[], {}].flatMap(value => [
    wrong(
      `a request with a parameter that is ${JSON.stringify(value)}`,
      PARAMETERS,
      'stricter',
      example({ parameters: { any: value } }),
    ),
    wrong(
      `an input with a parameter that is ${JSON.stringify(value)}`,
      PARAMETERS,
      'stricter',
      input({ parameters: { any: value } }),
    ),
  ]),
]

interface Accepted {
  readonly accepted: string
  readonly source: string
  readonly level: Point['level']
  readonly body: (target: Target) => InferenceRequest | string | Uint8Array
}

/** Jackson, System.Text.Json and pydantic write an absent optional member as null. */
const NULL = silent('common serializers write an absent member as null')

const ACCEPTED: readonly Accepted[] = [
  {
    accepted: 'an unknown field of the request is ignored',
    source: silent('newer clients talk to older servers'),
    level: 'stricter',
    body: example({ extra: { deep: [1, null, {}] } }),
  },
  {
    accepted: 'model_name in the request is ignored',
    source: binaryExtension('Binary Tensor Request', 'its example contains model_name'),
    level: 'stricter',
    body: example({ model_name: 'other' }),
  },
  {
    accepted: 'an unknown field of an input is ignored',
    source: silent('newer clients talk to older servers'),
    level: 'stricter',
    body: input({ extra: null }),
  },
  {
    accepted: 'unknown parameters are ignored',
    source: PARAMETERS,
    level: 'stricter',
    body: example({ parameters: { a: 'x', b: -1.5, c: true } }),
  },
  {
    accepted: 'an input’s unknown parameters are ignored',
    source: PARAMETERS,
    level: 'stricter',
    body: input({ parameters: { a: 'x', b: -1.5, c: true } }),
  },
  {
    accepted: 'empty parameters are accepted',
    source: PARAMETERS,
    level: 'required',
    body: example({ parameters: {} }),
  },
  ...['id', 'parameters', 'outputs'].map(member => ({
    accepted: `the value null for ${member} is ignored`,
    source: NULL,
    level: 'stricter' as const,
    body: example({ [member]: null }),
  })),
  {
    accepted: 'the value null for a parameter is ignored',
    source: NULL,
    level: 'stricter',
    body: example({ parameters: { any: null, timeout: null, binary_data_output: null } }),
  },
  {
    accepted: 'the value null for an input’s parameters is ignored',
    source: NULL,
    level: 'stricter',
    body: input({ parameters: null }),
  },
  {
    accepted: 'the value null for an input’s parameter is ignored',
    source: NULL,
    level: 'stricter',
    body: input({ parameters: { any: null, binary_data_size: null } }),
  },
  {
    accepted: 'a field called __proto__ is ignored',
    source: rfc(8259, '4'),
    level: 'stricter',
    body: target => `{"__proto__":{"inputs":[],"id":"no"},"constructor":1,${text(target).slice(1)}`,
  },
  {
    accepted: 'a parameter called __proto__ is ignored',
    source: PARAMETERS,
    level: 'stricter',
    body: target =>
      toJson({
        ...exampleRequest(target),
        parameters: raw('{"__proto__":true,"constructor":"x"}'),
      }),
  },
  {
    accepted: 'JSON nested 90 levels deep is read',
    source: rfc(8259, '9'),
    level: 'stricter',
    body: example({ extra: raw('['.repeat(89) + ']'.repeat(89)) }),
  },
  {
    accepted: 'the order of an input’s keys does not matter',
    source: rfc(8259, '4'),
    level: 'required',
    body: target => ({
      inputs: exampleRequest(target).inputs.map(({ name, datatype, shape, data }) => ({
        data,
        shape,
        datatype,
        name,
      })),
    }),
  },
  {
    accepted: 'white space in and around the JSON does not matter',
    source: rfc(8259, '2'),
    level: 'required',
    body: target => ` ${toJson(exampleRequest(target), ' \r\n\t')}\n`,
  },
  {
    accepted: 'a key may be written with escapes',
    source: rfc(8259, '7'),
    level: 'required',
    body: target => text(target).replace('"inputs"', '"\\u0069nputs"'),
  },
  {
    accepted: 'colons, quotes and brackets in a string are plain text',
    source: rfc(8259, '7'),
    level: 'required',
    body: example({ id: '":":{"id":"\\" : [' }),
  },
  {
    accepted: 'a byte order mark is ignored',
    source: rfc(8259, '8.1'),
    level: 'stricter',
    body: target => `\ufeff${text(target)}`,
  },
]

const accepted: Point[] = ACCEPTED.map(({ accepted, source, level, body }) => ({
  name: accepted,
  source,
  level,
  expected: '200 with the example’s outputs',
  notApplicable: inJson,
  check: async target =>
    assertSame(target, readResponse(await post(target, body(target))), await infer(target)),
}))

const JSON_TYPES = [
  'application/json; charset=utf-8',
  'application/json;charset=UTF-8',
  'application/json; charset="utf-8"',
  'Application/JSON',
  'application/json ; charset=utf-8',
]

const OTHER_TYPES = [
  'text/plain',
  'text/json',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/xml',
  'application/jsonx',
  'application/json-seq',
  'application/json; charset=iso-8859-1',
  'application/json; charset=utf-16',
  'nonsense',
]

const postAs = (target: Target, contentType: string | undefined) =>
  target.send({
    path: inferPath(target),
    headers: contentType === undefined ? {} : { 'content-type': contentType },
    body: text(target),
  })

const mediaTypes: Point[] = [
  ...JSON_TYPES.map(
    (contentType): Point => ({
      name: `Content-Type ${contentType} is read as JSON`,
      source: rfc(9110, '8.3.1'),
      level: 'stricter',
      expected: '200',
      notApplicable: inJson,
      check: async target => assertStatus(await postAs(target, contentType), 200),
    }),
  ),
  {
    name: 'a body without a Content-Type is read as JSON',
    source: silent('curl and old clients omit Content-Type'),
    level: 'stricter',
    expected: '200',
    notApplicable: inJson,
    check: async target => assertStatus(await postAs(target, undefined), 200),
  },
  {
    name: 'a body of application/octet-stream without Inference-Header-Content-Length is read as JSON',
    source: binaryExtension('Binary Tensor Request', 'only this header marks binary data'),
    level: 'stricter',
    expected: '200',
    notApplicable: inJson,
    check: async target => assertStatus(await postAs(target, 'application/octet-stream'), 200),
  },
  ...refusals(
    'unsupported media types',
    OTHER_TYPES.map(contentType => ({
      mistake: `Content-Type ${contentType}`,
      source: rfc(9110, '15.5.16'),
      level: 'stricter',
      notApplicable: inJson,
      send: target => postAs(target, contentType),
    })),
    [415],
  ),
]

export const points: readonly Point[] = [
  ...idPoints,
  {
    name: 'the response to a request without an id has no id',
    source: oip('Inference Response JSON Object', '"identifier given in the request, if any"'),
    level: 'stricter',
    expected: 'no "id"',
    notApplicable: inJson,
    check: async target => {
      const { json } = await infer(target)
      assert.ok(!('id' in json), `the response has the id ${JSON.stringify(json.id)}`)
    },
  },
  ...refusals('invalid bodies', bodies),
  ...refusals('duplicate keys', duplicates),
  ...refusals('invalid fields', fields),
  ...refusals('invalid parameters', parameters),
  ...accepted,
  ...mediaTypes,
  {
    name: 'inputs may be in any order',
    source: silent('inputs are identified by name'),
    level: 'stricter',
    expected: 'the same outputs',
    notApplicable: all(inJson, severalInputs),
    check: async target => {
      const reversed = { inputs: exampleRequest(target).inputs.toReversed() }
      assertSame(target, await infer(target, reversed), await infer(target))
    },
  },
  ...[1, 7].map(
    (chunkBytes): Point => ({
      name: `a chunked body with ${chunkBytes}-byte chunks is read`,
      source: rfc(9112, '7.1'),
      level: 'required',
      expected: '200 with the example’s outputs',
      notApplicable: inJson,
      check: async target => {
        const headers = { 'content-type': 'application/json' }
        const reply = await target.send({
          path: inferPath(target),
          headers,
          body: text(target),
          chunkBytes,
        })
        assertSame(target, readResponse(reply), await infer(target))
      },
    }),
  ),
  {
    name: 'a request sent one byte per packet is read',
    source: rfc(9112, '7.1'),
    level: 'required',
    expected: '200 with outputs',
    notApplicable: inJson,
    check: async target => {
      const headers = { 'content-type': 'application/json' }
      const reply = await target.send({
        path: inferPath(target),
        headers,
        body: text(target),
        bytewise: true,
      })
      assertStatus(reply, 200)
      assert.ok(reply.body.includes('"outputs"'), show(reply))
    },
  },
]
