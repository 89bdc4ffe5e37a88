/**
 * Converts the contents of the form to an inference request.
 *
 * Elements are texts, as they were typed. A text that is not a number is sent as a string, so that
 * the server's error explains the mistake. The page refuses only input that cannot be sent.
 *
 * @typedef {{ name: string, shape: number[], datatype: string, data?: string, bytes?: Uint8Array }}
 *   Tensor `data` is a JSON array; a tensor with `bytes` is sent as binary tensor data
 */

/** The error for contents of the form that cannot be sent. */
export class Unsendable extends Error {
  /** @param {string} message @param {number} [element] the element's index in the tensor's data */
  constructor(message, element) {
    super(message)
    this.element = element
    /** The index of the input, if there are several. @type {number | undefined} */
    this.input = undefined
    /** The input's name, as a prefix for the message. */
    this.where = ''
  }
}

/** Returns an element as JSON: as a JSON string if the text is not a value of the datatype. */
export function elementJson(datatype, text) {
  if (datatype === 'BYTES') return JSON.stringify(text)
  const trimmed = text.trim()
  if (datatype === 'BOOL' && (trimmed === 'true' || trimmed === 'false')) return trimmed
  return numeral(trimmed) ?? JSON.stringify(trimmed)
}

/**
 * Converts a number to JSON's notation, digit by digit: `.5` becomes 0.5, and `007` becomes 7.
 * Returns undefined if the text is not a number.
 */
function numeral(text) {
  const [, sign, whole, fraction = '', exponent = ''] =
    /^([+-]?)(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i.exec(text) ?? []
  if (sign === undefined || whole + fraction === '') return undefined
  return `${sign === '-' ? '-' : ''}${whole.replace(/^0+(?=\d)/, '') || '0'}${fraction && `.${fraction}`}${exponent}`
}

export const dataJson = (datatype, texts) =>
  `[${texts.map(text => elementJson(datatype, text)).join(',')}]`

const NOT_FINITE = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
}

/**
 * Encodes FP16 elements as bytes, because FP16 has no JSON form.
 * @throws {Unsendable} for the first element that is not an FP16 value
 */
export function halfBytes(texts) {
  const view = new DataView(new ArrayBuffer(texts.length * 2))
  texts.forEach((text, i) => {
    const written = numeral(text.trim())
    const value = written === undefined ? NOT_FINITE[text.trim()] : Number(written)
    view.setFloat16(i * 2, value ?? 0, true)
    if (
      value === undefined ||
      (written !== undefined && !Number.isFinite(view.getFloat16(i * 2, true)))
    ) {
      throw new Unsendable(
        `data[${i}] is ${JSON.stringify(text)}; allowed for FP16: numbers up to 65504, NaN, Infinity, -Infinity`,
        i,
      )
    }
  })
  return new Uint8Array(view.buffer)
}

/**
 * Creates a tensor from data that is written as JSON.
 * @param shapeOf maps the shape of the nesting to the shape to send
 * @throws {Unsendable} if the text is not valid JSON
 */
export function writtenTensor({ name, datatype }, text, shapeOf) {
  let value
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Unsendable(`this is not valid JSON: ${error.message}`)
  }
  const shape = shapeOf(nestedShape(value))
  if (datatype !== 'FP16') return { name, datatype, shape, data: text.trim() }
  return {
    name,
    datatype,
    shape,
    bytes: halfBytes([value].flat(Number.POSITIVE_INFINITY).map(String)),
  }
}

/** Returns the shape of nested arrays, provided that they are not ragged. */
export function nestedShape(value) {
  return Array.isArray(value)
    ? [value.length, ...(value.length > 0 ? nestedShape(value[0]) : [])]
    : []
}

export const elementCount = shape => shape.reduce((product, size) => product * size, 1)

/** Fits elements of one shape to another shape; new elements repeat the old elements. */
export function resized(elements, from, to, empty) {
  if (elements.length === 0) return new Array(elementCount(to)).fill(empty)
  return Array.from({ length: elementCount(to) }, (_, at) => {
    let rest = at
    let old = 0
    let stride = 1
    for (let d = to.length - 1; d >= 0; d--) {
      old += ((rest % to[d]) % from[d]) * stride
      stride *= from[d]
      rest = Math.floor(rest / to[d])
    }
    return elements[old]
  })
}

/**
 * @param {readonly Tensor[]} tensors
 * @param {readonly { name: string, datatype: string }[]} outputs the outputs of the model
 * @returns {Request}
 *
 * @typedef {object} Request
 * @property {[string, string][]} headers
 * @property {string} json the request's JSON, or another text
 * @property {Uint8Array[]} bytes the bytes after the JSON
 * @property {string} [event] the content type of the request as an event's data; absent if the
 *   request cannot be the data of an event in structured mode
 * @property {string} [file] the name of the person's own file
 */
export function inferenceRequest(tensors, outputs) {
  const inputs = tensors.map(({ name, shape, datatype, data, bytes }) => {
    const rest =
      bytes === undefined ? `"data":${data}` : `"parameters":{"binary_data_size":${bytes.length}}`
    return `{"name":${JSON.stringify(name)},"shape":[${shape}],"datatype":"${datatype}",${rest}}`
  })
  const answer = outputs.some(isHalf) ? 'binary' : 'json'
  const asked = outputs.map(output => ({
    name: output.name,
    ...(isHalf(output) && { parameters: { binary_data: true } }),
  }))
  const json = `{"inputs":[${inputs.join(',')}]${answer === 'binary' ? `,"outputs":${JSON.stringify(asked)}` : ''}}`
  const bytes = tensors.flatMap(tensor => tensor.bytes ?? [])
  if (bytes.length === 0)
    return {
      headers: [['Content-Type', 'application/json']],
      json,
      bytes,
      ...(answer === 'json' && { event: 'application/json' }),
    }
  const length = new TextEncoder().encode(json).length
  const headers = /** @type {[string, string][]} */ ([
    ['Content-Type', 'application/octet-stream'],
    ['Inference-Header-Content-Length', String(length)],
  ])
  return { headers, json, bytes }
}

const isHalf = ({ datatype }) => datatype === 'FP16'

/**
 * Returns an event's attributes as headers for binary mode (CloudEvents, HTTP binding).
 * @param {Readonly<Record<string, string>>} attributes
 * @returns {[string, string][]}
 */
export const eventHeaders = attributes =>
  Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value])

/**
 * Returns the event in structured mode.
 * @param attributes
 * @param {string} datacontenttype
 * @param {string} member the event's data as a JSON member: `"data":…` or `"data_base64":…`
 */
export const structuredEvent = (attributes, datacontenttype, member) =>
  `${JSON.stringify({ ...attributes, datacontenttype }).slice(0, -1)},${member}}`
