import type { FromSchema, JsonSchema } from '../../../function/transform/json-schema.ts'

/* The compiler reports an error for a schema whose values have the wrong type. */

const typed =
  <const Schema extends JsonSchema>(_schema: Schema) =>
  <Type>(..._same: Same<FromSchema<Schema>, Type> extends true ? [] : [never]) => {}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

typed({ type: 'string' })<string>()
typed({ type: 'integer', minimum: 1 })<number>()
typed({ type: ['number', 'null'] })<number | null>()
typed({ type: 'boolean' })<boolean>()
typed({ enum: ['a', 'b', 1, null] })<'a' | 'b' | 1 | null>()
typed({ const: 'a' })<'a'>()
typed({ type: 'array', items: { type: 'string' } })<readonly string[]>()
typed({ type: 'array' })<readonly unknown[]>()
typed({
  type: 'array',
  prefixItems: [{ type: 'number' }, { type: 'string' }],
  items: false,
})<readonly [number?, string?]>()
typed({
  type: 'array',
  prefixItems: [{ type: 'number' }],
  minItems: 1,
})<readonly [number?, ...unknown[]]>()
typed({
  type: 'object',
  required: ['a'],
  properties: { a: { type: 'number' }, b: { type: 'string' } },
})<{ readonly a: number; readonly b?: string }>()
typed({
  type: 'object',
  properties: { at: { type: 'array', items: { type: 'object', properties: { x: true } } } },
})<{ readonly at?: readonly { readonly x?: unknown }[] }>()
typed({ type: 'object', additionalProperties: { type: 'number' } })<
  Readonly<Record<string, number>>
>()
typed({ type: 'object' })<Readonly<Record<string, unknown>>>()
typed({ anyOf: [{ type: 'string' }, { type: 'number' }] })<string | number>()
typed({ oneOf: [{ const: 'a' }, { type: 'array', items: { type: 'number' } }] })<
  'a' | readonly number[]
>()
typed(true)<unknown>()
typed(false)<never>()
typed({})<unknown>()
typed({ $ref: '#/$defs/a', $defs: { a: { type: 'string' } } })<unknown>()
typed({ not: { type: 'string' } })<unknown>()
typed({ properties: { a: { type: 'string' } } })<unknown>()
