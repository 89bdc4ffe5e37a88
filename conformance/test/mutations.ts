import { gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import type { Reply, Sent } from '../connection.ts'
import { toBytes } from '../datatypes.ts'
import { parseJson, toJson } from '../json.ts'
import type { JsonTensor, Target } from '../point.ts'
import { elementCount, exampleRequest, nested } from '../request.ts'
import { isInference, type Json, json, type Wrong, withJson } from './wrong-server.ts'

/** Servers that are wrong in one thing each, and the points that must turn red for it: these, and no others. */
export interface Mutation {
  /** What the server does. */
  readonly wrong: string
  /** Made anew for each model, for some remember what was asked before. */
  readonly make: () => Wrong
  /** Models it is shown on; iris unless given. */
  readonly on?: readonly string[]
  /** Names of points, in which `*` stands for any text. */
  readonly red: readonly string[]
  /** Of those, such as stay green. */
  readonly but?: readonly string[]
}

/** Bends the JSON of answers to inference that succeed. */
const inResponse = (change: (response: Json, sent: Sent) => Json) => (): Wrong => ({
  answers: (reply, sent) =>
    reply.status === 200 && isInference(sent)
      ? withJson(reply, response => change(response, sent))
      : reply,
})

/** Bends each output that comes in JSON. */
const inOutput = (change: (output: Json) => Json) =>
  inResponse(response => ({
    ...response,
    outputs: response.outputs.map((output: Json) =>
      output.data === undefined ? output : { ...output, ...change(output) },
    ),
  }))

/** Bends each element that comes in JSON. */
const inElement = (change: (element: Json) => unknown) =>
  inOutput(({ data }) => ({ data: data.map(change) }))

const inError = (change: (error: Json, reply: Reply) => Reply) => (): Wrong => ({
  answers: reply => {
    if (reply.status < 400 || reply.headers['content-type']?.includes('json') !== true) return reply
    return change(parseJson(reply.body.toString()), reply)
  },
})

/** Another answer to some requests. */
const instead =
  (
    when: (sent: Sent, reply: Reply, target: Target) => boolean,
    answer: (reply: Reply, target: Target) => Reply,
  ) =>
  (): Wrong => ({
    answers: (reply, sent, target) => (when(sent, reply, target) ? answer(reply, target) : reply),
  })

/** Takes the JSON of an inference request for another; what is no JSON, or comes otherwise, stays as it is. */
const reads = (change: (request: Json, target: Target) => Json) => (): Wrong => ({
  reads: (sent, target) => {
    const length = sent.headers?.['inference-header-content-length']
    if (
      !isInference(sent) ||
      sent.body === undefined ||
      sent.headers?.['content-encoding'] !== undefined
    )
      return sent
    const body = Buffer.from(sent.body)
    const at = length === undefined ? body.byteLength : Number(length)
    try {
      const request = parseJson(body.toString('utf8', 0, at))
      const changed = Buffer.from(toJson(change(request, target)))
      // Written anew it would be mended in other ways too.
      if (String(changed) === toJson(request)) return sent
      return {
        ...sent,
        body: Buffer.concat([changed, body.subarray(at)]),
        headers: {
          ...sent.headers,
          ...(length !== undefined && { 'inference-header-content-length': changed.byteLength }),
        },
      }
    } catch {
      return sent
    }
  },
})

const readsInput = (change: (input: Json, example: JsonTensor) => Json) =>
  reads((request, { example }) => ({
    ...request,
    inputs: request.inputs.map((input: Json, i: number) => ({
      ...input,
      ...change(input, example.inputs[i] as unknown as JsonTensor),
    })),
  }))

const header = (name: string) => (reply: Reply) => {
  const { [name]: _, ...headers } = reply.headers
  return { ...reply, headers }
}

const path = (pattern: RegExp) => (sent: Sent) => pattern.test(sent.path)
const said =
  (error: string, status = 400) =>
  () =>
    json(status, { error })
const hasBody = ({ body }: Sent) => body !== undefined

function plain(reply: Reply): Reply {
  const encoding = reply.headers['content-encoding']
  if (encoding === undefined) return reply
  const { 'content-encoding': _, ...headers } = reply.headers
  return {
    ...reply,
    headers,
    body: encoding === 'gzip' ? gunzipSync(reply.body) : inflateSync(reply.body),
  }
}

/** The bytes behind the JSON, bent. */
const inBinary = (change: (bytes: Buffer, response: Json) => Buffer) => (): Wrong => ({
  answers: reply => {
    const length = Number(reply.headers['inference-header-content-length'])
    if (
      reply.status !== 200 ||
      Number.isNaN(length) ||
      reply.headers['content-encoding'] !== undefined
    )
      return reply
    const response = parseJson(reply.body.toString('utf8', 0, length))
    return {
      ...reply,
      body: Buffer.concat([
        reply.body.subarray(0, length),
        change(reply.body.subarray(length), response),
      ]),
    }
  },
})

const requestOf = ({ body = '' }: Sent): Json => {
  try {
    return parseJson(String(body))
  } catch {
    return undefined
  }
}

const isExample = (sent: Sent, target: Target) =>
  isInference(sent) && String(sent.body) === toJson(exampleRequest(target))

const NUMBERS = ['identity-fp32', 'identity-fp64']
const LONG = ['identity-int64', 'identity-uint64']
const DATATYPES = [
  'bool',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
  'int8',
  'int16',
  'int32',
  'int64',
  'fp16',
  'fp32',
  'fp64',
  'bytes',
]
const IDENTITIES = DATATYPES.map(datatype => `identity-${datatype}`)

const EXTENDED = ['iris, with extensions']

const inStatistics = (change: (stats: Json) => Json) => (): Wrong => ({
  answers: (reply, sent) =>
    sent.path.endsWith('/stats') && reply.status === 200
      ? withJson(reply, ({ model_stats: stats }) => ({ model_stats: stats.map(change) }))
      : reply,
})

/** Told by their form, "value:index". */
const isClasses = ({ data }: Json) => /^[\d.]+:\d+$/.test(data?.[0])

const inClasses = (change: (output: Json) => Json) =>
  inResponse(response => ({
    ...response,
    outputs: response.outputs.map((output: Json) => (isClasses(output) ? change(output) : output)),
  }))

export const MUTATIONS: readonly Mutation[] = [
  // The id.
  {
    wrong: 'invents an id',
    make: inResponse(({ id = 'made-up', ...rest }) => ({ id, ...rest })),
    red: ['without an id none comes back'],
  },
  {
    wrong: 'drops the id',
    make: inResponse(({ id: _, ...rest }) => rest),
    red: [
      'a long answer to Accept-Encoding *',
      'an id * comes back exactly',
      'the length of a response counts bytes, not letters',
      'requests sent at once each get their own answer',
      'the length of a binary response is that of its JSON and its data',
    ],
  },
  {
    wrong: 'keeps 64 letters of an id',
    make: inResponse(({ id, ...rest }) => ({ id: id?.slice(0, 64), ...rest })),
    red: ['a long answer to Accept-Encoding *', 'an id of 1 MB comes back exactly'],
  },
  {
    wrong: 'takes an id of digits for a number',
    make: inResponse(({ id, ...rest }) => ({
      id: /^\d+$/.test(id) ? String(Number(id)) : id,
      ...rest,
    })),
    red: ['an id that looks like a number comes back exactly'],
  },
  {
    wrong: 'cuts an id at a NUL',
    make: inResponse(({ id, ...rest }) => ({ id: id?.split('\0')[0], ...rest })),
    red: ['an id with control characters, escaped comes back exactly'],
  },
  {
    wrong: 'mends Unicode in an id',
    make: inResponse(({ id, ...rest }) => ({ id: id?.toWellFormed(), ...rest })),
    red: ['an id with a lone surrogate, escaped comes back exactly'],
  },
  {
    wrong: 'takes an empty id for none',
    make: inResponse(({ id, ...rest }) => ({ id: id || undefined, ...rest })),
    red: ['an id that is empty comes back exactly'],
  },
  {
    wrong: 'counts letters for the length of a body',
    make: instead(
      (sent, reply) => isInference(sent) && reply.status === 200,
      reply => ({
        ...reply,
        body: reply.body.subarray(
          0,
          reply.headers['content-encoding'] ? undefined : reply.body.toString().length,
        ),
      }),
    ),
    red: [
      'an id of unicode comes back exactly',
      'the length of a response counts bytes, not letters',
      'the length of a binary response is that of its JSON and its data',
    ],
  },
  {
    wrong: 'mixes up the ids of requests sent at once',
    make: inResponse(({ id, ...rest }) => ({
      id: id?.replace(/^request (\d+)$/, (_: string, n: string) => `request ${Number(n) ^ 1}`),
      ...rest,
    })),
    red: ['requests sent at once each get their own answer'],
  },

  // The response.
  {
    wrong: 'leaves out model_name',
    make: inResponse(({ model_name: _, ...rest }) => rest),
    red: ['the response names the model'],
  },
  {
    wrong: 'leaves out model_version',
    make: inResponse(({ model_version: _, ...rest }) => rest),
    red: ['the response names the version'],
  },
  {
    wrong: 'has a model_version of null where there are no versions',
    on: ['identity-fp32'],
    make: inResponse(response => ({ ...response, model_version: null })),
    red: ['without versions the response has no model_version'],
  },
  {
    wrong: 'says FP64 for FP32',
    make: inOutput(({ datatype }) => ({ datatype: datatype === 'FP32' ? 'FP64' : datatype })),
    red: [
      '* makes * binary',
      'outputs have the datatype and shape that the metadata says',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'puts a 1 before every shape',
    on: ['iris', 'identity-fp32'],
    make: inOutput(({ shape }) => ({ shape: [1, ...shape] })),
    red: [
      '* times the rows are answered with * times the rows',
      '* makes * binary',
      '-0* in FP32 is -0',
      'an empty batch *',
      'outputs have the datatype and shape that the metadata says',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'a shape comes back as it was sent',
      'FP32 goes in and comes out as JSON',
      'FP32 goes in binary and comes out as JSON',
      'an empty FP32 tensor goes in and comes out',
      'FP32 keeps −0 and denormal numbers in JSON, both ways',
      'FP32 keeps −0 and denormal numbers from binary to JSON',
      '1E-3 in FP32 is 0.0010000000474974513',
      '1e-60 in FP32 is 0',
      '3.4028235e38 in FP32 is 3.4028234663852886e+38',
      '16777217 in FP32 is 16777216',
      '0.1 in FP32 is 0.10000000149011612',
      '12345678901234567890 in FP32 is 12345679395506094000',
      'outputs of a vector are those of its elements, however many',
    ],
  },
  {
    wrong: 'answers one row of several',
    make: inOutput(({ shape, data }) => ({
      shape: [1, ...shape.slice(1)],
      data: data.slice(0, elementCount(shape.slice(1))),
    })),
    red: ['* times the rows are answered with * times the rows', 'an empty batch *'],
  },
  {
    wrong: 'gives outputs in another order',
    on: ['two-in-two-out'],
    make: inResponse(response => ({
      ...response,
      outputs: response.outputs.some((o: Json) => o.data === undefined)
        ? response.outputs
        : response.outputs.toReversed(),
    })),
    red: [
      'outputs come in the order of the metadata unless asked otherwise',
      'outputs come in the order asked for',
    ],
  },
  {
    wrong: 'gives an output twice',
    make: inResponse(response => ({
      ...response,
      outputs: response.outputs.some((o: Json) => o.data === undefined)
        ? response.outputs
        : [...response.outputs, response.outputs[0]],
    })),
    red: [
      '* makes * binary',
      'binary_data* outputs JSON',
      'every output of the metadata is answered, each once',
      'outputs come in the order of the metadata unless asked otherwise',
      'each output may be asked for alone, and nothing else comes',
      'outputs come in the order asked for',
      'outputs come as JSON unless something else is asked',
      'listed outputs come as JSON unless something else is asked',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'forgets the last output',
    on: ['iris', 'two-in-two-out'],
    make: inResponse(response => ({
      ...response,
      outputs: response.outputs.some((o: Json) => o.data === undefined)
        ? response.outputs
        : response.outputs.slice(0, -1),
    })),
    red: [
      '* makes * binary',
      'binary_data* outputs JSON',
      'every output of the metadata is answered, each once',
      'outputs come in the order of the metadata unless asked otherwise',
      'each output may be asked for alone, and nothing else comes',
      'outputs come in the order asked for',
      'outputs come as JSON unless something else is asked',
      'listed outputs come as JSON unless something else is asked',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'leaves out the content type',
    make: () => ({ answers: header('content-type') }),
    red: [
      '* makes * binary',
      'binary_data* outputs JSON',
      'metadata comes as application/json',
      'the response comes as application/json',
      'outputs come as JSON unless something else is asked',
      'listed outputs come as JSON unless something else is asked',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'an error comes as application/json',
    ],
  },
  {
    wrong: 'gets tired: the third same request in a row gets another answer',
    make: () => {
      let before = ''
      let times = 0
      return {
        answers: (reply, { body = '' }) => {
          times = String(body) === before ? times + 1 : 1
          before = String(body)
          return times < 3 || before === ''
            ? reply
            : withJson(reply, response => ({
                ...response,
                outputs: response.outputs.map((output: Json) => ({
                  ...output,
                  data: output.data?.toReversed(),
                })),
              }))
        },
      }
    },
    red: [
      'Content-Type * is refused',
      'a path below inference is 404 with {"error"}',
      'a body that comes with an unknown route does not spoil the next request',
      'every refusal of media types says why in {"error"}',
      'every refusal of media types has the status 415',
      'the same request gets the same answer',
      'requests sent at once each get their own answer',
      'an Inference-Header-Content-Length one byte short is refused',
      'an Inference-Header-Content-Length one byte long is refused',
      'an Inference-Header-Content-Length of 1 is refused',
      'the Inference-Header-Content-Length "x" is refused',
      'the Inference-Header-Content-Length "-1" is refused',
      'the Inference-Header-Content-Length "1.5" is refused',
      'the Inference-Header-Content-Length "1e2" is refused',
      'the Inference-Header-Content-Length "0x10" is refused',
      'the Inference-Header-Content-Length "" is refused',
      'the Inference-Header-Content-Length "999999999999999999999999999999" is refused',
      'the Inference-Header-Content-Length "12 34" is refused',
      'the Inference-Header-Content-Length "+5" is refused',
      'an Inference-Header-Content-Length larger than 2^53 is refused',
      'every refusal of Inference-Header-Content-Length says why in {"error"}',
      'every refusal of Inference-Header-Content-Length has the status 400',
      'binary tensors are read wherever their bytes begin',
      'a request of Content-Encoding identity is read',
      'Content-Encoding zstd of what is not so coded is refused',
      'Content-Encoding compress of what is not so coded is refused',
      'Content-Encoding nonsense of what is not so coded is refused',
      'Content-Encoding gzip, gzip of what is not so coded is refused',
      'every refusal of content codings that are not read, or what is not so coded says why in {"error"}',
      'every refusal of content codings that are not read, or what is not so coded has the status 415 or 400',
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
      'gzip that is none is refused',
    ],
  },
  {
    wrong: 'fails all that comes at once with a mistake',
    on: ['iris', 'failing'],
    make: () => {
      let inFlight = 0
      let spoilt = false
      return {
        reads: (sent, target) => {
          inFlight++
          if (isInference(sent) && !isExample(sent, target)) spoilt = true
          return sent
        },
        answers: (reply, sent, target) => {
          const failed = spoilt && isExample(sent, target) && inFlight > 1
          inFlight--
          if (inFlight === 0) spoilt = false
          return failed ? json(500, { error: 'the run failed' }) : reply
        },
      }
    },
    red: [
      'a mistake sent at once with good requests spoils none of them',
      'a run that fails spoils no other request sent at once',
    ],
  },
  {
    wrong: 'is confused by 150 mistakes in a row',
    make: () => {
      let mistakes = 0
      return {
        answers: (reply, { body }) => {
          const confused = mistakes >= 150 && reply.status === 200
          mistakes = /^\{"inputs":\[\d,\d+$/.test(String(body)) ? mistakes + 1 : 0
          return confused ? json(500, { error: 'too many mistakes' }) : reply
        },
      }
    },
    red: ['after two hundred mistakes the server answers as before'],
  },
  {
    wrong: 'answers nothing but 503',
    on: ['iris', 'scalar', 'identity-fp32'],
    make: () => ({ answers: said('overloaded', 503) }),
    red: [
      '* is 404 with {"error"}',
      'every refusal of * has the status *',
      '* is answered too',
      'a long answer to Accept-Encoding *',
      '* refuses other methods than *',
      'an id * comes back exactly',
      'Content-Type * is JSON',
      '*unknown* ignored',
      '* of null * absent',
      '* keeps −0 and denormal numbers *',
      '* times the rows are answered with * times the rows',
      'a chunked body is read, *',
      '* makes * binary',
      '-0* in FP32 is -0',
      'an empty batch *',
      'binary_data* outputs JSON',
      'a live server says so with 200',
      'the body of liveness is {"live": true}',
      'a ready server says so with 200',
      'the body of readiness has "live", and "ready" too',
      'a ready model says so with 200',
      'the body of model readiness is {"name", "ready"}',
      'server metadata has name, version and extensions',
      'model metadata has name, platform, inputs and outputs',
      'model metadata lists the inputs that the model takes and the outputs that it gives',
      'model metadata is the same without the version in the path',
      'model metadata lists the version that can be asked for',
      'a platform is written <project>_<format>',
      'GET v2 is answered',
      'GET v2/health/live is answered',
      'GET v2/health/ready is answered',
      'GET v2/models/<model> is answered',
      'GET v2/models/<model>/versions/<version> is answered',
      'GET v2/models/<model>/ready is answered',
      'GET v2/models/<model>/versions/<version>/ready is answered',
      'POST v2/models/<model>/infer is answered',
      'POST v2/models/<model>/versions/<version>/infer is answered',
      'a percent sign that encodes nothing is refused, not failed on',
      'a model’s name may be percent-encoded',
      'inference is the same with and without the version in the path',
      'a body that comes with an unknown route does not spoil the next request',
      'without an id none comes back',
      'model_name in the request is ignored',
      'empty parameters are none',
      'the key __proto__ is one unknown field among others',
      'a parameter called __proto__ is one among others',
      'JSON nested 90 levels deep is read',
      'the order of an input’s keys does not matter',
      'white space around and within the JSON does not matter',
      'a key may be written with escapes',
      'colons, quotes and brackets within strings are text',
      'a byte order mark is ignored',
      'without a Content-Type the body is JSON',
      'application/octet-stream without Inference-Header-Content-Length is JSON',
      'a request that comes byte by byte is read, chunk lengths and headers too',
      'every output of the metadata is answered, each once',
      'outputs have the datatype and shape that the metadata says',
      'outputs come in the order of the metadata unless asked otherwise',
      'an empty list of outputs asks for all of them',
      'all outputs may be asked for by name',
      'each output may be asked for alone, and nothing else comes',
      'outputs come in the order asked for',
      'the response names the model',
      'the response names the version',
      'the length of a response counts bytes, not letters',
      'the response is JSON that any parser reads: no bare NaN, no null in tensor data',
      'the same request gets the same answer',
      'requests sent at once each get their own answer',
      'a mistake sent at once with good requests spoils none of them',
      'a variable dimension takes another size wherever it is',
      'data nested as its shape says is the same as flat data',
      'nested data of several rows is the same as flat data',
      'a wrong element is found wherever it is',
      'outputs come as JSON unless something else is asked',
      'listed outputs come as JSON unless something else is asked',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'binary inputs are the same as JSON ones',
      'Content-Type may be absent where there is Inference-Header-Content-Length',
      'an Inference-Header-Content-Length of all the body means that nothing is binary',
      'binary tensors are read wherever their bytes begin',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'the length of a binary response is that of its JSON and its data',
      'a raw request is one input’s bytes alone, and every output comes back binary',
      'a request of Content-Encoding gzip is read',
      'a request of Content-Encoding deflate is read',
      'a request of Content-Encoding identity is read',
      'a request of Content-Encoding GZIP is read',
      'a request of Content-Encoding x-gzip is read',
      'a request of Content-Encoding gzip is read, even byte by byte',
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
      'deflate without its zlib frame is refused or read, never failed on',
      'a binary request may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'an error says in words which input is wrong',
      'after two hundred mistakes the server answers as before',
      'without versions the response has no model_version',
      'a scalar has the shape [] and one element',
      'a shape comes back as it was sent',
      'FP32 goes in and comes out as JSON',
      'FP32 goes in as JSON and comes out binary',
      'FP32 goes in binary and comes out as JSON',
      'an empty FP32 tensor goes in and comes out',
      'FP32 goes in and comes out binary, every value of it',
      '1E-3 in FP32 is 0.0010000000474974513',
      '1e-60 in FP32 is 0',
      '3.4028235e38 in FP32 is 3.4028234663852886e+38',
      '16777217 in FP32 is 16777216',
      '0.1 in FP32 is 0.10000000149011612',
      '12345678901234567890 in FP32 is 12345679395506094000',
      'NaN, Infinity and -Infinity travel in FP32 as strings, both ways',
      'outputs of a vector are those of its elements, however many',
    ],
    but: [],
  },

  // Errors.
  {
    wrong: 'answers {"detail"}',
    on: ['iris', 'failing', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: inError(({ error }, { status }) => json(status, { detail: error })),
    red: [
      'every refusal of * says why in {"error"}',
      '* is 404 with {"error"}',
      '* is an error with {"error"}',
      '* refuses other methods than *',
      'a percent sign that encodes nothing is refused, not failed on',
      'a wrong element is found wherever it is',
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
      'an error says in words which input is wrong',
      'an error is short, however long the mistake',
      'an error is an object with "error" alone, without the id',
      'a model that fails on a request that fits it is no mistake of the caller: 500',
      'a run that fails spoils no other request sent at once',
      'a BYTES element with a NUL comes back whole or is refused, never changed',
      'a binary BYTES element with a NUL comes back whole or is refused, never changed',
      'a BYTES element with a lone surrogate comes back whole or is refused, never changed',
      'a BYTES element of bytes that are not UTF-8 comes back whole or is refused, never changed',
    ],
  },
  {
    wrong: 'answers an error as text',
    make: inError(({ error }, reply) => ({
      ...reply,
      headers: { ...reply.headers, 'content-type': 'text/plain' },
      body: Buffer.from(error),
    })),
    red: [
      '* is 404 with {"error"}',
      'every refusal of * says why in {"error"}',
      '* refuses other methods than *',
      '* is an error with {"error"}',
      'a percent sign that encodes nothing is refused, not failed on',
      'a wrong element is found wherever it is',
      'an error says in words which input is wrong',
      'an error is short, however long the mistake',
      'an error is an object with "error" alone, without the id',
      'an error comes as application/json',
    ],
  },
  {
    wrong: 'answers 500 for every mistake',
    on: ['iris', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: inError((error, { status, headers }) => ({
      ...json(status === 400 ? 500 : status, error),
      headers,
    })),
    red: [
      'every refusal of * has the status 400*',
      'a percent sign that encodes nothing is refused, not failed on',
      'a mistake sent at once with good requests spoils none of them',
      'a wrong element is found wherever it is',
      'deflate without its zlib frame is refused or read, never failed on',
      '* comes back whole or is refused, never changed',
    ],
  },
  {
    wrong: 'answers 500 for a bad shape',
    make: instead(
      (sent, { status }, { example }) =>
        status === 400 &&
        requestOf(sent)?.inputs?.[0]?.shape !== undefined &&
        String(requestOf(sent).inputs[0].shape) !== String(example.inputs[0]?.shape) &&
        requestOf(sent).inputs[0].data?.includes?.(null) !== true,
      ({ body }) => json(500, parseJson(body.toString())),
    ),
    red: ['every refusal of shapes has the status 400'],
  },
  {
    wrong: 'answers 400 where the model fails',
    on: ['failing'],
    make: inError((error, { status, headers }) =>
      json(status === 500 ? 400 : status, error, headers),
    ),
    red: ['a model that fails on a request that fits it is no mistake of the caller: 500'],
  },
  {
    wrong: 'says "bad request" and nothing else',
    make: inError((_, { status, headers }) =>
      json(
        status,
        { error: 'bad request' },
        { allow: headers.allow, 'accept-encoding': headers['accept-encoding'] },
      ),
    ),
    red: ['an error says in words which input is wrong'],
  },
  {
    wrong: 'repeats the mistake in full',
    make: () => ({
      answers: (reply, { body }) =>
        reply.status < 400 || body === undefined
          ? reply
          : withJson(reply, ({ error }) => ({ error: `${error}: ${String(body)}` })),
    }),
    red: ['an error is short, however long the mistake'],
  },
  {
    wrong: 'adds the id to an error',
    make: inError((error, { status, headers }) => ({
      ...json(status, { ...error, id: '1' }),
      headers,
    })),
    red: ['an error is an object with "error" alone, without the id'],
  },
  {
    wrong: 'forgets Allow',
    make: () => ({ answers: header('allow') }),
    red: ['* refuses other methods than *'],
  },
  {
    wrong: 'answers 404 to another method',
    make: instead((_, { status }) => status === 405, said('not found', 404)),
    red: ['* refuses other methods than *'],
  },
  {
    wrong: 'answers 400 to what it does not know',
    make: inError((error, { status, headers }) => ({
      ...json(status === 404 ? 400 : status, error),
      headers,
    })),
    red: ['* is 404 with {"error"}'],
  },
  {
    wrong: 'answers 400 to media types and encodings it does not read',
    make: inError((error, { status, headers }) => ({
      ...json(status === 415 ? 400 : status, error),
      headers,
    })),
    red: [
      'every refusal of media types has the status 415',
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
    ],
  },

  // Health, metadata and routes.
  {
    wrong: 'is not live',
    make: instead(path(/^\/v2\/health\/live/), said('not live', 503)),
    red: [
      'a live server says so with 200',
      'the body of liveness is {"live": true}',
      'GET v2/health/live is answered',
      'GET v2/health/live/ is answered too',
      'GET v2/health/live with a query is answered too',
      'v2/health/live refuses other methods than GET with 405, {"error"} and Allow',
    ],
  },
  {
    wrong: 'is not ready',
    make: instead(path(/^\/v2\/health\/ready/), said('not ready', 503)),
    red: [
      'a ready server says so with 200',
      'the body of readiness has "live", and "ready" too',
      'GET v2/health/ready is answered',
      'GET v2/health/ready/ is answered too',
      'GET v2/health/ready with a query is answered too',
      'v2/health/ready refuses other methods than GET with 405, {"error"} and Allow',
    ],
  },
  {
    wrong: 'has a model that is not ready',
    make: instead(path(/models.*\/ready/), said('not ready', 503)),
    red: [
      'a ready model says so with 200',
      'the body of model readiness is {"name", "ready"}',
      'GET v2/models/<model>/ready is answered',
      'GET v2/models/<model>/ready/ is answered too',
      'GET v2/models/<model>/ready with a query is answered too',
      'v2/models/<model>/ready refuses other methods than GET with 405, {"error"} and Allow',
      'GET v2/models/<model>/versions/<version>/ready is answered',
      'GET v2/models/<model>/versions/<version>/ready/ is answered too',
      'GET v2/models/<model>/versions/<version>/ready with a query is answered too',
      'v2/models/<model>/versions/<version>/ready refuses other methods than GET with 405, {"error"} and Allow',
      'an unknown model’s readiness is 404 with {"error"}',
      'an unknown version’s readiness is 404 with {"error"}',
    ],
  },
  {
    wrong: 'has no bodies of health',
    make: instead(
      (sent, { status }) => status === 200 && /live|ready/.test(sent.path),
      reply => ({ ...reply, body: Buffer.alloc(0) }),
    ),
    red: [
      'the body of liveness is {"live": true}',
      'the body of readiness has "live", and "ready" too',
      'the body of model readiness is {"name", "ready"}',
    ],
  },
  {
    wrong: 'has no server metadata',
    make: instead(path(/^\/v2\/?(\?|$)/), said('not found', 404)),
    red: [
      'server metadata has name, version and extensions',
      'GET v2 is answered',
      'GET v2/ is answered too',
      'GET v2 with a query is answered too',
      'v2 refuses other methods than GET with 405, {"error"} and Allow',
    ],
  },
  {
    wrong: 'says nothing of extensions',
    make: () => ({
      answers: (reply, sent) =>
        sent.path === '/v2' ? withJson(reply, ({ extensions: _, ...rest }) => rest) : reply,
    }),
    red: ['server metadata has name, version and extensions'],
  },
  {
    wrong: 'lists no inputs',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata => (metadata.platform ? { ...metadata, inputs: [] } : metadata)),
    }),
    red: ['model metadata lists the inputs that the model takes and the outputs that it gives'],
  },
  {
    wrong: 'lists an output by a shape of names',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata =>
          metadata.platform
            ? { ...metadata, outputs: metadata.outputs.map((o: Json) => ({ ...o, shape: ['n'] })) }
            : metadata,
        ),
    }),
    red: ['model metadata has name, platform, inputs and outputs'],
  },
  {
    wrong: 'has versions of null',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata =>
          metadata.platform ? { ...metadata, versions: null } : metadata,
        ),
    }),
    red: [
      'model metadata has name, platform, inputs and outputs',
      'model metadata lists the version that can be asked for',
    ],
  },
  {
    wrong: 'has an empty platform',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata => (metadata.platform ? { ...metadata, platform: '' } : metadata)),
    }),
    red: ['a platform is written <project>_<format>'],
  },
  {
    wrong: 'has other metadata where no version is asked for',
    make: () => ({
      answers: (reply, sent) =>
        sent.path.includes('versions')
          ? reply
          : withJson(reply, metadata =>
              metadata.platform
                ? { ...metadata, versions: [...metadata.versions, 'v9'] }
                : metadata,
            ),
    }),
    red: ['model metadata is the same without the version in the path'],
  },
  {
    wrong: 'needs a version in the path',
    make: instead(path(/^\/v2\/models\/(?!.*versions)/), said('which version?')),
    red: [
      'model metadata is the same without the version in the path',
      'GET v2/models/<model> is answered',
      'GET v2/models/<model>/ is answered too',
      'GET v2/models/<model> with a query is answered too',
      'v2/models/<model> refuses other methods than GET with 405, {"error"} and Allow',
      'GET v2/models/<model>/ready is answered',
      'GET v2/models/<model>/ready/ is answered too',
      'GET v2/models/<model>/ready with a query is answered too',
      'v2/models/<model>/ready refuses other methods than GET with 405, {"error"} and Allow',
      'POST v2/models/<model>/infer is answered',
      'POST v2/models/<model>/infer/ is answered too',
      'POST v2/models/<model>/infer with a query is answered too',
      'v2/models/<model>/infer refuses other methods than POST with 405, {"error"} and Allow',
      'an unknown model is 404 with {"error"}',
      'an unknown model’s readiness is 404 with {"error"}',
      'inference with an unknown model is 404 with {"error"}',
      'the model’s name in other letters is 404 with {"error"}',
      'a model called __proto__ is 404 with {"error"}',
      'a model called constructor is 404 with {"error"}',
      'an empty model name is 404 with {"error"}',
      'the model’s name with an encoded slash is 404 with {"error"}',
      'a model’s name may be percent-encoded',
      'inference is the same with and without the version in the path',
    ],
  },
  {
    wrong: 'has another version where none is asked for',
    make: () => ({
      answers: (reply, sent) =>
        sent.path.includes('versions') || !isInference(sent)
          ? reply
          : withJson(reply, response =>
              response.outputs ? { ...response, model_version: 'v9' } : response,
            ),
    }),
    red: ['inference is the same with and without the version in the path'],
  },
  {
    wrong: 'answers for a model of any name',
    make: () => ({
      reads: (sent, { model }) => ({
        ...sent,
        path: sent.path.replace(/^\/v2\/models\/[^/?%]+/, `/v2/models/${model}`),
      }),
    }),
    red: [
      'an unknown model is an error with {"error"}',
      'an unknown model is 404 with {"error"}',
      'an unknown model’s readiness is 404 with {"error"}',
      'inference with an unknown model is an error with {"error"}',
      'inference with an unknown model is 404 with {"error"}',
      'an unknown model’s version is an error with {"error"}',
      'an unknown model’s version is 404 with {"error"}',
      'the model’s name in other letters is 404 with {"error"}',
      'a model called __proto__ is an error with {"error"}',
      'a model called __proto__ is 404 with {"error"}',
      'a model called constructor is an error with {"error"}',
      'a model called constructor is 404 with {"error"}',
      'an unknown model is not said to be ready',
    ],
  },
  {
    wrong: 'answers for any version',
    make: () => ({
      reads: (sent, { version }) => ({
        ...sent,
        path: sent.path.replace(/\/versions\/[^/?]+/, `/versions/${version}`),
      }),
    }),
    red: [
      'an unknown version is an error with {"error"}',
      'an unknown version is 404 with {"error"}',
      'an unknown version’s readiness is 404 with {"error"}',
      'inference with an unknown version is an error with {"error"}',
      'inference with an unknown version is 404 with {"error"}',
      'a version that begins like one is an error with {"error"}',
      'a version that begins like one is 404 with {"error"}',
      'a version called __proto__ is 404 with {"error"}',
      'an unknown version is not said to be ready',
    ],
  },
  {
    wrong: 'answers for a version it does not have',
    on: ['identity-fp32'],
    make: () => ({
      reads: sent => ({ ...sent, path: sent.path.replace(/\/versions\/[^/?]+/, '') }),
    }),
    red: [
      'a version of a model without versions is 404 with {"error"}',
      'inference with a version of a model without versions is 404 with {"error"}',
      'a version called __proto__ is 404 with {"error"}',
    ],
  },
  {
    wrong: 'takes any model for ready',
    make: instead(
      (sent, { status }) => status === 404 && sent.path.endsWith('/ready'),
      () => json(200, { ready: true }),
    ),
    red: [
      'an unknown * is not said to be ready',
      'an unknown model’s readiness is 404 with {"error"}',
      'an unknown version’s readiness is 404 with {"error"}',
    ],
  },
  {
    wrong: 'reads paths in any case',
    make: () => ({ reads: sent => ({ ...sent, path: sent.path.toLowerCase() }) }),
    red: [
      'the model’s name in other letters is 404 with {"error"}',
      'a route in capitals is 404 with {"error"}',
    ],
  },
  {
    wrong: 'answers inference at any path below the model',
    make: () => ({
      reads: (sent, target) =>
        hasBody(sent) &&
        /models\/[^/]+\/versions\/[^/]+\/.*(no-such-verb|__proto__|more)/.test(sent.path)
          ? { ...sent, path: `/v2/models/${target.model}/infer` }
          : sent,
    }),
    red: [
      'an unknown verb of the model is 404 with {"error"}',
      'an unknown verb called __proto__ is 404 with {"error"}',
      'a path below inference is 404 with {"error"}',
    ],
  },
  {
    wrong: 'has a page for everything else',
    make: instead(
      (sent, { status }) => status === 404 && !sent.path.startsWith('/v2/models/'),
      () => ({
        status: 200,
        headers: { 'content-type': 'text/html' },
        body: Buffer.from('<html>'),
      }),
    ),
    red: ['an unknown route is 404 with {"error"}', 'a route in capitals is 404 with {"error"}'],
  },
  {
    wrong: 'takes a slash at the end for another path',
    make: instead(path(/\/$/), said('not found', 404)),
    red: ['*/ is answered too'],
  },
  {
    wrong: 'takes a query for a part of the path',
    make: instead(path(/\?/), said('not found', 404)),
    red: ['* with a query is answered too'],
  },
  {
    wrong: 'fails on a lone percent sign',
    make: instead(path(/%(?![0-9a-e]{2})/i), said('internal error', 500)),
    red: [
      'the model’s name with an encoded slash is 404 with {"error"}',
      'a percent sign that encodes nothing is refused, not failed on',
    ],
  },
  {
    wrong: 'does not decode paths',
    make: instead(path(/%/), said('not found', 404)),
    red: ['a model’s name may be percent-encoded'],
  },
  {
    wrong: 'decodes a slash in a name',
    make: () => ({ reads: sent => ({ ...sent, path: sent.path.replace('%2F', '/') }) }),
    red: ['the model’s name with an encoded slash is 404 with {"error"}'],
  },
  {
    wrong: 'takes the body of an unknown route for the next request',
    make: () => {
      let left = false
      return {
        answers: (reply, sent) => {
          const confused = left
          left = sent.path === '/v2/no-such-route' && hasBody(sent)
          return confused ? json(400, { error: 'malformed' }) : reply
        },
      }
    },
    red: ['a body that comes with an unknown route does not spoil the next request'],
  },

  // What it reads.
  {
    wrong: 'takes any media type for JSON',
    make: () => ({
      reads: sent =>
        isInference(sent) && sent.headers?.['inference-header-content-length'] === undefined
          ? { ...sent, headers: { ...sent.headers, 'content-type': 'application/json' } }
          : sent,
    }),
    red: ['Content-Type * is refused'],
  },
  {
    wrong: 'wants application/json to the letter',
    make: instead(
      sent =>
        isInference(sent) &&
        hasBody(sent) &&
        sent.headers?.['content-type'] !== 'application/json' &&
        sent.headers?.['inference-header-content-length'] === undefined,
      said('unsupported media type', 415),
    ),
    red: [
      'Content-Type * is JSON',
      'without a Content-Type the body is JSON',
      'application/octet-stream without Inference-Header-Content-Length is JSON',
      'every refusal of binary sizes has the status 400',
    ],
  },
  {
    wrong: 'does not read chunks',
    make: instead(
      ({ chunkBytes, bytewise }) => chunkBytes !== undefined || bytewise === true,
      said('length required', 411),
    ),
    red: [
      'a chunked body is read, *',
      'a request that comes byte by byte is read, chunk lengths and headers too',
      'a request of Content-Encoding gzip is read, even byte by byte',
    ],
  },
  {
    wrong: 'refuses fields it does not know',
    make: instead(
      sent =>
        isInference(sent) &&
        Object.keys(requestOf(sent) ?? {}).some(
          key => !['id', 'inputs', 'outputs', 'parameters'].includes(key),
        ),
      said('unknown field'),
    ),
    red: [
      'an unknown field of the request is ignored',
      'model_name in the request is ignored',
      'the key __proto__ is one unknown field among others',
      'JSON nested 90 levels deep is read',
    ],
  },
  {
    wrong: 'refuses parameters it does not know',
    make: instead(
      sent => isInference(sent) && /"parameters":\{"(?!binary)/.test(String(sent.body)),
      said('unknown parameter'),
    ),
    red: [
      'unknown parameters are ignored',
      'an input’s unknown parameters are ignored',
      'a parameter called __proto__ is one among others',
      'an unknown field or parameter of an output is ignored',
      '* parameter of null is absent',
    ],
  },
  {
    wrong: 'refuses null where it stands for nothing',
    make: instead(
      sent => isInference(sent) && /"(?:id|outputs|parameters|any)":null/.test(String(sent.body)),
      said('null'),
    ),
    red: ['* of null * absent'],
  },
  {
    wrong: 'ignores outputs',
    on: ['iris', 'two-in-two-out'],
    make: reads(({ outputs: _, ...rest }) => rest),
    red: [
      'binary_data that is * is refused',
      'an output called * is refused',
      'an output whose name is * is refused',
      'outputs that are * is refused',
      'an output’s parameters that are * is refused',
      'an output that is * is refused',
      'an unknown output beside known ones is refused',
      'an output asked for twice is refused',
      'an output without a name is refused',
      'an output’s parameter that is an object is refused',
      'each output may be asked for alone, and nothing else comes',
      'outputs come in the order asked for',
      'binary_data makes outputs binary',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'one output may be binary and another JSON',
    ],
  },
  {
    wrong: 'takes inputs by their place',
    on: ['two-in-two-out'],
    make: reads((request, { metadata }) => ({
      ...request,
      inputs: request.inputs.map((input: Json, i: number) => ({
        ...input,
        name: metadata.inputs[i]?.name,
      })),
    })),
    red: [
      'an input called * is refused',
      'an input whose name is * is refused',
      'an input without a name is refused',
      'inputs may come in any order',
      'some inputs may be binary and others JSON',
      'binary data follows the order of the inputs in the JSON',
    ],
  },
  {
    wrong: 'does not look at datatypes',
    make: readsInput((_, { datatype }) => ({ datatype })),
    red: [
      'the datatype * is refused',
      'an input without a datatype is refused',
      'a datatype other than the model’s is refused',
      'a datatype in lower case is refused',
      'an error says in words which input is wrong',
    ],
  },
  {
    wrong: 'counts elements, and does not look at shapes',
    make: readsInput(({ shape, data }, example) =>
      Array.isArray(shape) &&
      Array.isArray(data) &&
      data.length === (example.data as unknown[]).length
        ? { shape: example.shape }
        : {},
    ),
    red: [
      'a * dimension is refused',
      'a shape of one dimension too many is refused',
      'a shape with a leading 1 too many is refused',
      'a shape of one dimension too few is refused',
      'a scalar’s shape for a vector is refused',
      'dimensions in another order is refused',
      'the largest negative dimension is refused',
      'two negative dimensions whose product is right is refused',
      'a dimension of 1e400 is refused',
      'a dimension larger than INT64 is refused',
      'a dimension larger than UINT64 is refused',
      'a dimension of a thousand digits is refused',
      'a dimension that wraps to the right size at 32 bits is refused',
      'a dimension that is a string is refused',
      'a dimension that is null is refused',
      'a dimension that is true is refused',
      'a dimension that is an array is refused',
      'a shape of 10,000 dimensions is refused',
      'an error says in words which input is wrong',
    ],
  },
  {
    wrong: 'flattens ragged data',
    make: readsInput(({ data }) =>
      Array.isArray(data) ? { data: data.flat(Number.POSITIVE_INFINITY) } : {},
    ),
    red: [
      'ragged data of the right count is refused',
      'columns in place of rows is refused',
      'data nested one level too deep is refused',
      'data nested in some places only is refused',
      'a nested element behind flat ones is refused',
      'data nested 90 levels deep is refused',
    ],
  },
  {
    wrong: 'does not read nested data',
    make: instead(
      sent => Array.isArray(requestOf(sent)?.inputs?.[0]?.data?.[0]),
      said('flat data only'),
    ),
    red: [
      'data nested as its shape says is the same as flat data',
      'nested data of several rows is the same as flat data',
    ],
  },
  {
    wrong: 'reads nested data by columns',
    make: readsInput(({ data, shape }) =>
      Array.isArray(data?.[0]) && shape.length === 2
        ? {
            data: nested(
              data[0].flatMap((_: unknown, i: number) => data.map((row: Json) => row[i])),
              shape,
            ),
          }
        : {},
    ),
    red: [
      'columns in place of rows is refused',
      'nested data of several rows is the same as flat data',
    ],
  },
  {
    wrong: 'coerces elements',
    on: ['iris', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: readsInput(({ data, datatype }) =>
      Array.isArray(data) ? { data: data.map(element => coerce(datatype, element)) } : {},
    ),
    red: [
      'a last element that is null is refused',
      'null in FP32 is refused',
      'true in FP32 is refused',
      'false in FP32 is refused',
      'a number in a string in FP32 is refused',
      'an empty string in FP32 is refused',
      '"1e5" in FP32 is refused',
      'a wrong element is found wherever it is',
      'null in BOOL is refused',
      'the number 0 in BOOL is refused',
      'the number 1 in BOOL is refused',
      'a fraction in BOOL is refused',
      'a number in a string in BOOL is refused',
      'an empty string in BOOL is refused',
      '"true" in BOOL is refused',
      '"constructor" in BOOL is refused',
      '"__proto__" in BOOL is refused',
      'null in INT32 is refused',
      'true in INT32 is refused',
      'false in INT32 is refused',
      'a fraction in INT32 is refused',
      'a number in a string in INT32 is refused',
      'an empty string in INT32 is refused',
      'null in BYTES is refused',
      'true in BYTES is refused',
      'false in BYTES is refused',
      'the number 0 in BYTES is refused',
      'the number 1 in BYTES is refused',
      'a fraction in BYTES is refused',
    ],
  },
  {
    wrong: 'accepts bytes left over',
    make: () => ({ reads: trimmed }),
    red: [
      'bytes left over behind the inputs is refused',
      'bytes behind inputs that are all JSON is refused',
    ],
  },
  {
    wrong: 'does not undo Content-Encoding',
    make: () => ({
      reads: sent => ({
        ...sent,
        headers: Object.fromEntries(
          Object.entries(sent.headers ?? {}).filter(([name]) => name !== 'content-encoding'),
        ),
      }),
    }),
    red: [
      'Content-Encoding * of what is not so coded is refused',
      'a request of Content-Encoding gzip is read',
      'a request of Content-Encoding deflate is read',
      'a request of Content-Encoding GZIP is read',
      'a request of Content-Encoding x-gzip is read',
      'a request of Content-Encoding gzip is read, even byte by byte',
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
      'gzip that is none is refused',
      'a binary request may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'fails on raw deflate',
    make: instead(
      ({ headers }, { status }) => headers?.['content-encoding'] === 'deflate' && status === 400,
      said('internal error', 500),
    ),
    red: [
      'every refusal of compressed bodies has the status 400 or 415',
      'deflate without its zlib frame is refused or read, never failed on',
    ],
  },
  {
    wrong: 'does not say which encodings it reads',
    make: () => ({ answers: header('accept-encoding') }),
    red: [
      'a content coding that is not read is refused with 415, and Accept-Encoding says what is read',
    ],
  },

  // What it writes.
  {
    wrong: 'writes null for NaN',
    on: NUMBERS,
    make: inElement(element => (typeof element === 'string' ? null : element)),
    red: ['* travel in * as strings, both ways'],
  },
  {
    wrong: 'writes bare NaN',
    on: NUMBERS,
    make: instead(
      (_, reply) => reply.status === 200,
      reply => ({
        ...reply,
        body: Buffer.from(
          reply.body.toString('latin1').replaceAll(/"(NaN|-?Infinity)"/g, '$1'),
          'latin1',
        ),
      }),
    ),
    red: ['* travel in * as strings, both ways'],
  },
  {
    wrong: 'narrows integers to 53 bits',
    on: LONG,
    make: inElement(element => (typeof element === 'bigint' ? raw(Number(element)) : element)),
    red: [
      '* keeps * in JSON, both ways',
      '* keeps * from binary to JSON',
      '* makes * binary',
      'a shape comes back as it was sent',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'narrows integers to 32 bits',
    on: [...LONG, 'identity-uint32'],
    make: inElement(element => Number(BigInt.asIntN(32, BigInt(element)))),
    red: [
      '* keeps * in JSON, both ways',
      '* keeps * from binary to JSON',
      '* makes * binary',
      'a shape comes back as it was sent',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'UINT32 goes in and comes out as JSON',
      'UINT32 goes in binary and comes out as JSON',
      'outputs of a vector are those of its elements, however many',
    ],
  },
  {
    wrong: 'loses the sign of zero',
    on: NUMBERS,
    make: inElement(element => (element === 0 ? 0 : element)),
    red: [
      '* keeps * in JSON, both ways',
      '* keeps * from binary to JSON',
      '* makes * binary',
      '-0* in FP32 is -0',
      'a shape comes back as it was sent',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      '-0 in FP64 is -0',
    ],
  },
  {
    wrong: 'takes denormal numbers for zero',
    on: NUMBERS,
    make: inElement(element => (Math.abs(element) < 1e-38 ? element * 0 : element)),
    red: [
      '* keeps * in JSON, both ways',
      '* keeps * from binary to JSON',
      '12345678901234567890 in FP32 is 12345679395506094000',
      '9007199254740993 in FP64 is 9007199254740992',
      '5e-324 in FP64 is 5e-324',
    ],
  },
  {
    wrong: 'writes six digits',
    on: ['identity-fp32', 'identity-fp64', 'identity-int32'],
    make: inElement(element =>
      typeof element === 'number' && !Object.is(element, -0)
        ? Number(element.toPrecision(6))
        : element,
    ),
    red: [
      '* goes in and comes out as JSON',
      '* goes in binary and comes out as JSON',
      '* keeps * in JSON, both ways',
      '* keeps * from binary to JSON',
      '* makes * binary',
      '3.4028235e38 in FP32 is 3.4028234663852886e+38',
      '16777217 in FP32 is 16777216',
      'outputs of a vector are those of its elements, however many',
      'a shape comes back as it was sent',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'writes BOOL as 0 and 1',
    on: ['identity-bool'],
    make: inElement(Number),
    red: [
      'a long answer to Accept-Encoding *',
      'an id * comes back exactly',
      '*unknown* ignored',
      '* of null * absent',
      '* times the rows are answered with * times the rows',
      'a chunked body is read, *',
      '* makes * binary',
      'binary_data* outputs JSON',
      'without an id none comes back',
      'model_name in the request is ignored',
      'empty parameters are none',
      'the key __proto__ is one unknown field among others',
      'a parameter called __proto__ is one among others',
      'JSON nested 90 levels deep is read',
      'the order of an input’s keys does not matter',
      'white space around and within the JSON does not matter',
      'a key may be written with escapes',
      'colons, quotes and brackets within strings are text',
      'a byte order mark is ignored',
      'every output of the metadata is answered, each once',
      'outputs have the datatype and shape that the metadata says',
      'outputs come in the order of the metadata unless asked otherwise',
      'an empty list of outputs asks for all of them',
      'all outputs may be asked for by name',
      'the response names the model',
      'without versions the response has no model_version',
      'the length of a response counts bytes, not letters',
      'the same request gets the same answer',
      'requests sent at once each get their own answer',
      'a variable dimension takes another size wherever it is',
      'a shape comes back as it was sent',
      'data nested as its shape says is the same as flat data',
      'BOOL goes in and comes out as JSON',
      'BOOL goes in binary and comes out as JSON',
      'outputs of a vector are those of its elements, however many',
      'outputs come as JSON unless something else is asked',
      'listed outputs come as JSON unless something else is asked',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'binary inputs are the same as JSON ones',
      'Content-Type may be absent where there is Inference-Header-Content-Length',
      'an Inference-Header-Content-Length of all the body means that nothing is binary',
      'binary tensors are read wherever their bytes begin',
      'a request of Content-Encoding gzip is read',
      'a request of Content-Encoding deflate is read',
      'a request of Content-Encoding identity is read',
      'a request of Content-Encoding GZIP is read',
      'a request of Content-Encoding x-gzip is read',
      'a request of Content-Encoding gzip is read, even byte by byte',
      'a binary request may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
      'after two hundred mistakes the server answers as before',
    ],
  },
  {
    wrong: 'loses what is not ASCII',
    on: ['identity-bytes'],
    make: inElement(element => element.replaceAll(/\P{ASCII}/gu, '?')),
    red: [
      'BYTES goes in and comes out as JSON',
      'BYTES goes in binary and comes out as JSON',
      '"\\u0041\\ud83c\\udf38\\/" in BYTES is A🌸/',
      'a BYTES element of 1 MB comes back',
      'outputs of a vector are those of its elements, however many',
    ],
  },
  {
    wrong: 'cuts BYTES at 64 KiB',
    on: ['identity-bytes'],
    make: inElement(element => element.slice(0, 65_535)),
    red: ['a BYTES element of 1 MB comes back'],
  },
  {
    wrong: 'drops the last of many elements',
    on: ['identity-int32'],
    make: inOutput(({ data, shape }) =>
      data.length > 5000 ? { data: data.slice(1), shape: [shape[0] - 1] } : {},
    ),
    red: ['outputs of a vector are those of its elements, however many'],
  },
  {
    wrong: 'compresses long answers unasked',
    make: instead(
      (sent, reply) => isInference(sent) && reply.status === 200 && reply.body.byteLength > 5000,
      reply => ({
        ...reply,
        headers: { ...reply.headers, vary: 'Accept-Encoding', 'content-encoding': 'gzip' },
        body: gzipSync(plain(reply).body),
      }),
    ),
    red: [
      'a long answer to Accept-Encoding * is not compressed',
      'a long answer to Accept-Encoding "br, zstd" is br or zstd or not compressed',
    ],
  },
  {
    wrong: 'never compresses',
    make: () => ({ answers: plain }),
    red: [
      'a long answer to Accept-Encoding * is gzip*',
      'a long answer to Accept-Encoding "deflate" is deflate',
      'a long answer to Accept-Encoding "br;q=1.0, gzip;q=0.5, deflate;q=0.8" is br or deflate',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'forgets Vary',
    make: () => ({ answers: header('vary') }),
    red: ['a compressed answer says that it varies'],
  },
  {
    wrong: 'takes bodies of any size',
    on: ['iris, of limited bodies'],
    make: instead(
      (_, { status }) => status === 413,
      () => json(200, {}),
    ),
    red: ['* with 413'],
  },

  // Binary tensor data.
  {
    wrong: 'ignores binary_data_output where outputs are listed',
    make: reads(({ parameters, ...rest }) => ({
      ...rest,
      ...(rest.outputs === undefined && { parameters }),
    })),
    red: ['binary_data_output holds for listed outputs that say nothing'],
  },
  {
    wrong: 'ignores binary_data',
    make: reads(({ outputs, ...rest }) => ({
      ...rest,
      ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
    })),
    red: [
      'binary_data that is * is refused',
      'an output’s parameters that are * is refused',
      'an output’s parameter that is an object is refused',
      'binary_data makes outputs binary',
      'binary_data false overrides binary_data_output',
      'binary_data overrides binary_data_output false',
      'one output may be binary and another JSON',
    ],
  },
  {
    wrong: 'ignores binary_data_output',
    make: reads(({ parameters: _, ...rest }) => rest),
    red: [
      'binary_data_output that is * is refused',
      'parameters that are * is refused',
      'a parameter that is * is refused',
      'binary_data_output makes all outputs binary',
      'binary_data_output holds for listed outputs that say nothing',
    ],
  },
  {
    wrong: 'gives the size of binary data in a string',
    make: inResponse(response => ({
      ...response,
      outputs: response.outputs.map((o: Json) =>
        o.parameters?.binary_data_size === undefined
          ? o
          : { ...o, parameters: { binary_data_size: String(o.parameters.binary_data_size) } },
      ),
    })),
    red: [
      '* makes * binary',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'the length of a binary response is that of its JSON and its data',
      'a raw request is one input’s bytes alone, and every output comes back binary',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'adds a byte to binary data',
    make: inBinary(bytes => Buffer.concat([bytes, Buffer.alloc(1)])),
    red: [
      '* makes * binary',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'the length of a binary response is that of its JSON and its data',
      'a raw request is one input’s bytes alone, and every output comes back binary',
    ],
  },
  {
    wrong: 'writes binary data in big-endian order',
    on: IDENTITIES,
    make: inBinary((bytes, { outputs }) => swapped(bytes, outputs[0].datatype)),
    red: [
      '* keeps * from JSON to binary',
      '* makes * binary',
      'UINT16 goes in as JSON and comes out binary',
      'UINT16 goes in and comes out binary, every value of it',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'UINT32 goes in as JSON and comes out binary',
      'UINT32 goes in and comes out binary, every value of it',
      'UINT64 goes in as JSON and comes out binary',
      'UINT64 goes in and comes out binary, every value of it',
      'INT16 goes in as JSON and comes out binary',
      'INT16 goes in and comes out binary, every value of it',
      'INT32 goes in as JSON and comes out binary',
      'INT32 goes in and comes out binary, every value of it',
      'INT64 goes in and comes out binary, every value of it',
      'FP16 goes in and comes out binary, every value of it',
      'FP32 goes in as JSON and comes out binary',
      'FP32 goes in and comes out binary, every value of it',
      'FP64 goes in as JSON and comes out binary',
      'FP64 goes in and comes out binary, every value of it',
      'BYTES goes in as JSON and comes out binary',
      'BYTES goes in and comes out binary, every value of it',
    ],
  },
  {
    wrong: 'writes binary data in the order of the metadata',
    on: ['iris'],
    make: inBinary((bytes, { outputs }) => inMetadataOrder(bytes, outputs)),
    red: ['binary data follows the order of the outputs asked for'],
  },
  {
    wrong: 'calls binary data application/json',
    make: instead(
      (_, { headers }) => headers['content-type'] === 'application/octet-stream',
      reply => ({ ...reply, headers: { ...reply.headers, 'content-type': 'application/json' } }),
    ),
    red: [
      '* makes * binary',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
    ],
  },
  {
    wrong: 'does not say how long the JSON is',
    make: () => ({ answers: header('inference-header-content-length') }),
    red: [
      '* makes * binary',
      'binary_data_output holds for listed outputs that say nothing',
      'binary_data overrides binary_data_output false',
      'binary data follows the order of the outputs asked for',
      'one output may be binary and another JSON',
      'the length of a binary response is that of its JSON and its data',
      'a raw request is one input’s bytes alone, and every output comes back binary',
      'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'needs binary data to begin at a multiple of 4',
    make: instead(
      ({ headers }) => Number(headers?.['inference-header-content-length'] ?? 0) % 4 !== 0,
      said('not aligned'),
    ),
    red: [
      'an empty batch may be binary: binary_data_size is 0',
      'binary inputs are the same as JSON ones',
      'Content-Type may be absent where there is Inference-Header-Content-Length',
      'an Inference-Header-Content-Length of all the body means that nothing is binary',
      'binary tensors are read wherever their bytes begin',
      'the length of a binary response is that of its JSON and its data',
      'a raw request is one input’s bytes alone, and every output comes back binary',
      'a binary request may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    ],
  },
  {
    wrong: 'reads no raw requests',
    on: ['iris', 'middle'],
    make: instead(
      ({ headers }) => headers?.['inference-header-content-length'] === '0',
      said('no JSON'),
    ),
    red: [
      'a raw request is one input’s bytes alone, and every output comes back binary',
      'a raw request may fill one variable dimension that is not the first',
    ],
  },

  // Extensions.
  {
    wrong: 'gives the lowest class for the highest',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({ ...output, data: data.toReversed() })),
    red: ['classification of all classes lists them from the highest down'],
  },
  {
    wrong: 'counts classes from 1',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({
      ...output,
      data: data.map((text: string) => text.replace(/\d+$/, index => String(Number(index) + 1))),
    })),
    red: [
      'classification 1 gives the highest value *',
      'classification of all classes lists them from the highest down',
    ],
  },
  {
    wrong: 'writes a class as index:value',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({
      ...output,
      data: data.map((text: string) => text.split(':').reverse().join(':')),
    })),
    red: [
      'classification 1 gives the highest value *',
      'classification of all classes lists them from the highest down',
    ],
  },
  {
    wrong: 'gives the same class again and again',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({ ...output, data: data.map(() => data[0]) })),
    red: ['classification of all classes lists them from the highest down'],
  },
  {
    wrong: 'gives classes without their row',
    on: EXTENDED,
    make: inClasses(({ shape, ...output }) => ({ ...output, shape: shape.slice(1) })),
    red: ['classes have the shape [rows, classes]'],
  },
  {
    wrong: 'calls classes STRING',
    on: EXTENDED,
    make: inClasses(output => ({ ...output, datatype: 'STRING' })),
    red: [
      'classification * gives the highest value *',
      'classification of all classes *',
      'classes have *',
      'classification of one output *',
    ],
  },
  {
    wrong: 'ignores classification',
    on: EXTENDED,
    make: reads(({ outputs, ...rest }) => ({
      ...rest,
      ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
    })),
    red: ['classification 1 *', 'classification of all classes *', 'classes have *'],
  },
  {
    wrong: 'spoils the outputs beside one in classes',
    on: EXTENDED,
    make: inResponse(response =>
      isClasses(response.outputs[0])
        ? {
            ...response,
            outputs: [
              response.outputs[0],
              ...response.outputs.slice(1).map((o: Json) => ({ ...o, data: ['x'] })),
            ],
          }
        : response,
    ),
    red: ['classification of one output leaves the others as they are'],
  },
  {
    wrong: 'does not count inferences',
    on: EXTENDED,
    make: inStatistics(stats => ({ ...stats, inference_count: 7 })),
    red: ['three requests of a row are counted as three inferences'],
  },
  {
    wrong: 'counts each success twice',
    on: EXTENDED,
    make: inStatistics(({ inference_stats: stats, ...rest }) => ({
      ...rest,
      inference_stats: { ...stats, success: { ...stats.success, count: 2 * stats.success.count } },
    })),
    red: ['three requests of a row are counted as three inferences'],
  },
  {
    wrong: 'has no durations of failures',
    on: EXTENDED,
    make: inStatistics(({ inference_stats: { fail: _, ...stats }, ...rest }) => ({
      ...rest,
      inference_stats: stats,
    })),
    red: ['statistics count inferences, executions and durations'],
  },
  {
    wrong: 'writes counts in strings',
    on: EXTENDED,
    make: inStatistics(stats => ({ ...stats, execution_count: String(stats.execution_count) })),
    red: ['statistics count inferences, executions and durations'],
  },
  {
    wrong: 'knows no statistics of all models',
    on: EXTENDED,
    make: instead(path(/^\/v2\/models\/stats$/), said('model "stats" is unknown', 404)),
    red: ['statistics of all models have this one among them'],
  },
  {
    wrong: 'has statistics of any model',
    on: EXTENDED,
    make: () => ({
      reads: (sent, { model }) => ({
        ...sent,
        path: sent.path.replace('no-such-model/stats', `${model}/stats`),
      }),
    }),
    red: ['statistics of an unknown model are an error with {"error"}'],
  },
  {
    wrong: 'has a configuration of any model',
    on: EXTENDED,
    make: () => ({
      reads: (sent, { model }) => ({
        ...sent,
        path: sent.path.replace('no-such-model/config', `${model}/config`),
      }),
    }),
    red: ['the configuration of an unknown model is an error with {"error"}'],
  },
  {
    wrong: 'configures no outputs',
    on: EXTENDED,
    make: () => ({
      answers: (reply, { path }) =>
        path.endsWith('/config') ? withJson(reply, ({ output: _, ...rest }) => rest) : reply,
    }),
    red: ['the model’s configuration has its name, and the names of its inputs and outputs'],
  },
  {
    wrong: 'configures another version where none is asked for',
    on: EXTENDED,
    make: () => ({
      answers: (reply, { path }) =>
        path.endsWith('/config') && !path.includes('versions')
          ? withJson(reply, config => ({ ...config, platform: 'other' }))
          : reply,
    }),
    red: ['the model’s configuration is the same without the version in the path'],
  },
  {
    wrong: 'leaves the model out of its index',
    on: EXTENDED,
    make: instead(path(/repository\/index/), () => json(200, [{ name: 'other', state: 'READY' }])),
    red: ['the repository’s index of ready models has this one in it'],
  },
  {
    wrong: 'takes its models for not ready',
    on: EXTENDED,
    make: instead(
      sent => sent.path.endsWith('index') && String(sent.body).includes('ready'),
      () => json(200, []),
    ),
    red: ['the repository’s index of ready models has this one in it'],
  },
  {
    wrong: 'says nothing of the state of its models',
    on: EXTENDED,
    make: instead(path(/repository\/index/), (_, { model }) => json(200, [{ name: model }])),
    red: ['the repository’s index lists models by name and state'],
  },
  {
    wrong: 'writes log settings in strings',
    on: EXTENDED,
    make: instead(path(/logging/), () =>
      json(200, { log_info: 'true', log_warnings: 'true', log_errors: 'true' }),
    ),
    red: ['the log settings *'],
  },
  {
    wrong: 'names log settings as Triton does',
    on: EXTENDED,
    make: instead(path(/logging/), () =>
      json(200, { log_info: true, log_warning: true, log_error: true }),
    ),
    red: ['the log settings have the names that the extension’s document gives them'],
  },
  {
    wrong: 'refuses parameters of the caller’s own',
    on: EXTENDED,
    make: instead(
      ({ body }) => String(body).includes('my_custom_parameter'),
      said('unknown parameter'),
    ),
    red: ['a parameter of the caller’s own is taken'],
  },
  {
    wrong: 'takes priority 0 for a mistake',
    on: EXTENDED,
    make: instead(
      ({ body }) => String(body).includes('"priority":0'),
      said('priority must be positive'),
    ),
    red: ['priority 0 is as good as none'],
  },
  {
    wrong: 'takes a timeout for seconds that have passed',
    on: EXTENDED,
    make: instead(({ body }) => String(body).includes('"timeout"'), said('too late', 504)),
    red: ['the highest priority and a timeout of ten minutes change no answer'],
  },
]

const raw = (value: number) => BigInt(value)

function coerce(datatype: string, element: unknown): unknown {
  if (element !== null && typeof element === 'object') return element
  if (datatype === 'BYTES') return String(element)
  if (datatype === 'BOOL') return Boolean(element)
  const number = Number(element)
  return Number.isFinite(number)
    ? datatype.startsWith('FP')
      ? number
      : Math.trunc(number)
    : element
}

/** Without what is behind the tensors. */
function trimmed(sent: Sent): Sent {
  const length = Number(sent.headers?.['inference-header-content-length'] ?? 0)
  if (length === 0 || sent.headers?.['content-encoding'] !== undefined) return sent
  const body = Buffer.from(sent.body ?? '')
  const inputs = requestOf({ ...sent, body: body.subarray(0, length) })?.inputs ?? []
  const size = inputs.reduce(
    (sum: number, input: Json) => sum + Number(input.parameters?.binary_data_size ?? 0),
    0,
  )
  return Number.isSafeInteger(size) && size >= 0
    ? { ...sent, body: body.subarray(0, length + size) }
    : sent
}

function swapped(bytes: Buffer, datatype: string): Buffer {
  const size =
    datatype === 'BYTES'
      ? 1
      : toBytes(datatype, [datatype.endsWith('64') && datatype.includes('INT') ? 0n : 0]).byteLength
  if (datatype === 'BYTES') return prefixesSwapped(bytes)
  const turned = Buffer.from(bytes)
  if (size === 2) turned.swap16()
  if (size === 4) turned.swap32()
  if (size === 8) turned.swap64()
  return turned
}

function prefixesSwapped(bytes: Buffer): Buffer {
  const turned = Buffer.from(bytes)
  for (let at = 0; at < bytes.byteLength; at += 4 + bytes.readUInt32LE(at))
    turned.writeUInt32BE(bytes.readUInt32LE(at), at)
  return turned
}

function inMetadataOrder(bytes: Buffer, outputs: Json[]): Buffer {
  let at = 0
  const parts = outputs.map(({ name, parameters }) => {
    const begin = at
    at += parameters?.binary_data_size ?? 0
    return { name, part: bytes.subarray(begin, at) }
  })
  return Buffer.concat(
    parts.toSorted((one, other) => (one.name > other.name ? -1 : 1)).map(({ part }) => part),
  )
}
