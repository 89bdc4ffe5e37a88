import type { InferenceRequest } from '../protocol/request.ts'
import { Line } from './line.ts'

interface Shaped {
  readonly shape: readonly number[]
}

/** Requests share a run if these properties are equal. Of the inputs, only the shapes count. */
interface Common {
  readonly outputs: InferenceRequest['outputs']
  readonly inputs: readonly Shaped[]
}

/** Requests that may share a run, in order of arrival. */
export class Kind<Item> extends Line<Item> {
  readonly key: string
  readonly common: Common | undefined
  rows = 0

  /** Without a key, the kind contains one item, which has its own run. */
  constructor(key = '', common?: Common) {
    super()
    this.key = key
    this.common = common
  }
}

export class Kinds<Item> {
  readonly #byKey = new Map<string, Kind<Item>>()
  /**
   * The previous request's kind. Most requests have the same kind, which is then found without a
   * key.
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
 * Requests share a run if they have the same outputs, and inputs whose shapes differ only in the
 * first dimension.
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

/** Two kinds have equal keys if and only if {@link haveInCommon} is true. */
const keyOf = ({ outputs, inputs }: Common): string =>
  JSON.stringify([outputs.map(({ name }) => name), inputs.map(({ shape }) => shape.slice(1))])
