import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const NAMES = ['transform.js', 'transform.mjs', 'transform.ts']

/** The server searches for a transform beside these files. */
interface Places {
  readonly file: string
  readonly modelJson: string
}

interface Settings {
  readonly transform: string | undefined
  /** Whether the model comes from a store: files beside it then do not belong to this project. */
  readonly isModelStored: boolean
}

export interface FoundTransform {
  readonly transform: string | undefined
  /** A transform that is not loaded, because it is beside a stored model. */
  readonly ignored: string | undefined
}

const NONE: FoundTransform = { transform: undefined, ignored: undefined }

/**
 * Finds the transform: the file that TRANSFORM names; else transform.js, transform.mjs or
 * transform.ts beside the model; else beside model.json. Ignores a file beside a stored model,
 * because a store of models must not supply code.
 * @throws {Error} if TRANSFORM does not name a file
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

/** If both exist, uses transform.js, the build of transform.ts. */
function fileIn(folder: string): string | undefined {
  return NAMES.map(name => join(folder, name)).find(isFile)
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** The path at which a built transform.js may have its TypeScript source. */
export const sourceOf = (file: string): string => file.replace(/\.m?js$/, '.ts')

/** Returns transform.ts if it has changed since transform.js was built. */
export function changedSource(file: string): string | undefined {
  const source = sourceOf(file)
  const written = statSync(source, { throwIfNoEntry: false })
  return written !== undefined && written.mtimeMs > statSync(file).mtimeMs ? source : undefined
}
