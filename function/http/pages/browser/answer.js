import { parseExactly } from './json.js'
import { elementCount } from './request.js'

/**
 * Reads an inference response: its JSON, and the outputs with their data. FP16 data is read from
 * the binary tensor data after the JSON.
 * @param {Uint8Array} body
 * @param {string | null} jsonLength the value of the Inference-Header-Content-Length header
 */
export function readResponse(body, jsonLength) {
  const end = jsonLength === null ? body.length : Number(jsonLength)
  const text = new TextDecoder().decode(body.subarray(0, end))
  const response = parseExactly(text)
  let at = end
  const outputs = response.outputs.map(({ name, datatype, shape, data, parameters }) => {
    if (data !== undefined) return { name, datatype, shape, data }
    const view = new DataView(body.buffer, body.byteOffset + at, parameters.binary_data_size)
    at += parameters.binary_data_size
    return {
      name,
      datatype,
      shape,
      data: Array.from({ length: elementCount(shape) }, (_, i) => view.getFloat16(i * 2, true)),
    }
  })
  return { text, response, outputs }
}

const MOST_IN_ORDER = 12
const MOST_BARS = 10
const MOST_NUMBERS = 48

/**
 * Selects the values of an output to show, row by row.
 *
 * Values that belong to the model's labels, and values that are shares of 1 (not negative, with the
 * sum 1), are shown as bars. Other values are shown as numbers.
 * @param output an output with its data
 * @param {readonly string[]} labels the labels of the model
 * @param {boolean} hasRows whether the first dimension counts rows
 * @typedef {{ name: string, value: number, length: number, isLargest: boolean }} Bar
 * @typedef {{ value: number | bigint | string, label: string | undefined }} ShownNumber
 * @returns {{ bars?: Bar[], shares?: boolean, negative?: boolean, texts?: string[], numbers?:
 *   ShownNumber[], of: number }[]}
 */
export function shownRows({ datatype, shape, data }, labels, hasRows) {
  const rows = hasRows ? shape[0] : 1
  const size = rows === 0 ? 0 : data.length / rows
  return Array.from({ length: rows }, (_, row) => {
    const values = data.slice(row * size, (row + 1) * size)
    if (datatype === 'BYTES' || datatype === 'BOOL')
      return { texts: values.slice(0, MOST_NUMBERS).map(String), of: size }
    const labelled =
      isFloat(datatype) && labels.length > 1 && size === labels.length && shape.at(-1) === size
    if (
      isFloat(datatype) &&
      size > 1 &&
      values.every(Number.isFinite) &&
      (labelled || areShares(values))
    ) {
      return bars(values, labelled ? labels : undefined)
    }
    // Whether the value is an index into the labels, according to the same rule as in the metrics.
    const isIndex = /^U?INT/.test(datatype) && shape.length === 1 && hasRows && labels.length > 0
    return {
      numbers: values
        .slice(0, MOST_NUMBERS)
        .map(value => ({ value, label: isIndex ? labels[Number(value)] : undefined })),
      of: size,
    }
  })
}

/**
 * @param {readonly string[]} [labels] names of the values; if absent, a value's name is its index
 */
export function bars(values, labels) {
  const shares = areShares(values)
  const longest = shares ? 1 : Math.max(...values.map(Math.abs)) || 1
  const negative = values.some(value => value < 0)
  const all = values.map((value, i) => ({
    name: labels?.[i] ?? `[${i}]`,
    value,
    length: Math.abs(value) / longest,
  }))
  const largest = [...all].sort((a, b) => b.value - a.value)
  const shown = all.length <= MOST_IN_ORDER ? all : largest.slice(0, MOST_BARS)
  return {
    bars: shown.map(bar => ({ ...bar, isLargest: bar === largest[0] })),
    shares,
    negative,
    of: all.length,
  }
}

const isFloat = datatype => /^FP/.test(datatype)

/** The rounding error of FP16. */
const ROUNDING = 0.005

/** Whether no value is negative and the sum of all values is 1. */
export const areShares = values =>
  values.every(value => value >= 0 && value <= 1 + ROUNDING) &&
  Math.abs(values.reduce((sum, value) => sum + value, 0) - 1) < ROUNDING

/** Rounds a number to four digits. */
export function short(value) {
  if (typeof value !== 'number' || Number.isInteger(value) || !Number.isFinite(value))
    return Object.is(value, -0) ? '-0' : String(value)
  const rounded = Number(value.toPrecision(4))
  // A number such as 0.00002068 is too wide for its cell, and harder to read than 2.068e-5.
  return Math.abs(rounded) < 1e-4 ? rounded.toExponential() : String(rounded)
}

/**
 * Finds the input and the element that the server's error names.
 * @param {readonly { shown: string }[]} inputs inputs with their names as the server's errors show
 *   them
 * @returns {{ input: number | undefined, element: number | undefined, text: string }}
 */
export function placeOfError(error, inputs) {
  const found = inputs.findIndex(
    ({ shown }) => error.startsWith(`input ${shown}: `) || error.startsWith(`input ${shown} `),
  )
  if (found === -1) return { input: undefined, element: undefined, text: error }
  const text = error.slice(`input ${inputs[found].shown}`.length).replace(/^: /, '')
  const element = /^data\[(\d+)\]/.exec(text)?.[1]
  return {
    input: found,
    element: element === undefined ? undefined : Number(element),
    text: text.trim(),
  }
}
