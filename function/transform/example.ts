import type { JsonSchema, JsonSchemaObject } from './json-schema.ts'

/**
 * Returns a value that a schema accepts, for documents, the page and check-model: the author's
 * `examples`, `default`, `const` or `enum`; without these keywords, the smallest value of the type.
 * Other keywords, such as `pattern`, may reject this value; check-model reports that.
 * @returns undefined if no value is found, or the schema is for bytes
 */
export const exampleOf = (schema: JsonSchema): unknown => find(schema, { root: schema, depth: 0 })

interface Place {
  readonly root: JsonSchema
  readonly depth: number
}

/** A schema may refer to itself. */
const DEEPEST = 12

function find(schema: JsonSchema | undefined, { root, depth }: Place): unknown {
  if (typeof schema !== 'object' || depth > DEEPEST) return undefined
  const { allOf, ...own } = schema
  const { examples, const: only, enum: values, anyOf, oneOf, $ref } = own
  const place = { root, depth: depth + 1 }
  const said = [examples?.[0], schema.default, only, values?.[0]].find(value => value !== undefined)
  if (said !== undefined) return said
  if ($ref !== undefined) return find(referred($ref, root), place)
  const branches = [...(anyOf ?? []), ...(oneOf ?? [])]
  if (branches.length > 0) return firstOf(branches, place)
  if (allOf !== undefined) return together([own, ...allOf], place)
  const [type] = [schema.type ?? (schema.properties && 'object')].flat()
  return type === undefined ? undefined : OF_TYPE[type]?.(schema, place)
}

function firstOf(schemas: readonly JsonSchema[], place: Place): unknown {
  for (const schema of schemas) {
    const value = find(schema, place)
    if (value !== undefined) return value
  }
  return undefined
}

/** Combines the examples of all schemas of `allOf` in one object. */
function together(schemas: readonly JsonSchema[], place: Place): unknown {
  const values = schemas.map(schema => find(schema, place)).filter(value => value !== undefined)
  const isObject = (value: unknown) => typeof value === 'object' && value !== null
  return values.length > 1 && values.every(isObject) ? Object.assign({}, ...values) : values[0]
}

type ByType = Readonly<Record<string, (schema: JsonSchemaObject, place: Place) => unknown>>

const OF_TYPE: ByType = {
  null: () => null,
  boolean: () => false,
  number: schema => numberOf(schema, 0.5),
  integer: schema => numberOf(schema, 1),
  string: ({ minLength = 0, pattern, format }) =>
    pattern === undefined && format === undefined ? 'a'.repeat(minLength) : undefined,
  array: arrayOf,
  object: objectOf,
}

/**
 * Returns the smallest valid number from 0 on, or else the valid number nearest to 0. @param step
 * the distance from an exclusive limit
 */
function numberOf(schema: JsonSchemaObject, step: number): number {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema
  const least = minimum ?? (exclusiveMinimum === undefined ? 0 : exclusiveMinimum + step)
  const most = maximum ?? (exclusiveMaximum === undefined ? least : exclusiveMaximum - step)
  return Math.min(Math.max(0, least), most)
}

function arrayOf({ prefixItems = [], items, minItems = 0 }: JsonSchemaObject, place: Place) {
  const values = prefixItems.map(each => find(each, place))
  while (values.length < minItems) values.push(find(items, place))
  return values.includes(undefined) ? undefined : values
}

/**
 * Returns an object with the properties that have an example; undefined if a required property has
 * none.
 */
function objectOf({ properties = {}, required = [] }: JsonSchemaObject, place: Place) {
  const members = Object.entries(properties)
    .map(([name, schema]) => [name, find(schema, place)] as const)
    .filter(([, value]) => value !== undefined)
  const names = new Set(members.map(([name]) => name))
  return required.every(name => names.has(name)) ? Object.fromEntries(members) : undefined
}

/** Returns the part of the schema to which `#/…` points. */
function referred(ref: string, root: JsonSchema): JsonSchema | undefined {
  if (!ref.startsWith('#')) return undefined
  let part: unknown = root
  for (const name of ref.split('/').slice(1)) {
    const key = decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~')
    part = (part as Readonly<Record<string, unknown>> | undefined)?.[key]
  }
  return part as JsonSchema | undefined
}
