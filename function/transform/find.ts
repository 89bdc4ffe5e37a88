import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const NAMES = ['transform.js', 'transform.mjs', 'transform.ts']

/** The places where the author's own code may lie. */
interface Places {
  /** The .onnx file. */
  readonly file: string
  /** The path of model.json, which is optional. */
  readonly modelJson: string
}

/** The configuration. */
interface Settings {
  /** The variable TRANSFORM. */
  readonly transform: string | undefined
  /** The model comes from a store, and files beside it do not belong to this project. */
  readonly isModelStored: boolean
}

export interface FoundTransform {
  /** Undefined if there is none to load. */
  readonly transform: string | undefined
  /** A file beside a stored model, which is not loaded. */
  readonly ignored: string | undefined
}

const NONE: FoundTransform = { transform: undefined, ignored: undefined }

/**
 * Finds the author's own code: the file that TRANSFORM names, else transform.js, transform.mjs or
 * transform.ts beside the model, else beside model.json. Beside a stored model, none is found
 * automatically: a store of models must not supply code.
 * @throws {Error} of one line if TRANSFORM does not name a file, or several files qualify
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
  throw new Error(`TRANSFORM is "${name}", but ${path} is not a file; allowed: a file, or off`)
}

/** transform.js is built from transform.ts: if both exist, the built file is the one to run. */
function fileIn(folder: string): string | undefined {
  return NAMES.map(name => join(folder, name)).find(isFile)
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** The TypeScript from which a built transform.js may come, whether or not it exists. */
export const sourceOf = (file: string): string => file.replace(/\.m?js$/, '.ts')

/** The transform.ts from which a transform.js was built, if it has changed since. */
export function changedSource(file: string): string | undefined {
  const source = sourceOf(file)
  const written = statSync(source, { throwIfNoEntry: false })
  return written !== undefined && written.mtimeMs > statSync(file).mtimeMs ? source : undefined
}
