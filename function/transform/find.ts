import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const NAMES = ['transform.js', 'transform.mjs', 'transform.ts']

/** Where the author's own code may lie. */
interface Places {
  /** The .onnx file. */
  readonly file: string
  /** Where model.json is, if there is one. */
  readonly modelJson: string
}

/** What is configured. */
interface Settings {
  /** TRANSFORM. */
  readonly transform: string | undefined
  /** The model comes from a store, and what lies beside it is not this project's. */
  readonly isModelStored: boolean
}

export interface FoundTransform {
  /** Undefined where there is none to be loaded. */
  readonly transform: string | undefined
  /** Lies beside a stored model, and is not loaded. */
  readonly ignored: string | undefined
}

const NONE: FoundTransform = { transform: undefined, ignored: undefined }

/**
 * The author's own code: what TRANSFORM names, else transform.js, transform.mjs or transform.ts beside
 * the model, else beside model.json. A store of models must not become code, so that beside a stored
 * model none is taken by itself.
 * @throws {Error} of one line, where TRANSFORM names no file, or several files could be meant
 */
export function findTransform(
  { file, modelJson }: Places,
  { transform, isModelStored }: Settings,
): FoundTransform {
  if (transform === 'off') return NONE
  if (transform !== undefined) return { ...NONE, transform: namedFile(transform) }
  const found = fileIn(dirname(file)) ?? fileIn(dirname(modelJson))
  if (found === undefined) return NONE
  return isModelStored ? { ...NONE, ignored: found } : { ...NONE, transform: found }
}

function namedFile(name: string): string {
  const path = resolve(name)
  if (isFile(path)) return path
  throw new Error(`TRANSFORM is "${name}"; it must be a file, or off: ${path} is none`)
}

/** transform.js is made from transform.ts: where both are there, it is what was built to be run. */
function fileIn(folder: string): string | undefined {
  return NAMES.map(name => join(folder, name)).find(isFile)
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** The transform.ts that a transform.js was made from, where it has been changed since. */
export function changedSource(file: string): string | undefined {
  const source = file.replace(/\.m?js$/, '.ts')
  const written = statSync(source, { throwIfNoEntry: false })
  return written !== undefined && written.mtimeMs > statSync(file).mtimeMs ? source : undefined
}
