import { gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import type { Reply, Sent } from '../connection.ts'
import { toBytes } from '../datatypes.ts'
import { parseJson, toJson } from '../json.ts'
import type { JsonTensor, Target } from '../point.ts'
import { elementCount, exampleRequest, nested } from '../request.ts'
import { isInference, type Json, json, type Wrong, withJson } from './wrong-server.ts'

const inResponse = (change: (response: Json, sent: Sent) => Json) => (): Wrong => ({
  answers: (reply, sent) =>
    reply.status === 200 && isInference(sent)
      ? withJson(reply, response => change(response, sent))
      : reply,
})

const inOutput = (change: (output: Json) => Json) =>
  inResponse(response => ({
    ...response,
    outputs: response.outputs.map((output: Json) =>
      output.data === undefined ? output : { ...output, ...change(output) },
    ),
  }))

const inElement = (change: (element: Json) => unknown) =>
  inOutput(({ data }) => ({ data: data.map(change) }))

const inError = (change: (error: Json, reply: Reply) => Reply) => (): Wrong => ({
  answers: reply => {
    if (reply.status < 400 || reply.headers['content-type']?.includes('json') !== true) return reply
    return change(parseJson(reply.body.toString()), reply)
  },
})

const instead =
  (
    when: (sent: Sent, reply: Reply, target: Target) => boolean,
    answer: (reply: Reply, target: Target) => Reply,
  ) =>
  (): Wrong => ({
    answers: (reply, sent, target) => (when(sent, reply, target) ? answer(reply, target) : reply),
  })

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
      // If the JSON is unchanged, return the original text: writing it again would repair invalid
      // JSON.
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

const inMetadata =
  (change: (metadata: Json) => Json, asked: (sent: Sent) => boolean = () => true) =>
  (): Wrong => ({
    answers: (reply, sent) =>
      asked(sent)
        ? withJson(reply, metadata =>
            metadata.platform ? { ...metadata, ...change(metadata) } : metadata,
          )
        : reply,
  })

const readsPath = (change: (path: string, target: Target) => string) => (): Wrong => ({
  reads: (sent, target) => ({ ...sent, path: change(sent.path, target) }),
})

const inStatistics = (change: (stats: Json) => Json) => (): Wrong => ({
  answers: (reply, sent) =>
    sent.path.endsWith('/stats') && reply.status === 200
      ? withJson(reply, ({ model_stats: stats }) => ({ model_stats: stats.map(change) }))
      : reply,
})

/** Classification output has the form "value:index". */
const isClasses = ({ data }: Json) => /^[\d.e-]+:\d+(:|$)/.test(data?.[0])

const inClasses = (change: (output: Json) => Json) =>
  inResponse(response => ({
    ...response,
    outputs: response.outputs.map((output: Json) => (isClasses(output) ? change(output) : output)),
  }))

/**
 * Servers with one fault each, keyed by a description of the fault. Each model gets a new server, because some
 * servers keep state between requests.
 */
export const MUTATIONS: Readonly<Record<string, () => Wrong>> = {
  // Faults in the id.
  'invents an id': inResponse(({ id = 'made-up', ...rest }) => ({ id, ...rest })),
  'drops the id': inResponse(({ id: _, ...rest }) => rest),
  'truncates an id to 64 characters': inResponse(({ id, ...rest }) => ({
    id: id?.slice(0, 64),
    ...rest,
  })),
  'converts an id of digits to a number': inResponse(({ id, ...rest }) => ({
    id: /^\d+$/.test(id) ? String(Number(id)) : id,
    ...rest,
  })),
  'truncates an id at a NUL': inResponse(({ id, ...rest }) => ({
    id: id?.split('\0')[0],
    ...rest,
  })),
  'repairs invalid Unicode in an id': inResponse(({ id, ...rest }) => ({
    id: id?.toWellFormed(),
    ...rest,
  })),
  'drops an empty id': inResponse(({ id, ...rest }) => ({ id: id || undefined, ...rest })),
  'counts characters instead of bytes for the length of a body': instead(
    (sent, reply) => isInference(sent) && reply.status === 200,
    reply => ({
      ...reply,
      body: reply.body.subarray(
        0,
        reply.headers['content-encoding'] ? undefined : reply.body.toString().length,
      ),
    }),
  ),
  'mixes up the ids of concurrent requests': inResponse(({ id, ...rest }) => ({
    id: id?.replace(/^request (\d+)$/, (_: string, n: string) => `request ${Number(n) ^ 1}`),
    ...rest,
  })),

  // Faults in the response.
  'omits model_name': inResponse(({ model_name: _, ...rest }) => rest),
  'omits model_version': inResponse(({ model_version: _, ...rest }) => rest),
  'sends a null model_version for a model without versions': inResponse(response => ({
    ...response,
    model_version: null,
  })),
  'reports FP64 for FP32 outputs': inOutput(({ datatype }) => ({
    datatype: datatype === 'FP32' ? 'FP64' : datatype,
  })),
  'adds a leading 1 to every shape': inOutput(({ shape }) => ({ shape: [1, ...shape] })),
  'returns only the first row': inOutput(({ shape, data }) => ({
    shape: [1, ...shape.slice(1)],
    data: data.slice(0, elementCount(shape.slice(1))),
  })),
  'reverses the order of the outputs': inResponse(response => ({
    ...response,
    outputs: response.outputs.some((o: Json) => o.data === undefined)
      ? response.outputs
      : response.outputs.toReversed(),
  })),
  'returns an output twice': inResponse(response => ({
    ...response,
    outputs: response.outputs.some((o: Json) => o.data === undefined)
      ? response.outputs
      : [...response.outputs, response.outputs[0]],
  })),
  'omits the last output': inResponse(response => ({
    ...response,
    outputs: response.outputs.some((o: Json) => o.data === undefined)
      ? response.outputs
      : response.outputs.slice(0, -1),
  })),
  'omits Content-Type': () => ({ answers: header('content-type') }),
  'returns other outputs from the third identical request on': () => {
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
  'fails valid requests that are concurrent with an invalid request': () => {
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
  'fails after 150 invalid requests in a row': () => {
    let mistakes = 0
    return {
      answers: (reply, { body }) => {
        const confused = mistakes >= 150 && reply.status === 200
        mistakes = /^\{"inputs":\[\d,\d+$/.test(String(body)) ? mistakes + 1 : 0
        return confused ? json(500, { error: 'too many mistakes' }) : reply
      },
    }
  },
  'returns 503 for every request': () => ({ answers: said('overloaded', 503) }),

  // Faults in error responses.
  'returns {"detail"} instead of {"error"}': inError(({ error }, { status }) =>
    json(status, { detail: error }),
  ),
  'returns errors as text': inError(({ error }, reply) => ({
    ...reply,
    headers: { ...reply.headers, 'content-type': 'text/plain' },
    body: Buffer.from(error),
  })),
  'returns 500 instead of 400': inError((error, { status, headers }) => ({
    ...json(status === 400 ? 500 : status, error),
    headers,
  })),
  'returns 500 for an invalid shape': instead(
    (sent, { status }, { example }) =>
      status === 400 &&
      requestOf(sent)?.inputs?.[0]?.shape !== undefined &&
      String(requestOf(sent).inputs[0].shape) !== String(example.inputs[0]?.shape) &&
      requestOf(sent).inputs[0].data?.includes?.(null) !== true,
    ({ body }) => json(500, parseJson(body.toString())),
  ),
  'returns 400 if the model fails': inError((error, { status, headers }) =>
    json(status === 500 ? 400 : status, error, headers),
  ),
  'reports only "bad request"': inError((_, { status, headers }) =>
    json(
      status,
      { error: 'bad request' },
      { allow: headers.allow, 'accept-encoding': headers['accept-encoding'] },
    ),
  ),
  'repeats the complete request in an error message': () => ({
    answers: (reply, { body }) =>
      reply.status < 400 || body === undefined
        ? reply
        : withJson(reply, ({ error }) => ({ error: `${error}: ${String(body)}` })),
  }),
  'adds an id to an error response': inError((error, { status, headers }) => ({
    ...json(status, { ...error, id: '1' }),
    headers,
  })),
  'omits Allow': () => ({ answers: header('allow') }),
  'returns 404 instead of 405': instead((_, { status }) => status === 405, said('not found', 404)),
  'returns 400 instead of 404': inError((error, { status, headers }) => ({
    ...json(status === 404 ? 400 : status, error),
    headers,
  })),
  'returns 400 instead of 415': inError((error, { status, headers }) => ({
    ...json(status === 415 ? 400 : status, error),
    headers,
  })),

  // Faults in health, metadata and routes.
  'is not live': instead(path(/^\/v2\/health\/live/), said('not live', 503)),
  'is not ready': instead(path(/^\/v2\/health\/ready/), said('not ready', 503)),
  'has a model that is not ready': instead(path(/models.*\/ready/), said('not ready', 503)),
  'returns empty bodies for health routes': instead(
    (sent, { status }) => status === 200 && /live|ready/.test(sent.path),
    reply => ({ ...reply, body: Buffer.alloc(0) }),
  ),
  'has no server metadata': instead(path(/^\/v2\/?(\?|$)/), said('not found', 404)),
  'omits the extensions': () => ({
    answers: (reply, sent) =>
      sent.path === '/v2' ? withJson(reply, ({ extensions: _, ...rest }) => rest) : reply,
  }),
  'lists no inputs': inMetadata(() => ({ inputs: [] })),
  'lists outputs whose dimensions are names': inMetadata(({ outputs }) => ({
    outputs: outputs.map((o: Json) => ({ ...o, shape: ['n'] })),
  })),
  'lists versions as null': inMetadata(() => ({ versions: null })),
  'has an empty platform': inMetadata(() => ({ platform: '' })),
  'returns other metadata for a path without a version': inMetadata(
    ({ versions }) => ({ versions: [...versions, 'v9'] }),
    ({ path }) => !path.includes('versions'),
  ),
  'requires a version in the path': instead(
    path(/^\/v2\/models\/(?!.*versions)/),
    said('the path has no version'),
  ),
  'uses another version for a path without a version': () => ({
    answers: (reply, sent) =>
      sent.path.includes('versions') || !isInference(sent)
        ? reply
        : withJson(reply, response =>
            response.outputs ? { ...response, model_version: 'v9' } : response,
          ),
  }),
  'accepts any model name': readsPath((path, { model }) =>
    path.replace(/^\/v2\/models\/[^/?%]+/, `/v2/models/${model}`),
  ),
  'accepts any version': readsPath((path, { version }) =>
    path.replace(/\/versions\/[^/?]+/, `/versions/${version}`),
  ),
  'accepts a version for a model without versions': readsPath(path =>
    path.replace(/\/versions\/[^/?]+/, ''),
  ),
  'reports every model as ready': instead(
    (sent, { status }) => status === 404 && sent.path.endsWith('/ready'),
    () => json(200, { ready: true }),
  ),
  'ignores the letter case of paths': readsPath(path => path.toLowerCase()),
  'accepts inference at any path below the model': () => ({
    reads: (sent, target) =>
      hasBody(sent) &&
      /models\/[^/]+\/versions\/[^/]+\/.*(no-such-verb|__proto__|more)/.test(sent.path)
        ? { ...sent, path: `/v2/models/${target.model}/infer` }
        : sent,
  }),
  'returns an HTML page for unknown routes': instead(
    (sent, { status }) => status === 404 && !sent.path.startsWith('/v2/models/'),
    () => ({
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: Buffer.from('<html>'),
    }),
  ),
  'rejects a trailing slash': instead(path(/\/$/), said('not found', 404)),
  'rejects a query': instead(path(/\?/), said('not found', 404)),
  'returns 500 for invalid percent-encoding': instead(
    path(/%(?![0-9a-e]{2})/i),
    said('internal error', 500),
  ),
  'does not decode paths': instead(path(/%/), said('not found', 404)),
  'decodes an encoded slash in a name': readsPath(path => path.replace('%2F', '/')),
  'reads the body sent to an unknown route as the next request': () => {
    let left = false
    return {
      answers: (reply, sent) => {
        const confused = left
        left = sent.path === '/v2/no-such-route' && hasBody(sent)
        return confused ? json(400, { error: 'malformed' }) : reply
      },
    }
  },

  // Faults in reading requests.
  'reads any media type as JSON': () => ({
    reads: sent =>
      isInference(sent) && sent.headers?.['inference-header-content-length'] === undefined
        ? { ...sent, headers: { ...sent.headers, 'content-type': 'application/json' } }
        : sent,
  }),
  'accepts only the exact Content-Type application/json': instead(
    sent =>
      isInference(sent) &&
      hasBody(sent) &&
      sent.headers?.['content-type'] !== 'application/json' &&
      sent.headers?.['inference-header-content-length'] === undefined,
    said('unsupported media type', 415),
  ),
  'rejects chunked bodies': instead(
    ({ chunkBytes, bytewise }) => chunkBytes !== undefined || bytewise === true,
    said('length required', 411),
  ),
  'rejects unknown fields': instead(
    sent =>
      isInference(sent) &&
      Object.keys(requestOf(sent) ?? {}).some(
        key => !['id', 'inputs', 'outputs', 'parameters'].includes(key),
      ),
    said('unknown field'),
  ),
  'rejects unknown parameters': instead(
    sent => isInference(sent) && /"parameters":\{"(?!binary)/.test(String(sent.body)),
    said('unknown parameter'),
  ),
  'rejects null for an optional field': instead(
    sent => isInference(sent) && /"(?:id|outputs|parameters|any)":null/.test(String(sent.body)),
    said('null is not allowed'),
  ),
  'ignores the requested outputs': reads(({ outputs: _, ...rest }) => rest),
  'identifies inputs by position': reads((request, { metadata }) => ({
    ...request,
    inputs: request.inputs.map((input: Json, i: number) => ({
      ...input,
      name: metadata.inputs[i]?.name,
    })),
  })),
  'does not check datatypes': readsInput((_, { datatype }) => ({ datatype })),
  'checks the number of elements but not the shape': readsInput(({ shape, data }, example) =>
    Array.isArray(shape) &&
    Array.isArray(data) &&
    data.length === (example.data as unknown[]).length
      ? { shape: example.shape }
      : {},
  ),
  'flattens ragged data': readsInput(({ data }) =>
    Array.isArray(data) ? { data: data.flat(Number.POSITIVE_INFINITY) } : {},
  ),
  'rejects nested data': instead(
    sent => Array.isArray(requestOf(sent)?.inputs?.[0]?.data?.[0]),
    said('nested data is not supported'),
  ),
  'reads nested data in column-major order': readsInput(({ data, shape }) =>
    Array.isArray(data?.[0]) && shape.length === 2
      ? {
          data: nested(
            data[0].flatMap((_: unknown, i: number) => data.map((row: Json) => row[i])),
            shape,
          ),
        }
      : {},
  ),
  'coerces elements': readsInput(({ data, datatype }) =>
    Array.isArray(data) ? { data: data.map(element => coerce(datatype, element)) } : {},
  ),
  'accepts bytes after the last tensor': () => ({ reads: trimmed }),
  'ignores Content-Encoding': () => ({
    reads: sent => ({
      ...sent,
      headers: Object.fromEntries(
        Object.entries(sent.headers ?? {}).filter(([name]) => name !== 'content-encoding'),
      ),
    }),
  }),
  'returns 500 for raw deflate': instead(
    ({ headers }, { status }) => headers?.['content-encoding'] === 'deflate' && status === 400,
    said('internal error', 500),
  ),
  'omits Accept-Encoding': () => ({ answers: header('accept-encoding') }),

  // Faults in writing responses.
  'writes null for NaN': inElement(element => (typeof element === 'string' ? null : element)),
  'writes bare NaN': instead(
    (_, reply) => reply.status === 200,
    reply => ({
      ...reply,
      body: Buffer.from(
        reply.body.toString('latin1').replaceAll(/"(NaN|-?Infinity)"/g, '$1'),
        'latin1',
      ),
    }),
  ),
  'narrows integers to 53 bits': inElement(element =>
    typeof element === 'bigint' ? raw(Number(element)) : element,
  ),
  'narrows integers to 32 bits': inElement(element => Number(BigInt.asIntN(32, BigInt(element)))),
  'loses the sign of zero': inElement(element => (element === 0 ? 0 : element)),
  'rounds denormal numbers to zero': inElement(element =>
    Math.abs(element) < 1e-38 ? element * 0 : element,
  ),
  'writes numbers with six digits': inElement(element =>
    typeof element === 'number' && !Object.is(element, -0)
      ? Number(element.toPrecision(6))
      : element,
  ),
  'writes BOOL as 0 and 1': inElement(Number),
  'replaces non-ASCII characters': inElement(element => element.replaceAll(/\P{ASCII}/gu, '?')),
  'truncates BYTES at 64 KiB': inElement(element => element.slice(0, 65_535)),
  'drops an element of a long vector': inOutput(({ data, shape }) =>
    data.length > 5000 ? { data: data.slice(1), shape: [shape[0] - 1] } : {},
  ),
  'compresses long responses even if the client does not accept compression': instead(
    (sent, reply) => isInference(sent) && reply.status === 200 && reply.body.byteLength > 5000,
    reply => ({
      ...reply,
      headers: { ...reply.headers, vary: 'Accept-Encoding', 'content-encoding': 'gzip' },
      body: gzipSync(plain(reply).body),
    }),
  ),
  'never compresses responses': () => ({ answers: plain }),
  'omits Vary': () => ({ answers: header('vary') }),
  'accepts bodies of any size': instead(
    (_, { status }) => status === 413,
    () => json(200, {}),
  ),

  // Faults in binary tensor data.
  'ignores binary_data_output if outputs are listed': reads(({ parameters, ...rest }) => ({
    ...rest,
    ...(rest.outputs === undefined && { parameters }),
  })),
  'ignores binary_data': reads(({ outputs, ...rest }) => ({
    ...rest,
    ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
  })),
  'ignores binary_data_output': reads(({ parameters: _, ...rest }) => rest),
  'writes binary_data_size as a string': inResponse(response => ({
    ...response,
    outputs: response.outputs.map((o: Json) =>
      o.parameters?.binary_data_size === undefined
        ? o
        : { ...o, parameters: { binary_data_size: String(o.parameters.binary_data_size) } },
    ),
  })),
  'adds a byte to binary data': inBinary(bytes => Buffer.concat([bytes, Buffer.alloc(1)])),
  'writes binary data in big-endian order': inBinary((bytes, { outputs }) =>
    swapped(bytes, outputs[0].datatype),
  ),
  'writes binary data in the order of the metadata': inBinary((bytes, { outputs }) =>
    inMetadataOrder(bytes, outputs),
  ),
  'sends binary data as application/json': instead(
    (_, { headers }) => headers['content-type'] === 'application/octet-stream',
    reply => ({ ...reply, headers: { ...reply.headers, 'content-type': 'application/json' } }),
  ),
  'omits Inference-Header-Content-Length': () => ({
    answers: header('inference-header-content-length'),
  }),
  'requires binary data at an offset that is a multiple of 4': instead(
    ({ headers }) => Number(headers?.['inference-header-content-length'] ?? 0) % 4 !== 0,
    said('not aligned'),
  ),
  'rejects raw requests': instead(
    ({ headers }) => headers?.['inference-header-content-length'] === '0',
    said('the body is not JSON'),
  ),

  // Faults in extensions.
  'returns classes in ascending order': inClasses(({ data, ...output }) => ({
    ...output,
    data: data.toReversed(),
  })),
  'numbers classes from 1': inClasses(({ data, ...output }) => ({
    ...output,
    data: data.map((text: string) =>
      text.replace(/(?<=^[^:]+:)\d+/, index => String(Number(index) + 1)),
    ),
  })),
  'writes a class as index:value': inClasses(({ data, ...output }) => ({
    ...output,
    data: data.map((text: string) => text.replace(/^([^:]+):(\d+)/, '$2:$1')),
  })),
  'returns the same class several times': inClasses(({ data, ...output }) => ({
    ...output,
    data: data.map(() => data[0]),
  })),
  'omits the row dimension of classes': inClasses(({ shape, ...output }) => ({
    ...output,
    shape: shape.slice(1),
  })),
  'reports the datatype STRING for classes': inClasses(output => ({
    ...output,
    datatype: 'STRING',
  })),
  'ignores classification': reads(({ outputs, ...rest }) => ({
    ...rest,
    ...(outputs && { outputs: outputs.map(({ name }: Json) => ({ name })) }),
  })),
  'corrupts the other outputs of a classification': inResponse(response =>
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
  'does not count inferences': inStatistics(stats => ({ ...stats, inference_count: 7 })),
  'counts each success twice': inStatistics(({ inference_stats: stats, ...rest }) => ({
    ...rest,
    inference_stats: { ...stats, success: { ...stats.success, count: 2 * stats.success.count } },
  })),
  'omits the durations of failures': inStatistics(
    ({ inference_stats: { fail: _, ...stats }, ...rest }) => ({
      ...rest,
      inference_stats: stats,
    }),
  ),
  'writes counts as strings': inStatistics(stats => ({
    ...stats,
    execution_count: String(stats.execution_count),
  })),
  'has no statistics of all models': instead(
    path(/^\/v2\/models\/stats$/),
    said('model "stats" is unknown', 404),
  ),
  'returns statistics of an unknown model': readsPath((path, { model }) =>
    path.replace('no-such-model/stats', `${model}/stats`),
  ),
  'returns a configuration of an unknown model': readsPath((path, { model }) =>
    path.replace('no-such-model/config', `${model}/config`),
  ),
  'omits the outputs from the configuration': () => ({
    answers: (reply, { path }) =>
      path.endsWith('/config') ? withJson(reply, ({ output: _, ...rest }) => rest) : reply,
  }),
  'returns another configuration for a path without a version': () => ({
    answers: (reply, { path }) =>
      path.endsWith('/config') && !path.includes('versions')
        ? withJson(reply, config => ({ ...config, platform: 'other' }))
        : reply,
  }),
  'omits the model from the index': instead(path(/repository\/index/), () =>
    json(200, [{ name: 'other', state: 'READY' }]),
  ),
  'omits ready models from the index': instead(
    sent => sent.path.endsWith('index') && String(sent.body).includes('ready'),
    () => json(200, []),
  ),
  'omits the state of models from the index': instead(path(/repository\/index/), (_, { model }) =>
    json(200, [{ name: model }]),
  ),
  'writes log settings as strings': instead(path(/logging/), () =>
    json(200, { log_info: 'true', log_warnings: 'true', log_errors: 'true' }),
  ),
  'uses Triton’s own names for log settings': instead(path(/logging/), () =>
    json(200, { log_info: true, log_warning: true, log_error: true }),
  ),
  'rejects custom parameters': instead(
    ({ body }) => String(body).includes('my_custom_parameter'),
    said('unknown parameter'),
  ),
  'rejects priority 0': instead(
    ({ body }) => String(body).includes('"priority":0'),
    said('priority must be positive'),
  ),
  'returns 504 for every request with a timeout': instead(
    ({ body }) => String(body).includes('"timeout"'),
    said('timeout', 504),
  ),
}

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
