import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isObject, show } from '../protocol/json.ts'
import type { Transform } from './contract.ts'
import { type DescribedTransform, describeTransform } from './described.ts'
import type { CheckInput, Validate } from './schema.ts'

export interface LoadedTransform {
  /** The default export of the transform's file. */
  readonly author: Transform
  readonly described: DescribedTransform
  /** Absent if there is no schema. */
  readonly checkInput?: CheckInput
}

interface Exports {
  readonly default?: unknown
  /** Validates the input, if a build compiled its schema. */
  readonly validate?: Validate
}

/**
 * Loads a transform into this thread.
 * @throws {Error} with one line that names the file
 */
export async function loadTransform(file: string): Promise<LoadedTransform> {
  const url = pathToFileURL(file).href
  resolveToThisServer(url)
  const exports = await importFile(file, url)
  const author = checked(exports.default, file)
  try {
    const described = describeTransform(author)
    const { input } = author
    if (input === undefined) return { author, described }
    const { inputCheck } = await import('./schema.ts')
    return { author, described, checkInput: await inputCheck(input, exports.validate) }
  } catch (error) {
    throw new Error(`the transform ${file}: ${(error as Error).message}`)
  }
}

async function importFile(file: string, url: string): Promise<Exports> {
  try {
    return (await import(url)) as Exports
  } catch (error) {
    throw new Error(`the transform ${file} cannot be loaded: ${whyNotLoaded(error)}`)
  }
}

/** Says in one line why Node cannot load a file, such as unsupported TypeScript. */
function whyNotLoaded(error: unknown): string {
  const { code, message, stack } = (error ?? {}) as NodeJS.ErrnoException
  const line = String(message ?? error)
    .replaceAll(/\s+/g, ' ')
    .trim()
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
    return `${line}. Node runs TypeScript by removing its types; set "erasableSyntaxOnly" in tsconfig.json to find the syntax that it cannot remove`
  // If a file is not JavaScript, only the error's stack names the file.
  const place = error instanceof SyntaxError ? stack?.split('\n', 1)[0]?.trim() : undefined
  return place === undefined || line.includes(place) ? line : `${line} (${place})`
}

const FUNCTIONS = ['setup', 'close', 'preprocess', 'postprocess'] as const
const MEMBERS: readonly string[] = [...FUNCTIONS, 'input', 'output']

function shownExport(author: unknown): string {
  if (author === undefined) return 'no default export'
  return typeof author === 'function'
    ? 'a function as its default export'
    : `the default export ${show(author)}`
}

/** @throws {Error} if the default export is not a transform */
function checked(author: unknown, file: string): Transform {
  const wrong = (text: string) => new Error(`the transform ${file} ${text}`)
  if (!isObject(author))
    throw wrong(
      `has ${shownExport(author)}; it must be an object with preprocess or postprocess, as returned by defineTransform()({…})`,
    )
  const transform = author as Transform
  for (const name of Object.keys(author))
    if (!MEMBERS.includes(name))
      throw wrong(`has ${show(name)}; a transform may have only ${MEMBERS.join(', ')}`)
  for (const name of FUNCTIONS) {
    const member = transform[name]
    if (member !== undefined && typeof member !== 'function')
      throw wrong(`: ${name} is ${show(member)}; it must be a function`)
  }
  if (transform.preprocess === undefined && transform.postprocess === undefined)
    throw wrong('has neither preprocess nor postprocess')
  return transform
}

/** The name by which authors import this package. */
const PACKAGE = 'onnx-function'

/** A file beside the bundle in the build; TypeScript in the source tree. */
const EXPORTS = new URL(
  import.meta.url.endsWith('.ts') ? './exports.ts' : './transform.js',
  import.meta.url,
).href

/** URLs of the author's modules. */
const authors = new Set<string>()

/**
 * Makes a transform's `import … from 'onnx-function'` resolve to this server's exports, in each
 * thread and for any path. Other modules use Node's own resolution.
 */
function resolveToThisServer(url: string): void {
  const isFirst = authors.size === 0
  authors.add(url)
  if (!isFirst) return
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const isAuthors = context.parentURL !== undefined && authors.has(context.parentURL)
      if (isAuthors && specifier === PACKAGE)
        return {
          url: EXPORTS,
          shortCircuit: true,
          format: EXPORTS.endsWith('.ts') ? 'module-typescript' : 'module',
        }
      const resolved = nextResolve(specifier, context)
      if (isAuthors && resolved.url.startsWith('file:')) authors.add(resolved.url)
      return resolved
    },
  })
}
