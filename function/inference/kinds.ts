import type { InferenceRequest } from '../protocol/request.ts'
import { Line } from './line.ts'

interface Shaped {
  readonly shape: readonly number[]
}

/**
 * The properties that must be equal for requests to share a run. Of each tensor, only the shape
 * matters.
 */
interface Common {
  readonly outputs: InferenceRequest['outputs']
  readonly inputs: readonly Shaped[]
}

/** Requests that may share a run, in order of arrival. */
export class Kind<Item> extends Line<Item> {
  readonly key: string
  readonly common: Common | undefined
  rows = 0

  /** A kind without a key contains a single item, which has its own run. */
  constructor(key = '', common?: Common) {
    super()
    this.key = key
    this.common = common
  }
}

/** The kinds of the waiting requests. */
export class Kinds<Item> {
  readonly #byKey = new Map<string, Kind<Item>>()
  /**
   * The kind of the previous request. Most requests have the same kind as the previous request, so
   * no key is needed to find it.
   */
  #last: Kind<Item> | undefined

  of(request: InferenceRequest): Kind<Item> {
    if (this.#last?.common !== undefined && haveInCommon(request, this.#last.common))
      return this.#last
    const key = keyOf(request)
    let kind = this.#byKey.get(key)
    if (kind === undefined) {
      const inputs = request.inputs.map(({ shape }) => ({ shape }))
      kind = new Kind(key, { outputs: request.outputs, inputs })
      this.#byKey.set(key, kind)
    }
    const before = this.#last
    this.#last = kind
    if (before !== undefined) this.forgetIfEmpty(before)
    return kind
  }

  forgetIfEmpty(kind: Kind<Item>): void {
    if (kind.isEmpty && kind !== this.#last) this.#byKey.delete(kind.key)
  }
}

/**
 * Whether two requests can share a run: they need the same outputs, and inputs with equal
 * dimensions except the first.
 */
function haveInCommon(a: Common, b: Common): boolean {
  if (a.outputs !== b.outputs && !haveEqualNames(a.outputs, b.outputs)) return false
  if (a.inputs.length !== b.inputs.length) return false
  for (let i = 0; i < a.inputs.length; i++) {
    const [one, other] = [a.inputs[i] as Shaped, b.inputs[i] as Shaped]
    if (!haveEqualRows(one.shape, other.shape)) return false
  }
  return true
}

const haveEqualNames = (a: Common['outputs'], b: Common['outputs']): boolean =>
  a.length === b.length && a.every(({ name }, i) => name === b[i]?.name)

function haveEqualRows(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 1; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/**
 * Returns the key of a kind. The keys of two kinds are equal if and only if {@link haveInCommon} is
 * true.
 */
const keyOf = ({ outputs, inputs }: Common): string =>
  JSON.stringify([outputs.map(({ name }) => name), inputs.map(({ shape }) => shape.slice(1))])
