import type { CodeOptions } from 'ajv'
import { BadRequest, Refused, TransformFailed } from './errors.ts'
import type { JsonSchema } from './json-schema.ts'

/** A violated rule, as Ajv reports it. */
interface Violation {
  /** A JSON pointer to the value. */
  readonly instancePath: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string
}

/** Compiled by Ajv, at startup or in `onnx-function build`. */
export interface Validate {
  (data: unknown): boolean
  readonly errors?: readonly Violation[] | null
}

/**
 * Checks a caller's data.
 * @throws {BadRequest} naming the path, the rule and the value
 * @throws {Refused} with status 415 if the media type differs from the schema's
 */
export type CheckInput = (data: unknown, contentType?: string) => void

/**
 * `format` is only an annotation, as in draft 2020-12. Inherited properties do not count, so that
 * `{}` has no member "constructor". An unknown keyword is an error, because it is most likely
 * misspelt.
 */
export const AJV_OPTIONS = {
  strictSchema: true,
  strictNumbers: true,
  strictTypes: false,
  strictTuples: false,
  validateFormats: false,
  ownProperties: true,
  meta: false,
  validateSchema: false,
  logger: false,
} as const

/**
 * @param validate the function that a build compiled; if absent, Ajv is loaded to compile the
 * schema
 * @throws {Error} if the schema cannot be used for checking
 */
export async function inputCheck(schema: JsonSchema, validate?: Validate): Promise<CheckInput> {
  const mediaType = mediaTypeOf(schema)
  if (mediaType !== undefined) return mediaTypeCheck(mediaType)
  const isValid = validate ?? (await compileSchema(schema, 'input')).validate
  return (data, contentType) => {
    if (schema !== true && data instanceof Uint8Array)
      throw wrongMediaType(contentType, 'application/json')
    if (!run(isValid, data)) throw new BadRequest(violationText(isValid.errors ?? [], data))
  }
}

/**
 * Returns the media type of data that is not JSON; undefined if the schema describes JSON. A schema
 * for other data has `contentMediaType` and no `type`.
 */
export function mediaTypeOf(schema: JsonSchema | undefined): string | undefined {
  if (typeof schema !== 'object' || schema?.type !== undefined) return undefined
  const mediaType = schema?.contentMediaType?.toLowerCase()
  return mediaType === undefined || /[/+]json$/.test(mediaType) ? undefined : mediaType
}

/** `image/*` accepts all images. */
function mediaTypeCheck(expected: string): CheckInput {
  const [kind, subtype] = expected.split('/')
  return (_data, contentType) => {
    const [type = ''] = (contentType ?? '').split(';')
    const sent = type.trim().toLowerCase()
    if (sent === expected || (subtype === '*' && sent.startsWith(`${kind}/`))) return
    throw wrongMediaType(contentType, expected)
  }
}

const wrongMediaType = (sent: string | undefined, expected: string) =>
  new Refused(415, `the content type is ${sent ?? 'missing'}; it must be ${expected}`)

/** A recursive schema may overflow the stack on deeply nested data. */
function run(validate: Validate, data: unknown): boolean {
  try {
    return validate(data)
  } catch (error) {
    throw new TransformFailed(error)
  }
}

/**
 * Compiles a schema with Ajv. At startup, Ajv's compiler finds all mistakes except wrong values of
 * the right type. Only {@link schemaMistake} uses the draft's meta-schema, which takes 75 ms of CPU
 * to compile.
 * @param name the schema's name in errors: input or output
 * @param code how Ajv writes the function's code
 * @throws {Error} if the schema cannot be used for checking
 */
export async function compileSchema(schema: JsonSchema, name: string, code: CodeOptions = {}) {
  const { default: all } = await import('ajv/dist/2020.js')
  const ajv = new all.Ajv2020({ ...AJV_OPTIONS, code })
  try {
    refuseOtherDrafts(schema)
    const validate = ajv.compile(schema)
    // A $ref that leads back to itself overflows the stack on any data.
    for (const value of [null, 0, '', [], {}]) validate(value)
    return { ajv, validate }
  } catch (error) {
    throw unusable(name, error instanceof RangeError ? ENDLESS : (error as Error).message)
  }
}

const ENDLESS = 'a $ref refers to itself'
const DRAFT = 'https://json-schema.org/draft/2020-12/schema'

function refuseOtherDrafts(schema: unknown): void {
  if (typeof schema === 'boolean') return
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    throw new Error(`expected an object, true or false; got ${shown(schema)}`)
  const { $schema = DRAFT, $async } = schema as { $schema?: unknown; $async?: unknown }
  if ($schema !== DRAFT) throw new Error(`$schema is ${shown($schema)}; expected "${DRAFT}"`)
  if ($async !== undefined) throw new Error('unknown keyword: "$async"')
}

const unusable = (name: string, why: string) =>
  new Error(`the schema "${name}": ${why.replace(/^strict mode: /, '').replaceAll('\n', ' ')}`)

/**
 * Returns a schema's mistake, found by Ajv's compiler or the draft's meta-schema; undefined if the
 * schema is valid. For check-model and builds, where the time does not matter.
 */
export async function schemaMistake(schema: JsonSchema, name: string): Promise<string | undefined> {
  try {
    await compileSchema(schema, name)
    const { default: all } = await import('ajv/dist/2020.js')
    const ajv = new all.Ajv2020({ logger: false, validateFormats: false })
    if (ajv.validateSchema(schema)) return undefined
    return unusable(name, violationText(ajv.errors ?? [], schema)).message
  } catch (error) {
    return (error as Error).message
  }
}

/**
 * Describes the violated rule and the value's path. If the schema has alternatives, the last error
 * summarises the others.
 */
export function violationText(violations: readonly Violation[], data: unknown): string {
  const last = violations.at(-1)
  if (last === undefined) return 'the data does not fit the schema'
  const { instancePath, keyword } = last
  const alternatives = new Set(
    violations.slice(0, -1).map(each => relativeText(each, instancePath)),
  )
  const why = [...alternatives].slice(0, MOST_ALTERNATIVES).join(', or ')
  const rule = `${ruleText(last)} (${keyword})${why === '' ? '' : `: ${why}`}`
  const place = instancePath === '' ? 'the data' : cut(instancePath, LONGEST_PATH)
  return `${place} ${rule}; got ${shown(valueAt(data, instancePath))}`
}

const MOST_ALTERNATIVES = 4
const LONGEST_PATH = 200
const LONGEST_TEXT = 80
const MOST_NAMES = 8

function relativeText(violation: Violation, path: string): string {
  const rest = violation.instancePath.slice(path.length)
  return `${rest === '' ? '' : `${cut(rest, LONGEST_PATH)} `}${ruleText(violation)}`
}

function ruleText({ keyword, params, message = `must fit ${keyword}` }: Violation): string {
  const { allowedValues, allowedValue, additionalProperty, unevaluatedProperty } = params
  if (keyword === 'enum')
    return `must be one of ${cut(JSON.stringify(allowedValues), LONGEST_PATH)}`
  if (keyword === 'const') return `must be ${cut(JSON.stringify(allowedValue), LONGEST_PATH)}`
  const extra = additionalProperty ?? unevaluatedProperty
  if (extra !== undefined)
    return `must not have the property ${JSON.stringify(cut(String(extra), LONGEST_TEXT))}`
  return message
}

/** @param pointer in the syntax of RFC 6901 */
function valueAt(data: unknown, pointer: string): unknown {
  let value = data
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    value = (value as Record<string, unknown> | undefined)?.[name]
  }
  return value
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(cut(value, LONGEST_TEXT))
  if (Array.isArray(value)) return `an array of length ${value.length}`
  if (typeof value !== 'object' || value === null) return String(value)
  const names = Object.keys(value)
  if (names.length === 0) return 'an empty object'
  const first = names.slice(0, MOST_NAMES).map(name => cut(name, LONGEST_TEXT))
  return `an object with ${first.join(', ')}${names.length > MOST_NAMES ? ', …' : ''}`
}

const cut = (text: string, length: number) =>
  text.length > length ? `${text.slice(0, length)}…` : text
