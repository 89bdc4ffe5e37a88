import fc from 'fast-check'
import { toBytes, type WrittenTensor, writeExactly } from '../tensors.ts'
import {
  type Asked,
  BINARY_TYPE,
  elementOf,
  type FuzzRequest,
  inputOf,
  JSON_TYPE,
  LENGTH_HEADER,
  post,
  requestOf,
  type Target,
  whole,
} from './requests.ts'
import { items, members, text, write } from './written.ts'

export const LARGEST_BODY = 8 * 2 ** 20

const SIZES = [
  300 * 2 ** 10,
  2 ** 20 + 1,
  3 * 2 ** 20,
  LARGEST_BODY - 2 ** 12,
  LARGEST_BODY,
  LARGEST_BODY + 1,
]

const ATTRIBUTES = { specversion: '1.0', id: 'large', source: '/fuzz', type: 'fuzz.request' }
const EVENT_HEADERS = Object.entries(ATTRIBUTES).map(
  ([name, value]) => [`ce-${name}`, value] as const,
)
const eventWith = (member: string) => `${JSON.stringify(ATTRIBUTES).slice(0, -1)},${member}}`

interface Form {
  /** The share of data in the body; spaces fill the remaining bytes. */
  readonly data: number
  /**
   * The number of spaces to insert into the data for each byte by which the body must grow (1 by
   * default). With 0, the spaces are outside the data, where the server may refuse so many.
   */
  readonly share?: number
  readonly headers: Asked['headers']
  /** By default, the body is JSON and binary tensor data. */
  readonly text?: (json: string) => string
  readonly isNested?: boolean
  readonly isEvent?: boolean
}

const FORMS: readonly Form[] = [
  { data: 0.9, headers: [JSON_TYPE], text: json => json },
  { data: 0.7, headers: [JSON_TYPE], text: json => json, isNested: true },
  { data: 0.5, headers: [JSON_TYPE], text: json => json, share: 0 },
  { data: 0.9, headers: [BINARY_TYPE] },
  { data: 0.9, headers: [...EVENT_HEADERS, JSON_TYPE], text: json => json, isEvent: true },
  { data: 0.9, headers: [...EVENT_HEADERS, BINARY_TYPE], isEvent: true },
  {
    data: 0.9,
    headers: [['Content-Type', 'application/cloudevents+json']],
    text: json => eventWith(`"data":${json}`),
    isEvent: true,
  },
  {
    data: 0.65,
    share: 3 / 4,
    headers: [['Content-Type', 'application/cloudevents+json']],
    text: json => eventWith(`"data_base64":"${Buffer.from(json).toString('base64')}"`),
    isEvent: true,
  },
  {
    data: 0.3,
    share: 1 / 3,
    headers: [['Content-Type', 'application/cloudevents-batch+json']],
    text: json => `[${new Array(3).fill(eventWith(`"data":${json}`))}]`,
    isEvent: true,
  },
]

/**
 * Bodies from hundreds of kilobytes to one byte more than the limit: valid, invalid at the end, or
 * truncated.
 */
export const largeRequests = (target: Target): fc.Arbitrary<FuzzRequest> =>
  whole(
    'large',
    fc
      .record({
        few: fc.tuple(
          ...target.inputs.map(({ datatype }) =>
            fc.array(elementOf(datatype), { minLength: 24, maxLength: 24 }),
          ),
        ),
        size: fc.constantFrom(...SIZES),
        form: fc.constantFrom(...FORMS),
        end: fc.constantFrom<'good' | 'wrong' | 'cut'>('good', 'good', 'good', 'wrong', 'cut'),
      })
      .map(({ few, size, form, end }) => {
        const tensors = filled(target, few, form.data * size, form.text === undefined)
        const binary = form.text === undefined ? tensors.map(toBytes) : []
        const inputs = tensors.map((tensor, i) =>
          inputOf(tensor, form.isNested ?? false, binary[i]?.byteLength),
        )
        // JSON cannot express FP16 outputs.
        const outputs = target.outputs.some(({ datatype }) => datatype === 'FP16')
          ? items(members(['name', text('"y"')]))
          : undefined
        const json = write(requestOf('large', inputs, outputs, undefined))
        const path = form.isEvent ? '/' : `/v2/models/${encodeURIComponent(target.name)}/infer`
        if (form.text === undefined) {
          const header = padded(
            json,
            size - binary.reduce((sum, { byteLength }) => sum + byteLength, 0),
          )
          const body = Buffer.concat([
            header,
            ...binary,
            ...(end === 'wrong' ? [Buffer.alloc(1)] : []),
          ])
          return ended(
            post(path, [...form.headers, [LENGTH_HEADER, String(header.byteLength)]], body),
            end,
          )
        }
        const odd = end === 'wrong' ? json.replace(LAST, 'null$2') : json
        const least = Buffer.byteLength(form.text(odd))
        // Insert spaces into the data, because JSON beside the data has a smaller limit.
        const spaces = ' '.repeat(Math.max(0, Math.floor((size - least) * (form.share ?? 1)) - 8))
        return ended(
          post(path, form.headers, padded(form.text(odd.replace(LAST, `$1${spaces}$2`)), size)),
          end,
          form.share !== 0,
        )
      }),
  )

/** The last element of the last input's data, and the brackets after it. */
const LAST = /([^[\]])(\]+\}\])/

function filled(
  { inputs, anyRank }: Target,
  few: WrittenTensor['data'][],
  bytes: number,
  binary: boolean,
): WrittenTensor[] {
  const kinds = inputs.map(({ name, datatype, shape }, i) => ({
    name,
    datatype,
    shape: anyRank ? [-1] : shape,
    data: few[i] ?? [],
  }))
  const widthOf = (shape: readonly number[]) =>
    shape.reduce((product, size) => (size === -1 ? product : product * size), 1)
  const bytesOf = (tensor: WrittenTensor) =>
    binary ? toBytes(tensor).byteLength : Buffer.byteLength(writeExactly(tensor.data))
  const rowBytes = kinds.reduce(
    (sum, kind) => sum + widthOf(kind.shape) * (bytesOf(kind) / kind.data.length),
    0,
  )
  const rows = Math.floor(bytes / rowBytes)
  return kinds.map(({ shape, data, ...kind }) => ({
    ...kind,
    shape: shape.map(size => (size === -1 ? rows : size)),
    data: Array.from({ length: rows * widthOf(shape) }, (_, i) => data[i % data.length] as number),
  }))
}

function padded(json: string, size: number): Buffer {
  const bytes = Buffer.from(json)
  return Buffer.concat([bytes, Buffer.alloc(Math.max(size - bytes.byteLength, 0), ' ')])
}

/** Truncates the body, if requested, before its last bracket and the spaces after it. */
function ended(asked: Asked, end: 'good' | 'wrong' | 'cut', isTaken = true): Asked {
  const size = asked.body.byteLength
  if (end !== 'cut')
    return {
      ...asked,
      right: isTaken && end === 'good' && size <= LARGEST_BODY,
      mayBeTooLarge: size > 2 ** 20,
    }
  return { ...asked, body: asked.body.subarray(0, Math.floor(asked.body.byteLength * 0.6)) }
}
