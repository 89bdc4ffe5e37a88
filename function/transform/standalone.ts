import type { JsonSchema } from './json-schema.ts'
import { compileSchema } from './schema.ts'

/**
 * The code of a schema's validation function, as an ES module that exports it as `validate` and
 * imports nothing. `onnx-function build` puts it into the bundle, so that the start neither loads
 * Ajv nor compiles.
 * @throws {Error} of one line, when the schema is none that can be checked
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
    if (functions[file] === undefined) throw new Error(`the schema "input" needs ${file}`)
    return `const ${name} = ${functions[file]}`
  })
}

/** How Ajv's code takes what it shares with Ajv, of which each is one function. */
const IMPORT = /const (func\d+) = require\("([^"]+)"\)\.default/g
