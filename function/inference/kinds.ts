import type { InferenceRequest } from '../protocol/request.ts'
import { Line } from './line.ts'

/** What requests must have in common to share a run; of tensors only the shapes. */
interface Common {
  readonly outputs: InferenceRequest['outputs']
  readonly inputs: readonly { readonly shape: readonly number[] }[]
}

/** Those that may share a run, the oldest first. */
export class Kind<Item> extends Line<Item> {
  readonly key: string
  readonly common: Common | undefined
  rows = 0

  /** Without a key it is for one item, which has a run of its own. */
  constructor(key = '', common?: Common) {
    super()
    this.key = key
    this.common = common
  }
}

/** The kinds of the requests that wait. */
export class Kinds<Item> {
  readonly #byKey = new Map<string, Kind<Item>>()
  /** Found without a key: most requests are of the same kind as the one before. */
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
 * Whether one run can answer both: the same outputs, and inputs of the same dimensions but for the
 * first.
 */
const haveInCommon = (a: Common, b: Common): boolean =>
  (a.outputs === b.outputs ||
    haveEqual(a.outputs, b.outputs, (one, other) => one.name === other.name)) &&
  haveEqual(a.inputs, b.inputs, (one, other) =>
    haveEqual(one.shape, other.shape, (length, as, i) => i === 0 || length === as),
  )

function haveEqual<T>(
  all: readonly T[],
  others: readonly T[],
  equal: (one: T, other: T, i: number) => boolean,
): boolean {
  return all.length === others.length && all.every((one, i) => equal(one, others[i] as T, i))
}

/** Equal where {@link haveInCommon} is true, and only there. */
const keyOf = ({ outputs, inputs }: Common): string =>
  JSON.stringify([outputs.map(({ name }) => name), inputs.map(({ shape }) => shape.slice(1))])
