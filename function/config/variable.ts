/*
 * An environment variable is one row: name, check, type of its value, and description in
 * docs/configuration.md.
 */

export interface Variable<Name extends string = string, Value = unknown> {
  readonly name: Name
  readonly default: string
  readonly allowed: string
  readonly meaning: string
  readonly parse: (text: string) => Value | undefined
  readonly unset: Value
}

export interface Kind<Value> {
  readonly allowed: string
  readonly parse: (text: string) => Value | undefined
  /** Formats a default for the documentation; String() if absent. */
  readonly show?: (value: Value) => string
}

interface Defaulted<Value> {
  readonly default: Value
  readonly meaning: string
}

interface Optional {
  readonly otherwise: string
  readonly meaning: string
}

type Read<Value, Row> = Row extends { readonly default: unknown } ? Value : Value | undefined

export function variable<
  const Name extends string,
  Value,
  const Row extends Defaulted<Value> | Optional,
>(
  name: Name,
  { allowed, parse, show = String }: Kind<Value>,
  row: Row,
): Variable<Name, Read<Value, Row>> {
  const { meaning } = row
  const unset = ('default' in row ? row.default : undefined) as Read<Value, Row>
  const shown = 'default' in row ? show(row.default) : row.otherwise
  return { name, default: shown, allowed, meaning, parse: parse as never, unset }
}

interface Range {
  readonly min: number
  readonly max?: number
  /** From the text's unit to the value's: 1,000 converts seconds to milliseconds. */
  readonly factor?: number
}

export const integer = ({ min, max = 2 ** 31 - 1, factor = 1 }: Range): Kind<number> => ({
  allowed: `an integer from ${min} to ${max}`,
  parse(text) {
    if (!/^\d{1,10}$/.test(text)) return undefined
    const value = Number(text)
    return value >= min && value <= max ? value * factor : undefined
  },
  show: value => String(value / factor),
})

export const share: Kind<number> = {
  allowed: 'a number from 0 to 1',
  parse: text => (/^(?:0?\.\d+|0|1(?:\.0+)?)$/.test(text) ? Number(text) : undefined),
}

export const oneOf = <const Value extends string>(values: readonly Value[]): Kind<Value> => ({
  allowed: values.join(', '),
  parse: text => values.find(value => value === text),
})

/** Ignores case, as OpenTelemetry requires for true and false. */
export const either = (yes: string, no: string): Kind<boolean> => ({
  allowed: `${yes}, ${no}`,
  parse(text) {
    const word = text.toLowerCase()
    if (word === yes) return true
    return word === no ? false : undefined
  },
  show: value => (value ? yes : no),
})

export const text = (
  allowed: string,
  isAllowed: (text: string) => boolean = () => true,
): Kind<string> => ({ allowed, parse: text => (isAllowed(text) ? text : undefined) })

export const httpUrl = text('an http or https URL', value =>
  /^https?:$/.test(URL.parse(value)?.protocol ?? ''),
)

export const list = (
  allowed: string,
  isAllowed: (item: string) => boolean = () => true,
): Kind<readonly string[]> => ({
  allowed,
  parse(text) {
    const items = text.split(',').map(item => item.trim())
    return items.every(item => item !== '' && isAllowed(item)) ? items : undefined
  },
})

export type Rows = Readonly<Record<string, Variable>>

export type Values<R extends Rows> = {
  readonly [Field in keyof R]: R[Field] extends Variable<string, infer Value> ? Value : never
}

export interface Source {
  /** Like process.env; an empty variable counts as not set. */
  readonly env: NodeJS.ProcessEnv
  /** The options that replaced variables, such as `--http_port`, for error messages. */
  readonly givenAs?: Readonly<Partial<Record<string, string>>>
}

/** @throws {Error} with one line: the variable, its value, and the allowed values */
export function readRows<R extends Rows>(rows: R, source: Source): Values<R> {
  const values = Object.entries(rows).map(([field, row]) => [field, readRow(row, source)])
  return Object.fromEntries(values) as Values<R>
}

function readRow({ name, unset, parse, allowed }: Variable, { env, givenAs }: Source): unknown {
  const given = env[name]
  if (given === undefined || given === '') return unset
  const value = parse(given)
  if (value !== undefined) return value
  const shown = JSON.stringify(given.replace(CREDENTIALS, '//***@'))
  throw new Error(`${givenAs?.[name] ?? name} is ${shown}; it must be ${allowed}`)
}

/** Matches the user name and password in a URL, which the log must not show. */
const CREDENTIALS = /\/\/[^/?#]*@/
