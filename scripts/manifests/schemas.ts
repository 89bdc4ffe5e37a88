import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { type Manifest, parse } from './sources.ts'

export type Validate = (value: unknown) => string[]

export interface Schemas {
  /** Undefined if the folders contain no schema for the kind. */
  readonly of: (apiVersion: string, kind: string) => Validate | undefined
  readonly func: Validate | undefined
}

/**
 * Reads every schema in the folders: CustomResourceDefinitions (one or many per file, or the List
 * that `kubectl get crd -o yaml` prints), a cluster's OpenAPI document (`kubectl get --raw
 * /openapi/v2`), and func's schema of func.yaml. As for `kubectl apply`, an unknown field is an
 * error.
 */
export function readSchemas(folders: readonly string[]): Schemas {
  const files = folders.flatMap(filesIn).map(path => ({ path, text: readFileSync(path, 'utf8') }))
  const compiled = new Map<string, Validate | undefined>()
  const openApi = files.filter(
    ({ path, text }) =>
      path.endsWith('.json') && text.includes('"x-kubernetes-group-version-kind"'),
  )
  // Only OpenAPI 2; Kubernetes' module also contains OpenAPI 3.
  const documents = openApi
    .map(({ text }) => JSON.parse(text))
    .filter(({ definitions }) => definitions !== undefined)
  const func = files.find(({ path }) => path.endsWith('func_yaml-schema.json'))

  function find(apiVersion: string, kind: string): Validate | undefined {
    const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
    for (const { path, text } of files) {
      if (
        !/\.ya?ml$/.test(path) ||
        !text.includes(`kind: ${kind}`) ||
        !text.includes('CustomResourceDefinition')
      )
        continue
      for (const definition of parse(text, path).flatMap(
        document => document.items ?? [document],
      )) {
        if (definition.kind !== 'CustomResourceDefinition') continue
        const { spec } = definition
        if (spec.group !== group || spec.names.kind !== kind) continue
        const found = spec.versions.find((candidate: Manifest) => candidate.name === version)
        if (found?.schema?.openAPIV3Schema === undefined) continue
        const { properties = {}, ...rest } = found.schema.openAPIV3Schema
        return compile({
          ...rest,
          properties: { ...properties, apiVersion: STRING, kind: STRING, metadata: METADATA },
        })
      }
    }
    for (const { definitions } of documents) {
      for (const [name, definition] of Object.entries<Manifest>(definitions)) {
        const kinds = definition['x-kubernetes-group-version-kind'] ?? []
        if (
          kinds.some(
            (known: Manifest) =>
              known.group === group && known.version === version && known.kind === kind,
          )
        ) {
          return compile({ $ref: `#/definitions/${name}`, definitions })
        }
      }
    }
    return undefined
  }

  return {
    of(apiVersion, kind) {
      const key = `${apiVersion} ${kind}`
      if (!compiled.has(key)) compiled.set(key, find(apiVersion, kind))
      return compiled.get(key)
    },
    func: func === undefined ? undefined : compile(JSON.parse(func.text)),
  }
}

function filesIn(folder: string): string[] {
  if (!existsSync(folder)) throw new Error(`--schemas ${folder}: the folder does not exist`)
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}

const STRING = { type: 'string' }
const STRINGS = { type: 'object', additionalProperties: STRING }
/** CustomResourceDefinitions do not describe metadata. */
const METADATA = {
  type: 'object',
  required: ['name'],
  properties: {
    name: STRING,
    namespace: STRING,
    labels: STRINGS,
    annotations: STRINGS,
    finalizers: { type: 'array', items: STRING },
  },
}

function compile(schema: unknown): Validate {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, verbose: true })
  const validate: ValidateFunction = ajv.compile(strict(schema) as object)
  return value => (validate(value) ? [] : [...new Set((validate.errors ?? []).map(say))])
}

function say({ instancePath, keyword, params, message, data }: ErrorObject): string {
  const where = instancePath.slice(1).replaceAll('/', '.') || 'the object'
  if (keyword === 'additionalProperties')
    return `${where}: unknown field "${params.additionalProperty}"`
  if (keyword === 'enum')
    return `${where} is ${JSON.stringify(data)}; it must be one of ${params.allowedValues.join(', ')}`
  return `${where} is ${JSON.stringify(data)?.slice(0, 60)}; it ${message}`
}

function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict)
  if (typeof schema !== 'object' || schema === null) return schema
  const { description, $schema, default: _, ...given } = schema as Manifest
  // Kubernetes declares quantities and ports as strings, but also accepts numbers.
  if (given.type === 'string' && given.format === 'int-or-string')
    return { type: ['integer', 'string'] }
  if (isQuantity(description)) return { type: ['number', 'string'] }
  const made: Manifest = {}
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith('x-kubernetes-')) continue
    made[key] = NAMED.has(key)
      ? Object.fromEntries(
          Object.entries(value as object).map(([name, inner]) => [name, strict(inner)]),
        )
      : strict(value)
  }
  // Go's syntax for a case-insensitive match.
  if (typeof given.pattern === 'string')
    made.pattern = given.pattern.replace(/^\^\(\?i\)(.*)\$$/, '^(?i:$1)$')
  if (given['x-kubernetes-int-or-string'] === true && given.anyOf === undefined)
    made.type = ['integer', 'string']
  if (given.nullable === true && typeof made.type === 'string') made.type = [made.type, 'null']
  // Some schemas preserve unknown fields, such as Knative's Triggers and Brokers. A cluster accepts
  // a misspelt field without an error; this check reports it.
  if (given.properties?.backoffDelay !== undefined)
    made.properties = { ...EXPERIMENTAL_DELIVERY, ...made.properties }
  if (given.properties !== undefined && given.additionalProperties === undefined)
    made.additionalProperties = false
  return made
}

const isQuantity = (description: unknown) =>
  typeof description === 'string' &&
  description.startsWith('Quantity is a fixed-point representation')

/**
 * Fields that the schema of a delivery omits (knative/eventing:
 * pkg/apis/duck/v1/delivery_types.go).
 */
const EXPERIMENTAL_DELIVERY = { timeout: STRING, retryAfterMax: STRING, format: STRING }

/** The value of these keywords maps names, which may be keywords themselves, to schemas. */
const NAMED = new Set(['properties', 'patternProperties', 'definitions'])
