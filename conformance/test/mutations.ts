import { gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import type { Reply, Sent } from '../connection.ts'
import { toBytes } from '../datatypes.ts'
import { parseJson, toJson } from '../json.ts'
import type { JsonTensor, Target } from '../point.ts'
import { elementCount, exampleRequest, nested } from '../request.ts'
import { isInference, type Json, json, type Wrong, withJson } from './wrong-server.ts'

/** Servers that are wrong in one thing each. */
export interface Mutation {
  /** What the server does; mutations.md says under these words which points must turn red for it. */
  readonly wrong: string
  /** Made anew for each model, for some remember what was asked before. */
  readonly make: () => Wrong
  /** Models it is shown on; iris unless given. */
  readonly on?: readonly string[]
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
const isClasses = ({ data }: Json) => /^[\d.e-]+:\d+(:|$)/.test(data?.[0])

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
  },
  {
    wrong: 'drops the id',
    make: inResponse(({ id: _, ...rest }) => rest),
  },
  {
    wrong: 'keeps 64 letters of an id',
    make: inResponse(({ id, ...rest }) => ({ id: id?.slice(0, 64), ...rest })),
  },
  {
    wrong: 'takes an id of digits for a number',
    make: inResponse(({ id, ...rest }) => ({
      id: /^\d+$/.test(id) ? String(Number(id)) : id,
      ...rest,
    })),
  },
  {
    wrong: 'cuts an id at a NUL',
    make: inResponse(({ id, ...rest }) => ({ id: id?.split('\0')[0], ...rest })),
  },
  {
    wrong: 'mends Unicode in an id',
    make: inResponse(({ id, ...rest }) => ({ id: id?.toWellFormed(), ...rest })),
  },
  {
    wrong: 'takes an empty id for none',
    make: inResponse(({ id, ...rest }) => ({ id: id || undefined, ...rest })),
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
  },
  {
    wrong: 'mixes up the ids of requests sent at once',
    make: inResponse(({ id, ...rest }) => ({
      id: id?.replace(/^request (\d+)$/, (_: string, n: string) => `request ${Number(n) ^ 1}`),
      ...rest,
    })),
  },

  // The response.
  {
    wrong: 'leaves out model_name',
    make: inResponse(({ model_name: _, ...rest }) => rest),
  },
  {
    wrong: 'leaves out model_version',
    make: inResponse(({ model_version: _, ...rest }) => rest),
  },
  {
    wrong: 'has a model_version of null where there are no versions',
    on: ['identity-fp32'],
    make: inResponse(response => ({ ...response, model_version: null })),
  },
  {
    wrong: 'says FP64 for FP32',
    make: inOutput(({ datatype }) => ({ datatype: datatype === 'FP32' ? 'FP64' : datatype })),
  },
  {
    wrong: 'puts a 1 before every shape',
    on: ['iris', 'identity-fp32'],
    make: inOutput(({ shape }) => ({ shape: [1, ...shape] })),
  },
  {
    wrong: 'answers one row of several',
    make: inOutput(({ shape, data }) => ({
      shape: [1, ...shape.slice(1)],
      data: data.slice(0, elementCount(shape.slice(1))),
    })),
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
  },
  {
    wrong: 'gives an output twice',
    make: inResponse(response => ({
      ...response,
      outputs: response.outputs.some((o: Json) => o.data === undefined)
        ? response.outputs
        : [...response.outputs, response.outputs[0]],
    })),
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
  },
  {
    wrong: 'leaves out the content type',
    make: () => ({ answers: header('content-type') }),
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
  },
  {
    wrong: 'answers nothing but 503',
    on: ['iris', 'scalar', 'identity-fp32'],
    make: () => ({ answers: said('overloaded', 503) }),
  },

  // Errors.
  {
    wrong: 'answers {"detail"}',
    on: ['iris', 'failing', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: inError(({ error }, { status }) => json(status, { detail: error })),
  },
  {
    wrong: 'answers an error as text',
    make: inError(({ error }, reply) => ({
      ...reply,
      headers: { ...reply.headers, 'content-type': 'text/plain' },
      body: Buffer.from(error),
    })),
  },
  {
    wrong: 'answers 500 for every mistake',
    on: ['iris', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: inError((error, { status, headers }) => ({
      ...json(status === 400 ? 500 : status, error),
      headers,
    })),
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
  },
  {
    wrong: 'answers 400 where the model fails',
    on: ['failing'],
    make: inError((error, { status, headers }) =>
      json(status === 500 ? 400 : status, error, headers),
    ),
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
  },
  {
    wrong: 'repeats the mistake in full',
    make: () => ({
      answers: (reply, { body }) =>
        reply.status < 400 || body === undefined
          ? reply
          : withJson(reply, ({ error }) => ({ error: `${error}: ${String(body)}` })),
    }),
  },
  {
    wrong: 'adds the id to an error',
    make: inError((error, { status, headers }) => ({
      ...json(status, { ...error, id: '1' }),
      headers,
    })),
  },
  {
    wrong: 'forgets Allow',
    make: () => ({ answers: header('allow') }),
  },
  {
    wrong: 'answers 404 to another method',
    make: instead((_, { status }) => status === 405, said('not found', 404)),
  },
  {
    wrong: 'answers 400 to what it does not know',
    make: inError((error, { status, headers }) => ({
      ...json(status === 404 ? 400 : status, error),
      headers,
    })),
  },
  {
    wrong: 'answers 400 to media types and encodings it does not read',
    make: inError((error, { status, headers }) => ({
      ...json(status === 415 ? 400 : status, error),
      headers,
    })),
  },

  // Health, metadata and routes.
  {
    wrong: 'is not live',
    make: instead(path(/^\/v2\/health\/live/), said('not live', 503)),
  },
  {
    wrong: 'is not ready',
    make: instead(path(/^\/v2\/health\/ready/), said('not ready', 503)),
  },
  {
    wrong: 'has a model that is not ready',
    make: instead(path(/models.*\/ready/), said('not ready', 503)),
  },
  {
    wrong: 'has no bodies of health',
    make: instead(
      (sent, { status }) => status === 200 && /live|ready/.test(sent.path),
      reply => ({ ...reply, body: Buffer.alloc(0) }),
    ),
  },
  {
    wrong: 'has no server metadata',
    make: instead(path(/^\/v2\/?(\?|$)/), said('not found', 404)),
  },
  {
    wrong: 'says nothing of extensions',
    make: () => ({
      answers: (reply, sent) =>
        sent.path === '/v2' ? withJson(reply, ({ extensions: _, ...rest }) => rest) : reply,
    }),
  },
  {
    wrong: 'lists no inputs',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata => (metadata.platform ? { ...metadata, inputs: [] } : metadata)),
    }),
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
  },
  {
    wrong: 'has versions of null',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata =>
          metadata.platform ? { ...metadata, versions: null } : metadata,
        ),
    }),
  },
  {
    wrong: 'has an empty platform',
    make: () => ({
      answers: reply =>
        withJson(reply, metadata => (metadata.platform ? { ...metadata, platform: '' } : metadata)),
    }),
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
  },
  {
    wrong: 'needs a version in the path',
    make: instead(path(/^\/v2\/models\/(?!.*versions)/), said('which version?')),
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
  },
  {
    wrong: 'answers for a model of any name',
    make: () => ({
      reads: (sent, { model }) => ({
        ...sent,
        path: sent.path.replace(/^\/v2\/models\/[^/?%]+/, `/v2/models/${model}`),
      }),
    }),
  },
  {
    wrong: 'answers for any version',
    make: () => ({
      reads: (sent, { version }) => ({
        ...sent,
        path: sent.path.replace(/\/versions\/[^/?]+/, `/versions/${version}`),
      }),
    }),
  },
  {
    wrong: 'answers for a version it does not have',
    on: ['identity-fp32'],
    make: () => ({
      reads: sent => ({ ...sent, path: sent.path.replace(/\/versions\/[^/?]+/, '') }),
    }),
  },
  {
    wrong: 'takes any model for ready',
    make: instead(
      (sent, { status }) => status === 404 && sent.path.endsWith('/ready'),
      () => json(200, { ready: true }),
    ),
  },
  {
    wrong: 'reads paths in any case',
    make: () => ({ reads: sent => ({ ...sent, path: sent.path.toLowerCase() }) }),
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
  },
  {
    wrong: 'takes a slash at the end for another path',
    make: instead(path(/\/$/), said('not found', 404)),
  },
  {
    wrong: 'takes a query for a part of the path',
    make: instead(path(/\?/), said('not found', 404)),
  },
  {
    wrong: 'fails on a lone percent sign',
    make: instead(path(/%(?![0-9a-e]{2})/i), said('internal error', 500)),
  },
  {
    wrong: 'does not decode paths',
    make: instead(path(/%/), said('not found', 404)),
  },
  {
    wrong: 'decodes a slash in a name',
    make: () => ({ reads: sent => ({ ...sent, path: sent.path.replace('%2F', '/') }) }),
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
  },
  {
    wrong: 'does not read chunks',
    make: instead(
      ({ chunkBytes, bytewise }) => chunkBytes !== undefined || bytewise === true,
      said('length required', 411),
    ),
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
  },
  {
    wrong: 'refuses parameters it does not know',
    make: instead(
      sent => isInference(sent) && /"parameters":\{"(?!binary)/.test(String(sent.body)),
      said('unknown parameter'),
    ),
  },
  {
    wrong: 'refuses null where it stands for nothing',
    make: instead(
      sent => isInference(sent) && /"(?:id|outputs|parameters|any)":null/.test(String(sent.body)),
      said('null'),
    ),
  },
  {
    wrong: 'ignores outputs',
    on: ['iris', 'two-in-two-out'],
    make: reads(({ outputs: _, ...rest }) => rest),
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
  },
  {
    wrong: 'does not look at datatypes',
    make: readsInput((_, { datatype }) => ({ datatype })),
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
  },
  {
    wrong: 'flattens ragged data',
    make: readsInput(({ data }) =>
      Array.isArray(data) ? { data: data.flat(Number.POSITIVE_INFINITY) } : {},
    ),
  },
  {
    wrong: 'does not read nested data',
    make: instead(
      sent => Array.isArray(requestOf(sent)?.inputs?.[0]?.data?.[0]),
      said('flat data only'),
    ),
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
  },
  {
    wrong: 'coerces elements',
    on: ['iris', 'identity-bool', 'identity-int32', 'identity-bytes'],
    make: readsInput(({ data, datatype }) =>
      Array.isArray(data) ? { data: data.map(element => coerce(datatype, element)) } : {},
    ),
  },
  {
    wrong: 'accepts bytes left over',
    make: () => ({ reads: trimmed }),
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
  },
  {
    wrong: 'fails on raw deflate',
    make: instead(
      ({ headers }, { status }) => headers?.['content-encoding'] === 'deflate' && status === 400,
      said('internal error', 500),
    ),
  },
  {
    wrong: 'does not say which encodings it reads',
    make: () => ({ answers: header('accept-encoding') }),
  },

  // What it writes.
  {
    wrong: 'writes null for NaN',
    on: NUMBERS,
    make: inElement(element => (typeof element === 'string' ? null : element)),
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
  },
  {
    wrong: 'narrows integers to 53 bits',
    on: LONG,
    make: inElement(element => (typeof element === 'bigint' ? raw(Number(element)) : element)),
  },
  {
    wrong: 'narrows integers to 32 bits',
    on: [...LONG, 'identity-uint32'],
    make: inElement(element => Number(BigInt.asIntN(32, BigInt(element)))),
  },
  {
    wrong: 'loses the sign of zero',
    on: NUMBERS,
    make: inElement(element => (element === 0 ? 0 : element)),
  },
  {
    wrong: 'takes denormal numbers for zero',
    on: NUMBERS,
    make: inElement(element => (Math.abs(element) < 1e-38 ? element * 0 : element)),
  },
  {
    wrong: 'writes six digits',
    on: ['identity-fp32', 'identity-fp64', 'identity-int32'],
    make: inElement(element =>
      typeof element === 'number' && !Object.is(element, -0)
        ? Number(element.toPrecision(6))
        : element,
    ),
  },
  {
    wrong: 'writes BOOL as 0 and 1',
    on: ['identity-bool'],
    make: inElement(Number),
  },
  {
    wrong: 'loses what is not ASCII',
    on: ['identity-bytes'],
    make: inElement(element => element.replaceAll(/\P{ASCII}/gu, '?')),
  },
  {
    wrong: 'cuts BYTES at 64 KiB',
    on: ['identity-bytes'],
    make: inElement(element => element.slice(0, 65_535)),
  },
  {
    wrong: 'drops the last of many elements',
    on: ['identity-int32'],
    make: inOutput(({ data, shape }) =>
      data.length > 5000 ? { data: data.slice(1), shape: [shape[0] - 1] } : {},
    ),
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
  },
  {
    wrong: 'never compresses',
    make: () => ({ answers: plain }),
  },
  {
    wrong: 'forgets Vary',
    make: () => ({ answers: header('vary') }),
  },
  {
    wrong: 'takes bodies of any size',
    on: ['iris, of limited bodies'],
    make: instead(
      (_, { status }) => status === 413,
      () => json(200, {}),
    ),
  },

  // Binary tensor data.
  {
    wrong: 'ignores binary_data_output where outputs are listed',
    make: reads(({ parameters, ...rest }) => ({
      ...rest,
      ...(rest.outputs === undefined && { parameters }),
    })),
  },
  {
    wrong: 'ignores binary_data',
    make: reads(({ outputs, ...rest }) => ({
      ...rest,
      ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
    })),
  },
  {
    wrong: 'ignores binary_data_output',
    make: reads(({ parameters: _, ...rest }) => rest),
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
  },
  {
    wrong: 'adds a byte to binary data',
    make: inBinary(bytes => Buffer.concat([bytes, Buffer.alloc(1)])),
  },
  {
    wrong: 'writes binary data in big-endian order',
    on: IDENTITIES,
    make: inBinary((bytes, { outputs }) => swapped(bytes, outputs[0].datatype)),
  },
  {
    wrong: 'writes binary data in the order of the metadata',
    on: ['iris'],
    make: inBinary((bytes, { outputs }) => inMetadataOrder(bytes, outputs)),
  },
  {
    wrong: 'calls binary data application/json',
    make: instead(
      (_, { headers }) => headers['content-type'] === 'application/octet-stream',
      reply => ({ ...reply, headers: { ...reply.headers, 'content-type': 'application/json' } }),
    ),
  },
  {
    wrong: 'does not say how long the JSON is',
    make: () => ({ answers: header('inference-header-content-length') }),
  },
  {
    wrong: 'needs binary data to begin at a multiple of 4',
    make: instead(
      ({ headers }) => Number(headers?.['inference-header-content-length'] ?? 0) % 4 !== 0,
      said('not aligned'),
    ),
  },
  {
    wrong: 'reads no raw requests',
    on: ['iris', 'middle'],
    make: instead(
      ({ headers }) => headers?.['inference-header-content-length'] === '0',
      said('no JSON'),
    ),
  },

  // Extensions.
  {
    wrong: 'gives the lowest class for the highest',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({ ...output, data: data.toReversed() })),
  },
  {
    wrong: 'counts classes from 1',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({
      ...output,
      data: data.map((text: string) =>
        text.replace(/(?<=^[^:]+:)\d+/, index => String(Number(index) + 1)),
      ),
    })),
  },
  {
    wrong: 'writes a class as index:value',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({
      ...output,
      data: data.map((text: string) => text.replace(/^([^:]+):(\d+)/, '$2:$1')),
    })),
  },
  {
    wrong: 'gives the same class again and again',
    on: EXTENDED,
    make: inClasses(({ data, ...output }) => ({ ...output, data: data.map(() => data[0]) })),
  },
  {
    wrong: 'gives classes without their row',
    on: EXTENDED,
    make: inClasses(({ shape, ...output }) => ({ ...output, shape: shape.slice(1) })),
  },
  {
    wrong: 'calls classes STRING',
    on: EXTENDED,
    make: inClasses(output => ({ ...output, datatype: 'STRING' })),
  },
  {
    wrong: 'ignores classification',
    on: EXTENDED,
    make: reads(({ outputs, ...rest }) => ({
      ...rest,
      ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
    })),
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
  },
  {
    wrong: 'does not count inferences',
    on: EXTENDED,
    make: inStatistics(stats => ({ ...stats, inference_count: 7 })),
  },
  {
    wrong: 'counts each success twice',
    on: EXTENDED,
    make: inStatistics(({ inference_stats: stats, ...rest }) => ({
      ...rest,
      inference_stats: { ...stats, success: { ...stats.success, count: 2 * stats.success.count } },
    })),
  },
  {
    wrong: 'has no durations of failures',
    on: EXTENDED,
    make: inStatistics(({ inference_stats: { fail: _, ...stats }, ...rest }) => ({
      ...rest,
      inference_stats: stats,
    })),
  },
  {
    wrong: 'writes counts in strings',
    on: EXTENDED,
    make: inStatistics(stats => ({ ...stats, execution_count: String(stats.execution_count) })),
  },
  {
    wrong: 'knows no statistics of all models',
    on: EXTENDED,
    make: instead(path(/^\/v2\/models\/stats$/), said('model "stats" is unknown', 404)),
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
  },
  {
    wrong: 'configures no outputs',
    on: EXTENDED,
    make: () => ({
      answers: (reply, { path }) =>
        path.endsWith('/config') ? withJson(reply, ({ output: _, ...rest }) => rest) : reply,
    }),
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
  },
  {
    wrong: 'leaves the model out of its index',
    on: EXTENDED,
    make: instead(path(/repository\/index/), () => json(200, [{ name: 'other', state: 'READY' }])),
  },
  {
    wrong: 'takes its models for not ready',
    on: EXTENDED,
    make: instead(
      sent => sent.path.endsWith('index') && String(sent.body).includes('ready'),
      () => json(200, []),
    ),
  },
  {
    wrong: 'says nothing of the state of its models',
    on: EXTENDED,
    make: instead(path(/repository\/index/), (_, { model }) => json(200, [{ name: model }])),
  },
  {
    wrong: 'writes log settings in strings',
    on: EXTENDED,
    make: instead(path(/logging/), () =>
      json(200, { log_info: 'true', log_warnings: 'true', log_errors: 'true' }),
    ),
  },
  {
    wrong: 'names log settings as Triton does',
    on: EXTENDED,
    make: instead(path(/logging/), () =>
      json(200, { log_info: true, log_warning: true, log_error: true }),
    ),
  },
  {
    wrong: 'refuses parameters of the caller’s own',
    on: EXTENDED,
    make: instead(
      ({ body }) => String(body).includes('my_custom_parameter'),
      said('unknown parameter'),
    ),
  },
  {
    wrong: 'takes priority 0 for a mistake',
    on: EXTENDED,
    make: instead(
      ({ body }) => String(body).includes('"priority":0'),
      said('priority must be positive'),
    ),
  },
  {
    wrong: 'takes a timeout for seconds that have passed',
    on: EXTENDED,
    make: instead(({ body }) => String(body).includes('"timeout"'), said('too late', 504)),
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
