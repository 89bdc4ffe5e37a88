import assert from 'node:assert/strict'
import { assertSame, infer, inferBinary, readResponse } from '../answer.ts'
import {
  all,
  binary,
  echoesVectorsOf,
  inJson,
  notEmpty,
  oneInput,
  severalInputs,
  severalOutputs,
  takes,
} from '../applies.ts'
import { lengthPrefixed, toBytes } from '../datatypes.ts'
import { raw, toJson } from '../json.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Applicable, Point, Target } from '../point.ts'
import {
  type BinaryRequest,
  binaryBody,
  binaryInput,
  binaryRequest,
  exampleInput,
  exampleRequest,
  type InferenceRequest,
  inferPath,
  outputsOf,
  post,
  postBinary,
  reshaped,
  withInput,
} from '../request.ts'
import { binaryExtension, silent } from '../sources.ts'

const BINARY = binaryExtension('Binary Tensor Request')
const RAW = binaryExtension('Raw Binary Request')

const inputsOf = (target: Target) => exampleRequest(target).inputs
const exampleBinary = (target: Target) => binaryRequest(inputsOf(target))

const wrong = (
  mistake: string,
  level: Point['level'],
  request: (target: Target) => BinaryRequest,
  applies: Applicable = all(),
): Mistake => ({
  mistake,
  source: BINARY,
  level,
  notApplicable: all(binary, inJson, notEmpty, applies),
  send: target => postBinary(target, request(target)),
})

/** The binary example with another binary_data_size for its first input, and unchanged bytes. */
const sized = (size: (bytes: number) => unknown) => (target: Target) => {
  const { parts } = exampleBinary(target)
  const inputs = inputsOf(target).map((input, i) => {
    const bytes = (parts[i] as Buffer).byteLength
    return binaryInput(input, i === 0 ? size(bytes) : bytes)
  })
  return { json: { inputs }, parts }
}

/** The binary example, with another length of the JSON in its header. */
const headed =
  (jsonLength: (length: number, target: Target) => string | number) => (target: Target) => {
    const { json, parts } = exampleBinary(target)
    return { json, parts, jsonLength: jsonLength(Buffer.byteLength(toJson(json)), target) }
  }

/** The binary example with other bytes for the first input, and their correct size. */
const spoilt = (bytes: (right: Buffer) => Buffer) => (target: Target) => {
  const { parts } = exampleBinary(target)
  const changed = parts.map((part, i) => (i === 0 ? bytes(part) : part))
  return {
    json: {
      inputs: inputsOf(target).map((input, i) => binaryInput(input, changed[i]?.byteLength)),
    },
    parts: changed,
  }
}

const SIZES: Mistake[] = [
  wrong(
    'a binary_data_size one byte too small',
    'required',
    sized(bytes => bytes - 1),
  ),
  wrong(
    'a binary_data_size one byte too large',
    'required',
    sized(bytes => bytes + 1),
  ),
  wrong(
    'a binary_data_size of 0',
    'required',
    sized(() => 0),
  ),
  wrong(
    'a negative binary_data_size',
    'required',
    sized(bytes => -bytes),
  ),
  wrong(
    'a fractional binary_data_size',
    'required',
    sized(bytes => bytes + 0.5),
  ),
  wrong('a binary_data_size written as a string', 'stricter', sized(String)),
  wrong(
    'a binary_data_size of true',
    'stricter',
    sized(() => true),
  ),
  wrong(
    'a binary_data_size of 1e400',
    'required',
    sized(() => raw('1e400')),
  ),
  wrong(
    'a binary_data_size of 2^63',
    'required',
    sized(() => 2n ** 63n),
  ),
  wrong(
    'a binary_data_size that is correct only modulo 2^32',
    'required',
    sized(bytes => 2 ** 32 + bytes),
  ),
  wrong('binary data with one byte too few', 'required', target => ({
    ...exampleBinary(target),
    parts: [Buffer.concat(exampleBinary(target).parts).subarray(1)],
  })),
  wrong('binary data with a byte after the last input', 'required', target => ({
    ...exampleBinary(target),
    parts: [...exampleBinary(target).parts, Buffer.alloc(1)],
  })),
  wrong('a binary request without binary data', 'required', target => ({
    ...exampleBinary(target),
    parts: [],
  })),
  wrong('binary data after inputs that are all JSON', 'required', target => ({
    json: exampleRequest(target),
    parts: [Buffer.alloc(4)],
  })),
  wrong(
    'twice the bytes that the shape needs, with the correct binary_data_size',
    'required',
    spoilt(bytes => Buffer.concat([bytes, bytes])),
  ),
  wrong(
    'half the bytes that the shape needs, with the correct binary_data_size',
    'required',
    spoilt(bytes => bytes.subarray(0, bytes.byteLength >> 1)),
  ),
  wrong('an input with both data and binary_data_size', 'stricter', target => {
    const { json, parts } = exampleBinary(target)
    return {
      json: {
        inputs: (json.inputs as object[]).map((input, i) => ({
          ...input,
          data: inputsOf(target)[i]?.data,
        })),
      },
      parts,
    }
  }),
  wrong('an input with neither data nor binary_data_size', 'required', target => ({
    json: withInput(target, { data: undefined }),
    parts: [],
  })),
  {
    ...wrong(
      'a binary_data_size without Inference-Header-Content-Length',
      'required',
      exampleBinary,
    ),
    send: target => {
      const { body } = binaryBody(exampleBinary(target))
      return target.send({
        path: inferPath(target),
        headers: { 'content-type': 'application/octet-stream' },
        body,
      })
    },
  },
  {
    ...wrong('a binary_data_size in a JSON request without binary data', 'required', exampleBinary),
    send: target => post(target, exampleBinary(target).json),
  },
]

const HEADERS: Mistake[] = [
  wrong(
    'an Inference-Header-Content-Length greater than the length of a body of JSON only',
    'required',
    target => ({
      json: exampleRequest(target),
      parts: [],
      jsonLength: Buffer.byteLength(toJson(exampleRequest(target))) + 1,
    }),
  ),
  wrong(
    'an Inference-Header-Content-Length greater than the length of the body',
    'required',
    headed((length, target) => length + Buffer.concat(exampleBinary(target).parts).byteLength + 1),
  ),
  wrong(
    'an Inference-Header-Content-Length that cuts the JSON in half',
    'required',
    headed(length => length >> 1),
  ),
  wrong(
    'an Inference-Header-Content-Length one byte too small',
    'required',
    headed(length => length - 1),
  ),
  wrong(
    'an Inference-Header-Content-Length one byte too large',
    'required',
    headed(length => length + 1),
  ),
  wrong(
    'an Inference-Header-Content-Length of 1',
    'required',
    headed(() => 1),
  ),
  ...['x', '-1', '1.5', '1e2', '0x10', '', '9'.repeat(30), '12 34', '+5'].map(header =>
    wrong(
      `the Inference-Header-Content-Length "${header}"`,
      'required',
      headed(() => header),
    ),
  ),
  wrong(
    'an Inference-Header-Content-Length larger than 2^53',
    'required',
    headed(() => '9007199254740993'),
  ),
]

const bytesVector = (target: Target, count: number, part: Buffer) => ({
  json: { inputs: [binaryInput({ ...exampleInput(target), shape: [count] }, part.byteLength)] },
  parts: [part],
})

const STRINGS: readonly [mistake: string, count: number, bytes: Buffer][] = [
  ['a truncated BYTES length prefix', 1, Buffer.from([1, 0, 0])],
  [
    'a truncated second BYTES length prefix',
    2,
    Buffer.concat([...lengthPrefixed(Buffer.from('a')), Buffer.from([0])]),
  ],
  [
    'a BYTES element shorter than its length prefix states',
    1,
    Buffer.concat(lengthPrefixed(Buffer.from('abc'), 4)),
  ],
  [
    'a BYTES length prefix of 4 GB',
    1,
    Buffer.concat(lengthPrefixed(Buffer.from('abc'), 0xffffffff)),
  ],
  ['a big-endian BYTES length prefix', 1, Buffer.from([0, 0, 0, 1, 0x61])],
  ['a BYTES element without a length prefix', 1, Buffer.from('setosa')],
  [
    'fewer BYTES elements than the shape has',
    3,
    Buffer.concat([...lengthPrefixed(Buffer.from('a')), ...lengthPrefixed(Buffer.from('b'))]),
  ],
  [
    'more BYTES elements than the shape has',
    1,
    Buffer.concat([...lengthPrefixed(Buffer.from('a')), ...lengthPrefixed(Buffer.from('b'))]),
  ],
  [
    'BYTES data with a byte after the last element',
    1,
    Buffer.concat([...lengthPrefixed(Buffer.from('a')), Buffer.from([0])]),
  ],
  ['BYTES elements for the shape [0]', 0, Buffer.concat(lengthPrefixed(Buffer.from('a')))],
  [
    'a BYTES shape with more elements than the body has bytes',
    2 ** 30,
    Buffer.concat(lengthPrefixed(Buffer.from('a'))),
  ],
]

const strings: Mistake[] = STRINGS.map(([mistake, count, bytes]) => ({
  ...wrong(mistake, 'required', target => bytesVector(target, count, bytes)),
  notApplicable: all(binary, echoesVectorsOf('BYTES')),
}))

const FLAGS: Mistake[] = ['true', 1, 0, [], {}].flatMap(value => [
  wrong(`a binary_data_output parameter of ${JSON.stringify(value)}`, 'stricter', target => ({
    ...exampleBinary(target),
    json: { ...exampleBinary(target).json, parameters: { binary_data_output: value } },
  })),
  wrong(`a binary_data parameter of ${JSON.stringify(value)}`, 'stricter', target => ({
    ...exampleBinary(target),
    json: {
      ...exampleBinary(target).json,
      outputs: outputsOf(target, { binary_data: value as boolean }),
    },
  })),
])

/** binary_data on each output (a), and binary_data_output on the request (b). */
const PRECEDENCE: readonly {
  readonly name: string
  readonly a?: boolean
  readonly b?: boolean
  readonly listed: boolean
  readonly binary: boolean
}[] = [
  { name: 'outputs are JSON by default', listed: false, binary: false },
  {
    name: 'listed outputs are JSON by default',
    listed: true,
    binary: false,
  },
  { name: 'binary_data makes outputs binary', a: true, listed: true, binary: true },
  { name: 'binary_data: false makes outputs JSON', a: false, listed: true, binary: false },
  { name: 'binary_data_output makes all outputs binary', b: true, listed: false, binary: true },
  {
    name: 'binary_data_output applies to listed outputs without binary_data',
    b: true,
    listed: true,
    binary: true,
  },
  {
    name: 'binary_data: false overrides binary_data_output',
    a: false,
    b: true,
    listed: true,
    binary: false,
  },
  {
    name: 'binary_data overrides binary_data_output: false',
    a: true,
    b: false,
    listed: true,
    binary: true,
  },
  { name: 'binary_data_output: false makes outputs JSON', b: false, listed: false, binary: false },
]

const precedence: Point[] = PRECEDENCE.map(({ name, a, b, listed, binary: expected }) => ({
  name,
  source: BINARY,
  level: 'required',
  expected: expected
    ? 'every output in binary, application/octet-stream'
    : 'every output in JSON, application/json',
  notApplicable: all(binary, inJson),
  check: async target => {
    const request: InferenceRequest = {
      ...exampleRequest(target),
      ...(b !== undefined && { parameters: { binary_data_output: b } }),
      ...(listed && {
        outputs: outputsOf(target, a === undefined ? undefined : { binary_data: a }),
      }),
    }
    const reply = await post(target, request)
    const response = readResponse(reply)
    assert.deepEqual(
      response.binary,
      target.metadata.outputs.map(() => expected),
    )
    assertSame(target, response, await infer(target))
    assert.match(
      reply.headers['content-type'] ?? '',
      expected ? /^application\/octet-stream$/ : /^application\/json\b/,
    )
  },
}))

/**
 * A raw request has no shape: a server can infer the size of only one variable dimension, and
 * assumes one row.
 */
const raws: Applicable = all(binary, oneInput, notEmpty, target => {
  const variable = (target.metadata.inputs[0]?.shape ?? []).flatMap((dimension, i) =>
    dimension === -1 ? [i] : [],
  )
  if (target.metadata.inputs[0]?.datatype === 'BYTES')
    return 'the extension does not define raw requests for BYTES'
  if (variable.length > 1) return 'the input has several variable dimensions'
  return variable.every(i => exampleInput(target).shape[i] === 1)
    ? undefined
    : 'the example has more than one row'
})

const postRaw = (target: Target, body: Uint8Array) =>
  target.send({
    path: inferPath(target),
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': '0' },
    body,
  })

const rawExample = (target: Target) =>
  toBytes(exampleInput(target).datatype, exampleInput(target).data)

const rawWrong = (
  mistake: string,
  body: (right: Buffer) => Buffer,
  applies: Applicable,
): Mistake => ({
  mistake,
  source: RAW,
  level: 'required',
  notApplicable: all(raws, applies),
  send: target => postRaw(target, body(rawExample(target))),
})

const wholeElements: Applicable = target =>
  exampleInput(target).datatype === 'BOOL' || /INT8$/.test(exampleInput(target).datatype)
    ? 'an element is one byte'
    : undefined

const allFixed: Applicable = target =>
  target.metadata.inputs[0]?.shape.includes(-1) ? 'the input has a variable dimension' : undefined

export const points: readonly Point[] = [
  ...refusals('invalid binary sizes', SIZES),
  ...refusals('an invalid Inference-Header-Content-Length', HEADERS),
  ...refusals('invalid binary BYTES data', strings),
  ...refusals('invalid binary_data parameters', FLAGS),
  ...precedence,
  {
    name: 'binary inputs give the same outputs as JSON inputs',
    source: BINARY,
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(binary, inJson),
    check: async target =>
      assertSame(target, await inferBinary(target, inputsOf(target)), await infer(target)),
  },
  {
    name: 'Content-Type is optional with Inference-Header-Content-Length',
    source: silent('Inference-Header-Content-Length already marks a binary request'),
    level: 'stricter',
    expected: '200 with outputs',
    notApplicable: all(binary, inJson),
    check: async target => {
      const { headers, body } = binaryBody(exampleBinary(target))
      const { 'content-type': _, ...others } = headers
      readResponse(await target.send({ path: inferPath(target), headers: others, body }))
    },
  },
  {
    name: 'an Inference-Header-Content-Length equal to the body length means that no input is binary',
    source: BINARY,
    level: 'required',
    expected: '200 with the example’s outputs',
    notApplicable: all(binary, inJson),
    check: async target => {
      const reply = await postBinary(target, { json: exampleRequest(target), parts: [] })
      assertSame(target, readResponse(reply), await infer(target))
    },
  },
  {
    name: 'binary tensors are read at any byte offset',
    source: BINARY,
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(binary, inJson),
    check: async target => {
      const expected = await infer(target)
      const { json, parts } = exampleBinary(target)
      for (let spaces = 0; spaces < 8; spaces++) {
        assertSame(
          target,
          readResponse(
            await postBinary(target, { json: toJson(json) + ' '.repeat(spaces), parts }),
          ),
          expected,
        )
      }
    },
  },
  {
    name: 'a request may mix binary and JSON inputs',
    source: BINARY,
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(binary, inJson, severalInputs),
    check: async target => {
      const [first, ...others] = inputsOf(target)
      const part = toBytes(exampleInput(target).datatype, exampleInput(target).data)
      const mixed = [binaryInput(first as never, part.byteLength), ...others]
      const expected = await infer(target)
      for (const inputs of [mixed, mixed.toReversed()]) {
        assertSame(
          target,
          readResponse(await postBinary(target, { json: { inputs }, parts: [part] })),
          expected,
        )
      }
    },
  },
  {
    name: 'binary data follows the order of the inputs in the JSON',
    source: binaryExtension('Binary Tensor Request', '"in the same order"'),
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(binary, inJson, severalInputs),
    check: async target =>
      assertSame(
        target,
        await inferBinary(target, inputsOf(target).toReversed()),
        await infer(target),
      ),
  },
  {
    name: 'binary data follows the order of the requested outputs',
    source: binaryExtension('Binary Tensor Request', '"in the same order"'),
    level: 'required',
    expected: 'each output’s own data',
    notApplicable: all(binary, inJson, severalOutputs),
    check: async target => {
      const outputs = outputsOf(target, { binary_data: true }).toReversed()
      assertSame(
        target,
        await infer(target, { ...exampleRequest(target), outputs }),
        await infer(target),
      )
    },
  },
  {
    name: 'a response may mix binary and JSON outputs',
    source: BINARY,
    level: 'required',
    expected: 'the first output in binary, all other outputs in JSON',
    notApplicable: all(binary, inJson, severalOutputs),
    check: async target => {
      const [first, ...others] = outputsOf(target)
      const outputs = [{ ...first, parameters: { binary_data: true } }, ...others]
      const response = await infer(target, { ...exampleRequest(target), outputs })
      assert.deepEqual(
        response.outputs.filter((_, i) => response.binary[i]).map(({ name }) => name),
        [first?.name],
      )
      assertSame(target, response, await infer(target))
    },
  },
  {
    name: 'the length of a binary response includes its JSON and its binary data',
    source: binaryExtension(
      'Binary Tensor Request',
      '"Content-Length continues to give the full body length"',
    ),
    level: 'required',
    expected: 'the complete response',
    notApplicable: binary,
    check: async target => {
      const reply = await postBinary(
        target,
        binaryRequest(inputsOf(target), { id: '🌸', parameters: { binary_data_output: true } }),
      )
      assert.equal(readResponse(reply).json.id, '🌸')
    },
  },
  {
    name: 'a raw request contains only the bytes of one input, and every output is binary',
    source: RAW,
    level: 'required',
    expected: 'the same outputs, all binary',
    notApplicable: raws,
    check: async target => {
      const response = readResponse(await postRaw(target, rawExample(target)))
      const expected = await inferBinary(target, inputsOf(target), {
        parameters: { binary_data_output: true },
      })
      assertSame(target, response, expected)
      assert.ok(
        response.binary.every(isBinary => isBinary),
        'an output is JSON',
      )
    },
  },
  {
    name: 'the size of a raw request determines a variable dimension other than the first',
    source: RAW,
    level: 'required',
    expected: 'the same outputs as with a shape',
    notApplicable: all(raws, target =>
      (target.metadata.inputs[0]?.shape.indexOf(-1) ?? -1) > 0
        ? undefined
        : 'the input has no variable dimension after the first',
    ),
    check: async target => {
      const shape = (target.metadata.inputs[0]?.shape ?? []).map(dimension =>
        dimension === -1 ? 3 : dimension,
      )
      const larger = reshaped(exampleInput(target), shape)
      const response = readResponse(await postRaw(target, toBytes(larger.datatype, larger.data)))
      assertSame(
        target,
        response,
        await inferBinary(target, [larger], { parameters: { binary_data_output: true } }),
      )
    },
  },
  ...refusals('invalid raw requests', [
    rawWrong(
      'a raw request with one byte too many',
      right => Buffer.concat([right, Buffer.alloc(1)]),
      wholeElements,
    ),
    rawWrong('a raw request with one byte too few', right => right.subarray(1), wholeElements),
    rawWrong(
      'a raw request with twice the bytes of a fixed shape',
      right => Buffer.concat([right, right]),
      allFixed,
    ),
    rawWrong('an empty raw request for a fixed shape', () => Buffer.alloc(0), allFixed),
    {
      mistake: 'a raw request to a model with several inputs',
      source: RAW,
      level: 'required',
      notApplicable: all(binary, severalInputs),
      send: target => postRaw(target, rawExample(target)),
    },
  ]),
  ...refusals('invalid binary BOOL data', [
    {
      mistake: 'a BOOL byte of 2',
      source: binaryExtension('Binary Tensor Request', '"true is a single byte with value 1"'),
      level: 'stricter',
      notApplicable: all(binary, takes('BOOL'), notEmpty),
      send: target =>
        postBinary(target, spoilt(bytes => Buffer.alloc(bytes.byteLength, 2))(target)),
    },
  ]),
]
