import { readFileSync } from 'node:fs'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { containersOf, find, kindOf } from './objects.ts'
import { type Manifest, parse } from './sources.ts'

interface Demand {
  readonly path: string
  readonly isOptional: boolean
  readonly why: string
  readonly validate: ValidateFunction
}

const FILE = 'policy.yaml'
const POLICY = readPolicy()

function readPolicy(): ReadonlyMap<string, readonly Demand[]> {
  const ajv = new Ajv({ strict: false, allErrors: true, verbose: true })
  const [policy] = parse(readFileSync(new URL(FILE, import.meta.url), 'utf8'), FILE)
  // Several kinds can share one schema object.
  const compiled = new Map<object, ValidateFunction>()
  const compile = (schema: Manifest) => {
    const known = compiled.get(schema) ?? ajv.compile(schema)
    compiled.set(schema, known)
    return known
  }
  const demandsOf = (paths: Manifest) =>
    Object.entries<Manifest>(paths).map(
      ([key, schema]): Demand => ({
        path: key.replace(/\?$|^\.$/g, ''),
        isOptional: key.endsWith('?'),
        why: schema.description ?? '',
        validate: compile(schema),
      }),
    )
  return new Map(
    Object.entries<Manifest>(policy)
      .filter(([kind]) => !kind.startsWith('$'))
      .map(([kind, paths]) => [kind, demandsOf(paths)]),
  )
}

export const KINDS: readonly string[] = [...POLICY.keys()]

export const checkPolicy = (object: Manifest): string[] => [
  ...demand(kindOf(object), object, ''),
  ...containersOf(object).flatMap(({ value, at }) => demand('Container', value, at)),
]

const demand = (kind: string, value: Manifest, within: string): string[] =>
  (POLICY.get(kind) ?? []).flatMap(({ path, isOptional, why, validate }) =>
    find(value, path, within).flatMap(({ at, value }) => {
      if (value === undefined) return isOptional ? [] : [`${at} is missing${because(why)}`]
      return validate(value) ? [] : [explain(at, validate.errors ?? [], why)]
    }),
  )

/** All errors of a field in one line: the last error is the outermost one. */
function explain(at: string, errors: readonly ErrorObject[], why: string): string {
  const reasons = errors.map(({ parentSchema }) => parentSchema?.description).filter(Boolean)
  const { instancePath, keyword, params, message, data } = errors.at(-1) as ErrorObject
  const where = [at, ...instancePath.split('/').slice(1)]
    .filter(Boolean)
    .map(key => key.replaceAll('~1', '/'))
    .join('.')
  const wanted: Readonly<Record<string, string>> = {
    const: `must be ${JSON.stringify(params.allowedValue)}`,
    enum: `must be one of ${params.allowedValues?.join(', ')}`,
    contains: 'lacks a required item',
  }
  const value = JSON.stringify(data)?.slice(0, 60)
  return `${where || 'the object'} is ${value}; it ${wanted[keyword] ?? message}${because(reasons.at(0) ?? why)}`
}

const because = (why: string) => (why === '' ? '' : ` (${why})`)
