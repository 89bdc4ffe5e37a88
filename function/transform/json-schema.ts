/**
 * A JSON Schema (draft 2020-12), with the keywords that the server's validator supports. `format`
 * is only an annotation, as in the draft.
 */
export type JsonSchema = boolean | JsonSchemaObject

export type JsonType = 'string' | 'number' | 'integer' | 'boolean' | 'object' | 'array' | 'null'

type Schemas = Readonly<Record<string, JsonSchema>>

export interface JsonSchemaObject {
  readonly $schema?: string
  readonly $id?: string
  readonly $ref?: string
  readonly $anchor?: string
  readonly $dynamicRef?: string
  readonly $dynamicAnchor?: string
  readonly $defs?: Schemas
  readonly $comment?: string

  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly deprecated?: boolean
  readonly readOnly?: boolean
  readonly writeOnly?: boolean

  readonly type?: JsonType | readonly JsonType[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown

  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number

  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly format?: string
  readonly contentEncoding?: string
  readonly contentMediaType?: string
  readonly contentSchema?: JsonSchema

  readonly items?: JsonSchema
  readonly prefixItems?: readonly JsonSchema[]
  readonly contains?: JsonSchema
  readonly minContains?: number
  readonly maxContains?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly unevaluatedItems?: JsonSchema

  readonly properties?: Schemas
  readonly patternProperties?: Schemas
  readonly additionalProperties?: JsonSchema
  readonly unevaluatedProperties?: JsonSchema
  readonly propertyNames?: JsonSchema
  readonly required?: readonly string[]
  readonly dependentRequired?: Readonly<Record<string, readonly string[]>>
  readonly dependentSchemas?: Schemas
  readonly minProperties?: number
  readonly maxProperties?: number

  readonly allOf?: readonly JsonSchema[]
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly not?: JsonSchema
  readonly if?: JsonSchema
  readonly then?: JsonSchema
  readonly else?: JsonSchema
}

/**
 * The type of the values that a schema accepts, as far as `type`, `properties`, `required`,
 * `items`, `prefixItems`, `additionalProperties`, `enum`, `const`, `anyOf`, `oneOf` and `allOf`
 * define it; otherwise `unknown`. Never narrower than the schema.
 */
export type FromSchema<Schema> = Schema extends false
  ? never
  : Schema extends { readonly const: infer Value }
    ? Value
    : Schema extends { readonly enum: readonly (infer Value)[] }
      ? Value
      : Schema extends { readonly anyOf: readonly (infer Branch)[] }
        ? OfKeywords<Schema> & OfBranch<Branch>
        : Schema extends { readonly oneOf: readonly (infer Branch)[] }
          ? OfKeywords<Schema> & OfBranch<Branch>
          : OfKeywords<Schema>

/**
 * The type of a transform's data: text or bytes if the schema has `contentMediaType` and no `type`.
 */
export type DataOf<Schema> = Schema extends { readonly type: unknown }
  ? FromSchema<Schema>
  : Schema extends { readonly contentMediaType: infer MediaType }
    ? OfMediaType<MediaType>
    : FromSchema<Schema>

type OfMediaType<MediaType> = MediaType extends `text/${string}`
  ? string
  : MediaType extends 'application/json' | `${string}+json`
    ? unknown
    : Uint8Array

type OfBranch<Branch> = Branch extends unknown ? FromSchema<Branch> : never

type OfKeywords<Schema> = Schema extends { readonly allOf: infer All }
  ? OfType<Schema> & OfAll<All>
  : OfType<Schema>

type OfAll<All> = All extends readonly [infer First, ...infer Rest]
  ? FromSchema<First> & OfAll<Rest>
  : unknown

type OfType<Schema> = Schema extends { readonly type: readonly (infer Name)[] }
  ? OfName<Name, Schema>
  : Schema extends { readonly type: infer Name }
    ? OfName<Name, Schema>
    : unknown

/** The union over a list of names. */
type OfName<Name, Schema> = Name extends 'number' | 'integer'
  ? number
  : Name extends 'string'
    ? string
    : Name extends 'boolean'
      ? boolean
      : Name extends 'null'
        ? null
        : Name extends 'array'
          ? OfArray<Schema>
          : Name extends 'object'
            ? OfObject<Schema>
            : unknown

type OfArray<Schema> = Schema extends { readonly prefixItems: infer Prefix }
  ? readonly [...OfPrefix<Prefix>, ...OfItems<Schema>]
  : OfItems<Schema>

/** The elements are optional, because only `minItems` requires elements. */
type OfPrefix<Prefix> = Prefix extends readonly [infer First, ...infer Rest]
  ? [FromSchema<First>?, ...OfPrefix<Rest>]
  : []

type OfItems<Schema> = Schema extends { readonly items: infer Items }
  ? Items extends false
    ? readonly []
    : readonly FromSchema<Items>[]
  : readonly unknown[]

type OfObject<Schema> = Schema extends { readonly properties: infer Properties }
  ? Flat<
      {
        readonly [Name in Extract<keyof Properties, RequiredOf<Schema>>]: FromSchema<
          Properties[Name]
        >
      } & {
        readonly [Name in Exclude<keyof Properties, RequiredOf<Schema>>]?: FromSchema<
          Properties[Name]
        >
      }
    >
  : Schema extends { readonly additionalProperties: infer Additional }
    ? Readonly<Record<string, FromSchema<Additional>>>
    : Readonly<Record<string, unknown>>

type RequiredOf<Schema> = Schema extends { readonly required: readonly (infer Name)[] }
  ? Name
  : never

/** Makes an intersection one object type, which an editor shows with all members. */
type Flat<Type> = { [Name in keyof Type]: Type[Name] } & {}
