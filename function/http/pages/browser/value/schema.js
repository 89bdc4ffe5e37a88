import { pretty } from '../json.js'
import { elementJson, Unsendable } from '../request.js'
import { sliderRange } from '../slider.js'

/**
 * The form fields that a JSON Schema describes. A field contains text, as it was typed; the server
 * validates the text.
 *
 * @typedef {'number' | 'integer' | 'boolean' | 'string' | 'choice' | 'json'} Kind
 * @typedef {object} Field
 * @property {string | undefined} name the name of the property; undefined if the field represents
 *   the value itself
 * @property {string} label
 * @property {string} hint
 * @property {Kind} kind
 * @property {boolean} isRequired
 * @property {readonly string[]} choices the choices as JSON
 * @property {number} minimum
 * @property {number} maximum
 */

const MOST_FIELDS = 64

/** @returns {Field[] | undefined} undefined if the schema does not describe fields */
export function fieldsOf(schema) {
  const whole = resolve(schema, schema)
  const entries = Object.entries(whole.properties ?? {})
  if (entries.length > 0 && entries.length <= MOST_FIELDS)
    return entries.map(([name, property]) =>
      fieldOf(resolve(property, schema), name, whole.required?.includes(name) ?? false),
    )
  const field = fieldOf(whole, undefined, true)
  return field.kind === 'json' || field.kind === 'string' ? undefined : [field]
}

/** @returns {Field} */
function fieldOf(schema, name, isRequired) {
  const { title, description = '', const: only } = schema
  const values = only === undefined ? schema.enum : [only]
  return {
    name,
    label: title ?? name ?? 'value',
    hint: description,
    kind: values === undefined ? kindOf(schema) : 'choice',
    isRequired,
    choices: (values ?? []).map(value => JSON.stringify(value)),
    minimum: schema.minimum ?? schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY,
    maximum: schema.maximum ?? schema.exclusiveMaximum ?? Number.POSITIVE_INFINITY,
  }
}

const TYPED = ['number', 'integer', 'boolean', 'string']

/** @returns {Kind} */
function kindOf({ type }) {
  const types = [type].flat().filter(each => each !== 'null')
  return types.length === 1 && TYPED.includes(types[0]) ? types[0] : 'json'
}

/** Follows references within the schema, up to a depth limit. */
function resolve(schema, root, depth = 0) {
  const { $ref } = schema
  if (typeof $ref !== 'string' || !$ref.startsWith('#/') || depth > 8) return Object(schema)
  const target = $ref
    .slice(2)
    .split('/')
    .reduce((part, key) => part?.[decodeURIComponent(key).replaceAll('~1', '/')], root)
  return target === undefined ? {} : resolve(target, root, depth + 1)
}

/** @param {Field[]} fields @returns {string[]} the texts of the fields for a value */
export const textsOf = (fields, value) =>
  fields.map(field => textOf(field, field.name === undefined ? value : value?.[field.name]))

function textOf({ kind }, value) {
  if (value === undefined) return kind === 'boolean' ? 'false' : ''
  if (kind === 'choice') return JSON.stringify(value)
  return kind === 'json' ? pretty(JSON.stringify(value)) : String(value)
}

/**
 * Returns the texts of the fields as JSON, without optional fields that are empty.
 * @throws {Unsendable} with the index of the first field that is not JSON
 */
export function valueJson(fields, texts) {
  const parts = fields.map((field, i) => fieldJson(field, texts[i], i))
  const [only] = fields
  if (only.name === undefined) return parts[0]
  const members = fields.flatMap(({ name }, i) =>
    parts[i] === undefined ? [] : `${JSON.stringify(name)}:${parts[i]}`,
  )
  return `{${members.join(',')}}`
}

function fieldJson({ kind, isRequired, label }, text, at) {
  if (text === '' && !isRequired) return undefined
  if (kind === 'string') return JSON.stringify(text)
  if (kind === 'boolean') return text
  if (kind === 'choice') return text || '""'
  if (kind !== 'json') return elementJson('FP64', text)
  try {
    JSON.parse(text)
    return text
  } catch (error) {
    throw new Unsendable(`${label} is not valid JSON: ${error.message}`, at)
  }
}

/**
 * Returns the range of a number's slider, which is around the example and within the schema's
 * limits.
 * @param {Field} field
 * @param {string} example
 */
export function fieldRange({ kind, minimum, maximum }, example) {
  const isInteger = kind === 'integer'
  if ((kind !== 'number' && !isInteger) || example === '') return undefined
  const range = sliderRange(isInteger ? 'INT64' : 'FP64', [example])
  if (range === undefined) return undefined
  const lowest = minimum < 0 && Number.isFinite(minimum) ? -range.max : range.min
  const [min, max] = [Math.max(lowest, minimum), Math.min(range.max, maximum)]
  if (min >= max) return undefined
  return { min, max, step: isInteger ? range.step : Number(((max - min) / 100).toPrecision(1)) }
}

/**
 * Finds the field that a server error names. The error contains a pointer (`/amount must be …`),
 * reports a missing field, or contains only the field's name.
 * @returns {number} the index of the field, or -1
 */
export function placeOfViolation(text, fields) {
  const missing = /^the data must have required property '(.*?)'/.exec(text)?.[1]
  return fields.findIndex(({ name }) => {
    if (name === undefined) return text.startsWith('the data ')
    const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    return (
      name === missing ||
      [pointer, name].some(begin => ENDS.some(end => text.startsWith(begin + end)))
    )
  })
}

const ENDS = [' ', '/', ':']
