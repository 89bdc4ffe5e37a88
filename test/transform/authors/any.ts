import { setTimeout as wait } from 'node:timers/promises'
import { parentPort } from 'node:worker_threads'
import { BadRequest, defineTransform, Refused, Unavailable } from 'onnx-function'
import type { Context, Outputs } from '../../../function/transform/contract.ts'

/*
 * A transform for iris. The data of each call selects the behaviour, as listed in table.ts. Tests
 * load this file with TRANSFORM.
 */

const ROW = [5.1, 3.5, 1.4, 0.2]

const filled = new Float32Array(ROW.length)
const written = new Uint8Array(8)

interface Asked {
  readonly throws?: string
  readonly wrong?: string
  readonly rows?: number[][]
  /** preprocess returns this row in an array that all calls share. */
  readonly fills?: number[]
  readonly waits?: number
  readonly give?: string
  readonly value?: unknown
}

const THROWS: Record<string, () => unknown> = {
  bad: () => new BadRequest('the flower has no petals'),
  refused: () => new Refused(409, 'this flower was classified before'),
  unavailable: () => new Unavailable('the feature store is down', { retryAfter: 7 }),
  error: () => new TypeError('secret of the author'),
  nothing: () => undefined,
  text: () => 'secret of the author',
  code: () => Object.assign(new Error('secret of the author'), { code: 'NOT_FOUND' }),
  getter: () =>
    Object.defineProperty(new Error('secret of the author'), 'code', {
      get() {
        throw new Error('secret of the author')
      },
    }),
  members: () =>
    Object.assign(new BadRequest('the flower has no petals'), {
      status: () => 1,
      retryAfter: Symbol(),
    }),
  once() {
    const codes = ['BAD_REQUEST']
    return {
      message: 'the flower has no petals',
      get code() {
        if (codes.length === 0) throw new Error('secret of the author')
        return codes.pop()
      },
    }
  },
  proxy: () =>
    new Proxy(new Error('secret of the author'), {
      get() {
        throw new Error('secret of the author')
      },
      getPrototypeOf() {
        throw new Error('secret of the author')
      },
    }),
  odd: () => ({
    get code() {
      throw new Error('secret of the author')
    },
  }),
}

const WRONG: Record<string, () => unknown> = {
  shape: () => ({ input: [[1, 2, 3]] }),
  ragged: () => ({ input: [ROW, [1, 2, 3]] }),
  element: () => ({ input: [[1, 2, 3, undefined]] }),
  name: () => ({ inputs: [ROW] }),
  more: () => ({ input: [ROW], other: [1] }),
  nothing: () => undefined,
  number: () => 5,
  length: () => ({ input: { shape: [1, 4], data: new Float32Array(3) } }),
  negative: () => ({ input: { shape: [-1, 4], data: new Float32Array(4) } }),
  never: () => new Promise(() => {}),
}

interface Model {
  inputs: { input: { datatype: 'FP32'; shape: [rows: number, 4] } }
  outputs: {
    probabilities: { datatype: 'FP32'; shape: [rows: number, 3] }
    predicted_class: { datatype: 'BYTES'; shape: [rows: number] }
  }
}

type Give = (outputs: Outputs<Model>, asked: Asked, context: Context) => unknown

const GIVE: Record<string, Give> = {
  value: (_, { value }) => value,
  nothing: () => undefined,
  bytes: () => ({ body: new Uint8Array([1, 2, 255]), contentType: 'image/png' }),
  text: () => ({ body: 'sépale', contentType: 'text/plain; charset=utf-8' }),
  json: () => ({ body: '{"a":1}', contentType: 'application/json' }),
  body: (_, { value }) => ({ body: written.fill(Number(value)), contentType: 'image/png' }),
  detached() {
    const body = new Uint8Array(4)
    structuredClone(body, { transfer: [body.buffer] })
    return { body, contentType: 'image/png' }
  },
  memory: ({ probabilities: { data } }) => data.byteLength === data.buffer.byteLength,
  posts() {
    for (const message of ['text', null, { value: 1 }, { other: 1 }])
      parentPort?.postMessage(message)
    return 'posted'
  },
  class: ({ predicted_class }) => predicted_class.data[0],
  classes: ({ predicted_class }) => predicted_class.data,
  probabilities: ({ probabilities }) => probabilities.data,
  shapes: outputs =>
    Object.values(outputs).map(({ name, datatype, shape, data }) => [
      name,
      datatype,
      shape,
      data.length,
    ]),
  bigint: () => ({ big: 12345678901234567890n, all: new BigInt64Array([-9007199254740993n]) }),
  nan: () => [1, Number.NaN],
  infinite: () => new Float32Array([Number.POSITIVE_INFINITY]),
  half: () => (typeof Float16Array === 'undefined' ? Number.NaN : Float16Array.of(Number.NaN)),
  circular() {
    const circle: Record<string, unknown> = {}
    circle.circle = circle
    return circle
  },
  function: () => () => 1,
  date: () => ({ at: new Date(0), none: undefined, empty: [undefined] }),
  throws: () => {
    throw new BadRequest('no result for this flower')
  },
  header: () => ({ body: 'x', contentType: 'text/plain\r\nx-evil: 1' }),
  asked: (_, asked) => asked,
  model: (_outputs, _asked, { model }) => model,
  context: (_outputs, _asked, { headers, contentType, event, state, signal, reply }) => ({
    agent: headers['x-agent'],
    contentType,
    event: event && { id: event.id, type: event.type, tenant: event.tenant },
    seen: state.seen,
    aborted: signal.aborted,
    reply: reply !== undefined,
  }),
  reply(_outputs, _asked, { reply }) {
    if (reply === undefined) return 'none'
    reply.type = 'flower.classified'
    reply.attributes.tenant = 'sépale 7'
    return 'ok'
  },
  replysource(_outputs, _asked, { reply }) {
    if (reply === undefined) return 'none'
    reply.attributes.source = '/elsewhere'
    return 'ok'
  },
  replytime(_outputs, _asked, { reply }) {
    if (reply === undefined) return 'none'
    reply.attributes.time = 'now'
    return 'ok'
  },
  replygetter(_outputs, _asked, { reply }) {
    const values: unknown[] = ['sépale 7']
    const get = () => values.pop() ?? (() => 1)
    if (reply !== undefined)
      Object.defineProperty(reply.attributes, 'tenant', { get, enumerable: true })
    return 'ok'
  },
  noreply(_outputs, _asked, context) {
    Object.assign(context, { reply: { attributes: undefined } })
    return 'ok'
  },
  getters: () => ({
    get a() {
      throw new Error('secret of the author')
    },
  }),
  thengetter: () =>
    Object.defineProperty({}, 'then', {
      get() {
        throw new Error('secret of the author')
      },
    }),
  thenable: () => ({
    // biome-ignore lint/suspicious/noThenProperty: an author may return such a thing
    then(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
      resolve('first')
      reject(new Error('second'))
      throw new Error('third')
    },
  }),
  late: async () => {
    await wait(5)
    return 'late'
  },
  latethrows: async () => {
    await wait(1)
    throw new Error('secret of the author')
  },
}

export default defineTransform<Model>()({
  preprocess(data, context) {
    const asked: Asked =
      typeof data === 'string' || data instanceof Uint8Array ? {} : (data as Asked)
    context.state.seen = 'preprocess'
    if (asked.throws !== undefined) throw THROWS[asked.throws]?.()
    if (asked.wrong !== undefined) return WRONG[asked.wrong]?.() as never
    if (asked.fills !== undefined) {
      filled.set(asked.fills)
      return { input: { shape: [1, 4], data: filled } }
    }
    const inputs = { input: (asked.rows ?? [ROW]) as [number, number, number, number][] }
    return asked.waits === undefined ? inputs : wait(asked.waits, inputs)
  },
  postprocess(outputs, data, context) {
    if (typeof data === 'string') return { text: data }
    if (data instanceof Uint8Array) {
      const isOwn = data.constructor === Uint8Array && data.byteLength === data.buffer.byteLength
      return isOwn ? { bytes: [...data] } : { others: data.buffer.byteLength }
    }
    const asked = data as Asked
    return GIVE[asked.give ?? 'class']?.(outputs, asked, context)
  },
})
