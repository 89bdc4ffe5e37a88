import { type ParsedJson, parseExactly, parseJson, withoutMark } from './json.ts'
import { aroundPlaces, CLOSE_ARRAY, eachData, OPEN_ARRAY, type Place, textOf } from './json-scan.ts'
import { type Numbers, numbers } from './numbers.ts'

/**
 * Parses an inference request like {@link parseJson}, but reads each input's `data` from the bytes,
 * as {@link JsonNumbers}. JSON.parse reads the other text.
 * @param body of at most 128 KiB
 * @returns undefined if {@link readArray} cannot read the data, or if the JSON is invalid;
 * parseJson then reports the error
 */
export function parseAroundNumbers(
  body: Uint8Array,
  where: string,
  mostInputs: number,
): ParsedJson | undefined {
  const bytes = withoutMark(body)
  const loaded = numbers(bytes.length / NUMBER_BYTES)
  if (loaded === undefined || bytes.length >= loaded.json.length) return undefined
  const reader = new NumberReader(bytes, loaded)
  const found: { readonly input: number; readonly data: JsonNumbers }[] = []
  let isUnread = false
  eachData(bytes, where, (input, at) => {
    const data = found.length < mostInputs ? reader.read(at) : undefined
    if (data !== undefined) found.push({ input, data })
    else isUnread = true
    return data?.end ?? bytes.length
  })
  if (isUnread || found.length === 0) return undefined
  const places = found.map(({ data }) => data)
  const rest = Buffer.concat(aroundPlaces(bytes, places))
  let value: unknown
  try {
    value = parseJson(rest, where).value
  } catch {
    // This error's positions would not match the body.
    return undefined
  }
  // The JSON is valid, so each input's data is at the location found.
  const { inputs } = value as { inputs: { data: unknown }[] }
  for (const { input, data } of found) (inputs[input] as { data: unknown }).data = data
  return { value, exact: () => value }
}

/** About the length of a number and its comma. */
const NUMBER_BYTES = 8

/** An array of numbers, or nested arrays that have the same length if they have the same depth. */
export interface NumberArray {
  /** The same values as JSON.parse returns. The next request overwrites them. */
  readonly values: Float64Array
  /** The lengths of the array and of its nested arrays, the outermost first. */
  readonly lengths: readonly number[]
}

export class JsonNumbers implements NumberArray, Place {
  readonly start: number
  readonly end: number
  readonly values: Float64Array
  readonly lengths: readonly number[]
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, { start, end }: Place, { values, lengths }: NumberArray) {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.values = values
    this.lengths = lengths
  }

  /** Parses the array as JSON.parse does, but with bigints beyond 2^53. */
  parse(): unknown {
    return parseExactly(textOf(this.bytes, this.start, this.end))
  }
}

class NumberReader {
  private readonly bytes: Uint8Array
  private readonly loaded: Numbers
  private count = 0

  constructor(bytes: Uint8Array, loaded: Numbers) {
    this.bytes = bytes
    this.loaded = loaded
    loaded.json.set(bytes)
    loaded.json[bytes.length] = 0
  }

  /** @returns undefined if {@link readArray} cannot read the array */
  read(start: number): JsonNumbers | undefined {
    const array = readArray(this.loaded, start, this.count)
    if (array === undefined) return undefined
    this.count += array.values.length
    return new JsonNumbers(this.bytes, { start, end: this.loaded.end() }, array)
  }
}

/**
 * Reads the elements of an array.
 * @param elements the bytes between the array's brackets
 * @returns undefined if {@link readArray} cannot read the array
 */
export function readElements(elements: Uint8Array): NumberArray | undefined {
  const loaded = numbers(elements.length / NUMBER_BYTES)
  const size = elements.length + 2
  if (loaded === undefined || size >= loaded.json.length) return undefined
  const { json } = loaded
  json[0] = OPEN_ARRAY
  json.set(elements, 1)
  json[size - 1] = CLOSE_ARRAY
  json[size] = 0
  const array = readArray(loaded, 0, 0)
  return loaded.end() === size ? array : undefined
}

/**
 * Reads an array in `loaded.json`.
 * @param first the index at which the values are stored
 * @returns undefined unless the array contains only numbers, or only arrays of equal lengths
 */
function readArray(loaded: Numbers, start: number, first: number): NumberArray | undefined {
  const { json, doubles, lengths, leftNumbers } = loaded
  const after = loaded.read(start, first)
  if (after === -1) return undefined
  for (let at = 0; at < 3 * loaded.left(); at += 3) {
    const [index, from, to] = leftNumbers.subarray(at) as unknown as [number, number, number]
    doubles[index] = Number(json.toString('latin1', from, to))
  }
  const depth = lengths.indexOf(0)
  return {
    values: doubles.subarray(first, after),
    lengths: [...lengths.subarray(0, depth === -1 ? lengths.length : depth)],
  }
}
