import type { DescribedTransform } from '../../transform/described.ts'
import type { JsonSchema } from '../../transform/json-schema.ts'
import { schemaRef } from './parts.ts'
import type { Schema } from './schemas.ts'

/**
 * Returns the transform's schemas as components: Input, Output, and one for each of their `$defs`.
 * Client generators do not search for types within a component.
 */
export const authorComponents = ({
  input,
  output,
}: DescribedTransform): Readonly<Record<string, Schema>> => ({
  ...(input !== undefined && componentsOf('Input', input)),
  ...(output !== undefined && componentsOf('Output', output)),
})

/**
 * Returns a reference to the input's schema. Without a schema, any value is accepted.
 */
export const inputRef = ({ input }: DescribedTransform): Schema =>
  input === undefined ? {} : schemaRef('Input')

export const outputRef = ({ output }: DescribedTransform): Schema =>
  output === undefined ? {} : schemaRef('Output')

function componentsOf(name: string, schema: JsonSchema): Record<string, Schema> {
  if (typeof schema === 'boolean') return { [name]: unless(schema) }
  const { $schema: _draft, $id = '', $defs = {}, ...own } = schema
  const names = new Map<string, string>()
  for (const definition of Object.keys($defs))
    names.set(definition, componentName(name, definition, new Set(names.values())))
  const moved: Moved = { name, id: $id, names }
  const components = [
    [name, own],
    ...Object.entries($defs).map(([key, part]) => [names.get(key), part]),
  ]
  return Object.fromEntries(
    components.map(([component, part]) => [component, moveReferences(part, moved)]),
  )
}

/** `Input` and `postal address` become `InputPostal_address`. */
function componentName(name: string, definition: string, taken: ReadonlySet<string>): string {
  const words = definition.replaceAll(/[^A-Za-z0-9._-]/g, '_')
  let component = name + words.slice(0, 1).toUpperCase() + words.slice(1)
  while (taken.has(component)) component += '_'
  return component
}

interface Moved {
  readonly name: string
  readonly id: string
  readonly names: ReadonlyMap<string, string>
}

/** Keywords with values, not schemas. */
const VALUES = new Set(['examples', 'default', 'const', 'enum', 'required'])
/** Keywords whose names are valid only within this schema. */
const LOCAL = new Set(['$id', '$anchor', '$dynamicAnchor', '$dynamicRef'])
/** Keywords that map the author's names to schemas. */
const NAMED = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs'])

function moveReferences(schema: unknown, moved: Moved): Schema {
  if (typeof schema === 'boolean') return unless(schema)
  return Object.fromEntries(
    Object.entries(schema as object)
      .filter(([keyword]) => !LOCAL.has(keyword))
      .flatMap(([keyword, value]) => moveKeyword(keyword, value, moved)),
  )
}

function moveKeyword(keyword: string, value: unknown, moved: Moved): [string, unknown][] {
  if (keyword === '$ref') {
    const reference = newReference(value as string, moved)
    return reference === undefined ? [] : [[keyword, reference]]
  }
  if (VALUES.has(keyword) || typeof value !== 'object' || value === null) return [[keyword, value]]
  if (Array.isArray(value)) return [[keyword, value.map(each => moveEach(each, moved))]]
  if (!NAMED.has(keyword)) return [[keyword, moveReferences(value, moved)]]
  const members = Object.entries(value).map(([name, each]) => [name, moveReferences(each, moved)])
  return [[keyword, Object.fromEntries(members)]]
}

/** The elements of `type` are strings. */
const moveEach = (each: unknown, moved: Moved) =>
  typeof each === 'string' ? each : moveReferences(each, moved)

/**
 * Returns a reference's new target. Returns undefined for a reference that is not a path in the
 * schema: the document omits it.
 */
function newReference(ref: string, { name, id, names }: Moved): string | undefined {
  const path = id !== '' && ref.startsWith(id) ? ref.slice(id.length) : ref
  if (path !== '' && path !== '#' && !path.startsWith('#/')) return undefined
  const [first, definition = '', ...rest] = path.split('/').slice(1)
  if (first !== '$defs') return `#/components/schemas/${name}${path.replace(/^#/, '')}`
  const component = names.get(
    decodeURIComponent(definition).replaceAll('~1', '/').replaceAll('~0', '~'),
  )
  return component && ['#/components/schemas', component, ...rest].join('/')
}

/** Replaces the schemas `true` and `false`, which some generators do not support. */
const unless = (anything: boolean): Schema => (anything ? {} : { not: {} })
