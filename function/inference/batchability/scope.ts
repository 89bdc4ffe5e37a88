import { Stop, type Value } from './value.ts'

/** The values in a graph and in its surrounding graphs, keyed by name. */
export class Scope {
  readonly #values = new Map<string, Value>()
  readonly #outer: Scope | undefined

  constructor(outer?: Scope) {
    this.#outer = outer
  }

  /**
   * Defines a name.
   * @throws {Stop} if the graph already defines that name, because the name would be ambiguous
   */
  set(name: string, value: Value): void {
    if (this.#values.has(name)) throw new Stop(`"${name}" is defined twice`)
    this.#values.set(name, value)
  }

  /** Whether this graph itself defines the name; surrounding graphs do not count. */
  hasOwn(name: string): boolean {
    return this.#values.has(name)
  }

  /** Returns the value of a name. @throws {Stop} if no earlier node defines the name */
  get(name: string): Value {
    const value = this.#values.get(name) ?? this.#outer?.get(name)
    if (value === undefined) throw new Stop(`no earlier node defines "${name}"`)
    return value
  }
}
