/**
 * The size of a dimension, or an element of a small integer tensor, as a polynomial: integer
 * coefficients over N, the rows of a run, and over other sizes that are fixed for each run (such as
 * a sequence length). A key is a term's factors, sorted and joined; '' is the constant term.
 */
export type Size = ReadonlyMap<string, number>

const ROWS_FACTOR = 'N'

/** A size with more terms is unknown. */
const MOST_TERMS = 32

/** The maximum number of factors in one term. Each squaring doubles the number. */
const MOST_FACTORS = 32

let symbols = 0

export const fixed = (value: number): Size => (value === 0 ? new Map() : new Map([['', value]]))

/** N, which is at least 1. */
export const ROWS: Size = new Map([[ROWS_FACTOR, 1]])

/** The size does not depend on the rows and is not negative. */
export const unknownSize = (): Size => new Map([[`s${++symbols}`, 1]])

/** Undefined if the size is not the same number in every run. */
export function asNumber(size: Size): number | undefined {
  if (size.size === 0) return 0
  return size.size === 1 ? size.get('') : undefined
}

export const isOne = (size: Size): boolean => asNumber(size) === 1

const factorsOf = (term: string) => (term === '' ? [] : term.split('*'))

export function hasRows(size: Size): boolean {
  for (const term of size.keys()) if (factorsOf(term).includes(ROWS_FACTOR)) return true
  return false
}

/** k if the size is k·N and k does not contain N; otherwise undefined. */
export function perRow(size: Size): Size | undefined {
  const quotient = divide(size, ROWS)
  return quotient === undefined || quotient.size === 0 || hasRows(quotient) ? undefined : quotient
}

export function equals(a: Size, b: Size): boolean {
  if (a.size !== b.size) return false
  for (const [term, coefficient] of a) if (b.get(term) !== coefficient) return false
  return true
}

/** Undefined if the sum has too many terms, or a coefficient exceeds the safe integers. */
export function add(a: Size, b: Size): Size | undefined {
  const sum = new Map(a)
  for (const [term, coefficient] of b) put(sum, term, (sum.get(term) ?? 0) + coefficient)
  return bounded(sum)
}

export const subtract = (a: Size, b: Size): Size | undefined => {
  const negative = multiply(b, fixed(-1))
  return negative === undefined ? undefined : add(a, negative)
}

/**
 * Undefined if the product has too many terms or factors, or a coefficient exceeds the safe
 * integers.
 */
export function multiply(a: Size, b: Size): Size | undefined {
  const product = new Map<string, number>()
  for (const [one, coefficient] of a) {
    for (const [other, times] of b) {
      const factors = [...factorsOf(one), ...factorsOf(other)]
      if (factors.length > MOST_FACTORS) return undefined
      const term = factors.sort().join('*')
      put(product, term, (product.get(term) ?? 0) + coefficient * times)
    }
  }
  return bounded(product)
}

export function product(sizes: readonly Size[]): Size | undefined {
  let all: Size | undefined = fixed(1)
  for (const size of sizes) all = all === undefined ? undefined : multiply(all, size)
  return all
}

/** Undefined if the quotient is not a polynomial. */
export function divide(a: Size, b: Size): Size | undefined {
  if (b.size === 0) return undefined
  if (equals(a, b)) return fixed(1)
  if (b.size > 1) return undefined
  const [[divisor, by]] = [...b] as [[string, number]]
  const quotient = new Map<string, number>()
  for (const [term, coefficient] of a) {
    const factors = factorsOf(term)
    for (const factor of factorsOf(divisor)) {
      const at = factors.indexOf(factor)
      if (at === -1) return undefined
      factors.splice(at, 1)
    }
    if (coefficient % by !== 0) return undefined
    quotient.set(factors.join('*'), coefficient / by)
  }
  return quotient
}

/**
 * Whether the size is at least this number in every run. No size is negative, and N is at least 1.
 */
export function isAtLeast(size: Size, least: number): boolean {
  let sum = 0
  for (const [term, coefficient] of size) {
    if (coefficient < 0 && term !== '') return false
    if (term === '' || factorsOf(term).every(factor => factor === ROWS_FACTOR)) sum += coefficient
  }
  return sum >= least
}

/** Formats a size for messages, for example 2·N. */
export function show(size: Size): string {
  const terms = [...size].map(([term, coefficient]) => {
    const factors = factorsOf(term).map(factor => (factor === ROWS_FACTOR ? 'N' : '?'))
    if (factors.length === 0) return String(coefficient)
    return coefficient === 1 ? factors.join('·') : [coefficient, ...factors].join('·')
  })
  return terms.length === 0 ? '0' : terms.join(' + ')
}

function put(terms: Map<string, number>, term: string, coefficient: number): void {
  if (coefficient === 0) terms.delete(term)
  else terms.set(term, coefficient)
}

function bounded(terms: Size): Size | undefined {
  if (terms.size > MOST_TERMS) return undefined
  return [...terms.values()].every(Number.isSafeInteger) ? terms : undefined
}
