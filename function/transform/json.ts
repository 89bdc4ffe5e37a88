import { DATATYPES } from '../protocol/datatypes.ts'

/** Values with deeper nesting are most likely circular. */
const MAX_DEPTH = 100

/**
 * Like JSON.stringify, but a bigint becomes an exact integer, and a typed array an array.
 * @returns undefined for a value that JSON omits, such as a function
 * @throws {Error} for values nested too deeply, and for NaN and infinities, which JSON.stringify
 * would replace with null
 */
export const toJson = (value: unknown): string | undefined => write(value, 0)

function write(given: unknown, depth: number): string | undefined {
  switch (typeof given) {
    case 'string':
      return JSON.stringify(given)
    case 'number':
      return writeNumber(given)
    case 'boolean':
    case 'bigint':
      return String(given)
    case 'object':
      return given === null ? 'null' : writeObject(given, depth)
    default:
      return undefined
  }
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value)) throw new Error(`it returned ${value}, which JSON cannot represent`)
  return Object.is(value, -0) ? '-0' : String(value)
}

function writeObject(value: object, depth: number): string | undefined {
  if (depth === MAX_DEPTH)
    throw new Error(
      `it returned a value that is nested more than ${MAX_DEPTH} levels deep, or that contains itself`,
    )
  if (Array.isArray(value)) return `[${writeAll(value, depth)}]`
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return `[${writeElements(value as Uint8Array)}]`
  const { toJSON } = value as { readonly toJSON?: unknown }
  if (typeof toJSON === 'function') return write(toJSON.call(value), depth + 1)
  let json = ''
  for (const key of Object.keys(value)) {
    const member = write((value as Record<string, unknown>)[key], depth + 1)
    if (member !== undefined) json += `${json === '' ? '' : ','}${JSON.stringify(key)}:${member}`
  }
  return `{${json}}`
}

function writeAll(values: readonly unknown[], depth: number): string {
  let json = ''
  for (let i = 0; i < values.length; i++)
    json += `${i === 0 ? '' : ','}${write(values[i], depth + 1) ?? 'null'}`
  return json
}

const writeElement = (element: number | bigint) =>
  typeof element === 'bigint' ? String(element) : writeNumber(element)

function writeElements(elements: Uint8Array | Float32Array): string {
  if (!(elements instanceof Float32Array || elements instanceof Float64Array))
    return Array.from(elements as ArrayLike<number | bigint>, writeElement).join()
  const odd = (elements as Float32Array).findIndex(element => !Number.isFinite(element))
  if (odd !== -1) throw new Error(`it returned ${elements[odd]}, which JSON cannot represent`)
  return DATATYPES.FP64.toJson?.(elements as never) as string
}
