import { Stop, type Value } from './value.ts'

export class Scope {
  readonly #values = new Map<string, Value>()
  readonly #outer: Scope | undefined

  constructor(outer?: Scope) {
    this.#outer = outer
  }

  /** @throws {Stop} if the graph already defines the name, which would be ambiguous */
  set(name: string, value: Value): void {
    if (this.#values.has(name)) throw new Stop(`"${name}" is defined twice`)
    this.#values.set(name, value)
  }

  /** Whether this graph defines the name; surrounding graphs do not count. */
  hasOwn(name: string): boolean {
    return this.#values.has(name)
  }

  /** @throws {Stop} if no earlier node defines the name */
  get(name: string): Value {
    const value = this.#values.get(name) ?? this.#outer?.get(name)
    if (value === undefined) throw new Stop(`no earlier node defines "${name}"`)
    return value
  }
}
