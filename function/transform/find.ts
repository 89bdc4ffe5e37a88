import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const NAMES = ['transform.js', 'transform.mjs', 'transform.ts']

/** The paths beside which the server searches for the author's own code. */
interface Places {
  /** The .onnx file. */
  readonly file: string
  /** The path of model.json, which is optional. */
  readonly modelJson: string
}

/** The configuration of the search. */
interface Settings {
  /** The variable TRANSFORM. */
  readonly transform: string | undefined
  /**
   * Whether the model comes from a store, so that files beside the model do not belong to this
   * project.
   */
  readonly isModelStored: boolean
}

export interface FoundTransform {
  /** The file to load; undefined if there is no transform. */
  readonly transform: string | undefined
  /** A transform file beside a stored model, which is not loaded. */
  readonly ignored: string | undefined
}

const NONE: FoundTransform = { transform: undefined, ignored: undefined }

/**
 * Finds the author's own code: the file that TRANSFORM names; otherwise, transform.js,
 * transform.mjs or transform.ts beside the model; otherwise, one of these files beside model.json.
 * A file beside a stored model is ignored, because a store of models must not supply code.
 * @throws {Error} with a one-line message if TRANSFORM does not name a file
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
  throw new Error(
    `TRANSFORM is "${name}", but ${path} is not a file; it must be the path of a file, or "off"`,
  )
}

/**
 * Finds a transform in a folder. transform.js is built from transform.ts: if both exist, the built
 * file is used.
 */
function fileIn(folder: string): string | undefined {
  return NAMES.map(name => join(folder, name)).find(isFile)
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** Returns the path of the TypeScript source of a built transform.js. The source may not exist. */
export const sourceOf = (file: string): string => file.replace(/\.m?js$/, '.ts')

/**
 * Returns the transform.ts from which a transform.js was built, if the source has changed since the
 * build.
 */
export function changedSource(file: string): string | undefined {
  const source = sourceOf(file)
  const written = statSync(source, { throwIfNoEntry: false })
  return written !== undefined && written.mtimeMs > statSync(file).mtimeMs ? source : undefined
}
