/*
 * Parses .proto files, in the subset of proto3 that this server needs. One text defines the
 * messages for the code, for reflection, and for people.
 */

export type Scalar =
  | 'bool'
  | 'int32'
  | 'int64'
  | 'uint32'
  | 'uint64'
  | 'float'
  | 'double'
  | 'string'
  | 'bytes'

export interface Field {
  readonly name: string
  readonly number: number
  readonly repeated: boolean
  readonly oneof: string | undefined
  /** The name of a scalar, message or enum, as in the text. */
  readonly typeName: string
  readonly type: Scalar | MessageType | EnumType
}

export class MessageType {
  /** With the package, such as `inference.ModelInferRequest`. */
  readonly fullName: string
  readonly name: string
  readonly fields: Field[] = []
  readonly byNumber: (Field | undefined)[] = []
  readonly nested: (MessageType | EnumType)[] = []
  readonly isMapEntry: boolean
  /** Whether the message stays bytes, for code that reads it more efficiently. */
  lazy = false
  readonly defaults: Record<string, unknown> = {}

  constructor(fullName: string, isMapEntry = false) {
    this.fullName = fullName
    this.name = lastOf(fullName)
    this.isMapEntry = isMapEntry
  }
}

export class EnumType {
  readonly fullName: string
  readonly name: string
  readonly values = new Map<string, number>()

  constructor(fullName: string) {
    this.fullName = fullName
    this.name = lastOf(fullName)
  }
}

export interface Method {
  readonly name: string
  readonly input: MessageType
  readonly output: MessageType
  readonly clientStreams: boolean
  readonly serverStreams: boolean
}

export interface Service {
  readonly fullName: string
  readonly methods: readonly Method[]
}

export interface ProtoFile {
  readonly name: string
  readonly package: string
  readonly types: readonly (MessageType | EnumType)[]
  readonly services: readonly Service[]
  /** @throws {Error} if the file does not define this message */
  message(name: string): MessageType
}

const SCALARS: Readonly<Record<Scalar, unknown>> = {
  bool: false,
  int32: 0,
  int64: 0,
  uint32: 0,
  uint64: 0,
  float: 0,
  double: 0,
  string: '',
  bytes: new Uint8Array(0),
}

const isScalar = (name: string): name is Scalar => Object.hasOwn(SCALARS, name)

const lastOf = (fullName: string) => fullName.slice(fullName.lastIndexOf('.') + 1)

/** @throws {Error} if the text is not in the supported subset of proto3 */
export const parseProto = (name: string, text: string): ProtoFile => new ProtoParser(name, text)

const NOTHING: readonly never[] = Object.freeze([])

class ProtoParser implements ProtoFile {
  readonly name: string
  readonly package: string
  readonly types: (MessageType | EnumType)[] = []
  readonly services: Service[] = []
  readonly #tokens: readonly string[]
  #at = 0
  readonly #byName = new Map<string, MessageType | EnumType>()
  /**
   * Functions that find the types of fields. Called last, because a field may name a later message.
   */
  readonly #unresolved: (() => void)[] = []

  constructor(name: string, text: string) {
    this.name = name
    this.#tokens = text.replaceAll(/\/\/.*/g, '').match(/"[^"]*"|[\w.]+|\S/g) ?? []
    this.#expect('syntax', '=', '"proto3"', ';')
    this.#expect('package')
    this.package = this.#next()
    this.#expect(';')
    const services: (() => Service)[] = []
    while (this.#at < this.#tokens.length) {
      const kind = this.#next()
      if (kind === 'service') services.push(this.#readService())
      else this.types.push(this.#readType(kind, this.package))
    }
    for (const resolve of this.#unresolved) resolve()
    for (const service of services) this.services.push(service())
  }

  message(name: string): MessageType {
    const type = this.#byName.get(`${this.package}.${name}`)
    if (type instanceof MessageType) return type
    throw new Error(`${this.name} has no message ${name}`)
  }

  #next(): string {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw new Error(`${this.name} ends unexpectedly`)
    return token
  }

  #expect(...tokens: readonly string[]): void {
    for (const token of tokens) {
      const next = this.#next()
      if (next !== token) throw new Error(`${this.name}: expected ${token}, found ${next}`)
    }
  }

  #takes(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false
    this.#at++
    return true
  }

  #readType(kind: string, scope: string): MessageType | EnumType {
    const fullName = `${scope}.${this.#next()}`
    if (kind === 'enum') return this.#readEnum(fullName)
    if (kind !== 'message')
      throw new Error(`${this.name}: expected message, enum or service, found ${kind}`)
    const type = new MessageType(fullName)
    this.#byName.set(fullName, type)
    this.#expect('{')
    while (!this.#takes('}')) this.#readMember(type, undefined)
    return type
  }

  #readEnum(fullName: string): EnumType {
    const type = new EnumType(fullName)
    this.#byName.set(fullName, type)
    this.#expect('{')
    while (!this.#takes('}')) {
      const name = this.#next()
      this.#expect('=')
      type.values.set(name, Number(this.#next()))
      this.#expect(';')
    }
    return type
  }

  #readMember(type: MessageType, oneof: string | undefined): void {
    const word = this.#next()
    if (word === 'message' || word === 'enum') type.nested.push(this.#readType(word, type.fullName))
    else if (word === 'oneof') {
      const choice = this.#next()
      this.#expect('{')
      while (!this.#takes('}')) this.#readMember(type, choice)
    } else if (word === 'map') this.#readMap(type)
    else if (word === 'repeated') this.#readField(type, this.#next(), { repeated: true, oneof })
    else this.#readField(type, word, { repeated: false, oneof })
  }

  #readMap(type: MessageType): void {
    this.#expect('<')
    const key = this.#next()
    this.#expect(',')
    const value = this.#next()
    this.#expect('>')
    const name = this.#tokens[this.#at] as string
    const entry = new MessageType(`${type.fullName}.${camel(`_${name}`)}Entry`, true)
    this.#byName.set(entry.fullName, entry)
    type.nested.push(entry)
    this.#addField(entry, { name: 'key', number: 1, typeName: key })
    this.#addField(entry, { name: 'value', number: 2, typeName: value })
    this.#readField(type, entry.name, { repeated: true, oneof: undefined })
  }

  #readField(
    type: MessageType,
    typeName: string,
    more: { readonly repeated: boolean; readonly oneof: string | undefined },
  ): void {
    const name = this.#next()
    this.#expect('=')
    const number = Number(this.#next())
    this.#expect(';')
    this.#addField(type, { name, number, typeName, ...more })
  }

  #addField(
    owner: MessageType,
    written: Pick<Field, 'name' | 'number' | 'typeName'> & Partial<Field>,
  ): void {
    const index = owner.fields.length
    owner.fields.length++
    this.#unresolved.push(() => {
      const type = isScalar(written.typeName)
        ? written.typeName
        : this.#resolve(written.typeName, owner.fullName)
      const field: Field = { repeated: false, oneof: undefined, ...written, type }
      owner.fields[index] = field
      owner.byNumber[field.number] = field
      if (field.oneof === undefined) owner.defaults[field.name] = defaultOf(field)
    })
  }

  /** Searches from the innermost scope outwards. */
  #resolve(name: string, scope: string): MessageType | EnumType {
    const type = this.#byName.get(`${scope}.${name}`)
    if (type !== undefined) return type
    const end = scope.lastIndexOf('.')
    if (end === -1) throw new Error(`${this.name}: ${name} is not defined`)
    return this.#resolve(name, scope.slice(0, end))
  }

  #readService(): () => Service {
    const fullName = `${this.package}.${this.#next()}`
    const methods: (() => Method)[] = []
    this.#expect('{')
    while (!this.#takes('}')) {
      this.#expect('rpc')
      const name = this.#next()
      const input = this.#readEnd()
      this.#expect('returns')
      const output = this.#readEnd()
      this.#expect(';')
      methods.push(() => ({
        name,
        input: this.message(input.name),
        output: this.message(output.name),
        clientStreams: input.streams,
        serverStreams: output.streams,
      }))
    }
    return () => ({ fullName, methods: methods.map(method => method()) })
  }

  #readEnd(): { readonly name: string; readonly streams: boolean } {
    this.#expect('(')
    const streams = this.#takes('stream')
    const name = this.#next()
    this.#expect(')')
    return { name, streams }
  }
}

function defaultOf({ repeated, type }: Field): unknown {
  if (repeated) return type instanceof MessageType && type.isMapEntry ? new Map() : NOTHING
  if (type instanceof EnumType) return 0
  return type instanceof MessageType ? undefined : SCALARS[type]
}

/** Converts a name as protoc does: `_raw_input_contents` becomes RawInputContents. */
export const camel = (name: string) =>
  name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
