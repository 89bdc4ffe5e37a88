import type { JsonSchema } from './json-schema.ts'
import { compileSchema } from './schema.ts'

/**
 * Returns a schema's validation function as an ES module that exports `validate` and imports
 * nothing. `onnx-function build` adds it to the bundle, so that startup neither loads Ajv nor
 * compiles the schema.
 * @throws {Error} if the schema cannot be used for checking
 */
export async function standaloneValidate(schema: JsonSchema): Promise<string> {
  const { ajv, validate } = await compileSchema(schema, 'input', { source: true, esm: true })
  const { default: standalone } = await import('ajv/dist/standalone/index.js')
  const { default: length } = await import('ajv/dist/runtime/ucs2length.js')
  const { default: equal } = await import('ajv/dist/runtime/equal.js')
  const functions: Readonly<Record<string, string>> = {
    'ajv/dist/runtime/ucs2length': String(length.default),
    'ajv/dist/runtime/equal': String(equal.default),
  }
  return standalone.default(ajv, validate).replaceAll(IMPORT, (_, name: string, file: string) => {
    if (functions[file] === undefined)
      throw new Error(`the schema "input" needs ${file}, which a build cannot include`)
    return `const ${name} = ${functions[file]}`
  })
}

/** Imports of Ajv's helpers in the generated code. Each helper is one function. */
const IMPORT = /const (func\d+) = require\("([^"]+)"\)\.default/g
