import { Stop, type Value } from './value.ts'

/** Values by name, with those of the surrounding graphs. */
export class Scope {
  readonly #values = new Map<string, Value>()
  readonly #outer: Scope | undefined

  constructor(outer?: Scope) {
    this.#outer = outer
  }

  /** @throws {Stop} if the graph already has that name: a node could mean either value */
  set(name: string, value: Value): void {
    if (this.#values.has(name)) throw new Stop(`"${name}" is given twice`)
    this.#values.set(name, value)
  }

  /** Whether this graph itself defines the name. */
  hasOwn(name: string): boolean {
    return this.#values.has(name)
  }

  /** @throws {Stop} if no earlier node defines the name */
  get(name: string): Value {
    const value = this.#values.get(name) ?? this.#outer?.get(name)
    if (value === undefined) throw new Stop(`no node defines "${name}"`)
    return value
  }
}
