import assert from 'node:assert/strict'
import { Ajv2020 } from 'ajv/dist/2020.js'

/** {@link Document.resolve} resolves the references. */
export interface Operation {
  readonly path: string
  readonly method: string
  readonly operationId: string
  readonly tags: readonly string[]
  readonly parameters?: readonly {
    readonly name: string
    readonly examples?: Record<string, { value: unknown }>
  }[]
  readonly requestBody?: {
    readonly content: Record<string, MediaType>
  }
  readonly responses: Record<string, unknown>
}

interface MediaType {
  readonly examples?: Record<string, unknown>
  readonly 'x-example'?: { readonly name: string; readonly base64: string }
}

interface ResponseObject {
  readonly headers?: Record<string, unknown>
  readonly content?: Record<string, { readonly schema?: object }>
}

export interface Example {
  readonly name: string
  readonly operation: Operation
  readonly headers: Record<string, string>
  readonly body: Buffer | undefined
}

export class Document {
  readonly json: {
    paths: Record<string, Record<string, Omit<Operation, 'path' | 'method'>>>
    [field: string]: unknown
  }
  readonly operations: readonly Operation[]
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false })

  constructor(json: unknown) {
    this.json = json as Document['json']
    this.operations = Object.entries(this.json.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        ...operation,
        path,
        method: method.toUpperCase(),
      })),
    )
    this.#ajv.addSchema(this.json, 'openapi.json')
  }

  operation(id: string): Operation {
    const operation = this.operations.find(({ operationId }) => operationId === id)
    assert.ok(operation, `no operation ${id}`)
    return operation
  }

  /** @throws {assert.AssertionError} if there is no target */
  resolve<T>(value: unknown): T {
    const ref = (value as { $ref?: string }).$ref
    if (ref === undefined) return value as T
    const target = ref
      .slice('#/'.length)
      .split('/')
      .reduce(
        (at, key) =>
          (at as Record<string, unknown> | undefined)?.[
            decodeURIComponent(key).replaceAll('~1', '/')
          ],
        this.json as unknown,
      )
    assert.ok(ref.startsWith('#/') && target !== undefined, `the reference ${ref} has no target`)
    return target as T
  }

  /**
   * The examples of all operations. An operation without a body has one example, without a body.
   */
  examples(): Example[] {
    return this.operations.flatMap((operation): Example[] => {
      if (operation.requestBody === undefined)
        return [{ name: operation.operationId, operation, headers: {}, body: undefined }]
      return Object.entries(operation.requestBody.content).flatMap(([type, media]) =>
        this.#bodies(media).map(([name, body]) => ({
          name: `${operation.operationId} ${name}`,
          operation,
          headers: {
            'content-type': type,
            ...Object.fromEntries(
              (operation.parameters ?? [])
                .filter(({ examples }) => examples?.[name] !== undefined)
                .map(parameter => [parameter.name, String(parameter.examples?.[name]?.value)]),
            ),
          },
          body,
        })),
      )
    })
  }

  #bodies({ examples = {}, 'x-example': binary }: MediaType): [name: string, body: Buffer][] {
    const json = Object.entries(examples).map(([name, reference]): [string, Buffer] => [
      name,
      Buffer.from(JSON.stringify(this.resolve<{ value: unknown }>(reference).value)),
    ])
    return binary ? [...json, [binary.name, Buffer.from(binary.base64, 'base64')]] : json
  }

  /** @throws {assert.AssertionError} if the response does not match */
  async check(answer: Response, operation: Operation): Promise<void> {
    const what = `${operation.method} ${operation.path} ${answer.status}`
    const bytes = await answer.bytes()
    assert.ok(operation.responses[answer.status], `${what} is not described: ${Buffer.from(bytes)}`)
    const { headers = {}, content } = this.resolve<ResponseObject>(
      operation.responses[answer.status],
    )
    for (const [name, reference] of Object.entries(headers)) {
      const { required } = this.resolve<{ required?: boolean }>(reference)
      if (required) assert.ok(answer.headers.get(name), `${what} lacks ${name}`)
    }
    if (content === undefined) {
      assert.equal(bytes.length, 0, `${what} has a body`)
      return
    }
    const type = answer.headers.get('content-type')?.split(';')[0] ?? ''
    assert.ok(content[type], `${what} is ${type}, which is not described`)
    const { schema } = content[type]
    if (schema !== undefined)
      this.#checkSchema(
        what,
        schema,
        /json$/.test(type) ? JSON.parse(`${Buffer.from(bytes)}`) : `${Buffer.from(bytes)}`,
      )
  }

  /** @throws {assert.AssertionError} if the body does not match */
  checkRequest({ name, operation, headers, body }: Example): void {
    const type = headers['content-type'] ?? ''
    const schema = (operation.requestBody?.content[type] as { schema?: object } | undefined)?.schema
    if (schema !== undefined && /json$/.test(type))
      this.#checkSchema(name, schema, JSON.parse(`${body}`))
  }

  #checkSchema(what: string, schema: object, value: unknown): void {
    // The references in the schema refer to the document.
    const validate = this.#ajv.compile(
      JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi.json#/')),
    )
    assert.ok(
      validate(value),
      `${what}: ${this.#ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`,
    )
  }
}

export async function readDocument(url: string): Promise<Document> {
  const answer = await fetch(`${url}/openapi.json`)
  assert.equal(answer.status, 200)
  return new Document(await answer.json())
}

export const sendExample = (
  url: string,
  { operation, headers, body }: Example,
): Promise<Response> =>
  fetch(url + operation.path, {
    method: operation.method,
    headers,
    ...(body === undefined ? undefined : { body }),
  })
