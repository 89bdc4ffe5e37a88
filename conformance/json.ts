/** JSON without loss of precision: big integers, −0, and invalid JSON where a point needs it. */

/** Text that a request contains unchanged, valid JSON or not. */
export class Raw {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export const raw = (text: string) => new Raw(text)

/**
 * Writes all digits of bigints, −0 as -0, and non-finite numbers as strings. Omits undefined
 * fields.
 * @param gap white space to insert wherever JSON allows it
 */
export function toJson(value: unknown, gap = ''): string {
  if (value instanceof Raw) return value.text
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number')
    return Number.isFinite(value) ? (Object.is(value, -0) ? '-0' : String(value)) : `"${value}"`
  if (Array.isArray(value)) return `[${value.map(element => gap + toJson(element, gap) + gap)}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${fields.map(([name, field]) => `${gap}${JSON.stringify(name)}${gap}:${gap}${toJson(field, gap)}${gap}`)}}`
}

/**
 * Integers beyond 2^53 become bigints.
 * @throws {SyntaxError} if the text is not JSON
 */
export const parseJson = (text: string): unknown =>
  JSON.parse(text, ((_name: string, value: unknown, { source }: { source: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value) as (name: string, value: unknown) => unknown)
