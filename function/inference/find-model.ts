import { readdirSync, type Stats, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { unreadable } from './file-kind.ts'

export interface FoundModel {
  readonly file: string
  readonly modelJson: string
  readonly name: string
  /** The number of the model's folder, as in Triton's model repositories. */
  readonly version: string | undefined
}

/**
 * Finds the model: the file at `modelDir`, or in the folder at `modelDir` the first of
 * - model.onnx, or the only .onnx file
 * - the same in the folder with the highest number (Triton, OpenVINO, ModelMesh)
 * - the same in onnx/ (Hugging Face)
 * - the only .onnx file in all subfolders
 * @throws {Error} with one line that lists the files found
 */
export function findModel(modelDir: string): FoundModel {
  if (modelDir.includes('://'))
    throw new Error(
      `no model: MODEL_DIR is the URL ${modelDir}, but this server does not download models. In KServe, set storageUri; elsewhere, put the model into the image or on a volume, and set MODEL_DIR to its folder`,
    )
  const path = resolve(modelDir)
  if (isModel(path) && isFile(path)) return namedFile(path)
  const names = namesIn(path)
  // Most folders contain model.onnx: skip the search.
  if (names.includes('model.onnx') && isFile(join(path, 'model.onnx')))
    return {
      file: join(path, 'model.onnx'),
      modelJson: join(path, 'model.json'),
      name: basename(path),
      version: undefined,
    }
  return withinFolder(path)
}

// A case-insensitive regular expression would cost 0.2 ms at startup.
const isModel = (name: string) => name.toLowerCase().endsWith('.onnx')

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    // The code that reads the file reports the error.
    return false
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    const isOther = (error as NodeJS.ErrnoException).code === 'ENOTDIR'
    throw new Error(
      `no model: MODEL_DIR ${folder} ${isOther ? 'is neither a folder nor a .onnx file' : unreadable(error)}`,
    )
  }
}

function namedFile(file: string): FoundModel {
  const folder = dirname(file)
  const own = basename(file).slice(0, -'.onnx'.length)
  return {
    file,
    modelJson: join(folder, 'model.json'),
    name: own.toLowerCase() === 'model' ? basename(folder) : own,
    version: undefined,
  }
}

function withinFolder(folder: string): FoundModel {
  const tree = new Tree(folder)
  const numbered = tree.folders
    .filter(name => /^\d+$/.test(name))
    .sort((one, other) => Number(other) - Number(one))
  for (const below of ['', ...numbered, 'onnx']) {
    const file = tree.modelIn(below)
    if (file !== undefined) return tree.found(file, numbered.includes(below) ? below : undefined)
  }
  const [only, ...others] = tree.models()
  if (only === undefined || others.length > 0) throw tree.refusal()
  return tree.found(only, undefined)
}

/** The depth of REPOSITORY/MODEL/1/model.onnx. */
const DEPTH = 3
const MOST_NAMED = 5

class Tree {
  readonly folders: readonly string[]
  readonly #folder: string
  #unread: Error | undefined

  constructor(folder: string) {
    this.#folder = folder
    this.folders = this.#entries('').folders
  }

  /**
   * Returns a subfolder's model: model.onnx, or the only .onnx file.
   * @throws {Error} if the subfolder contains several .onnx files and no model.onnx
   */
  modelIn(below: string): string | undefined {
    if (below !== '' && !this.folders.includes(below)) return undefined
    const models = this.#entries(below).files.filter(isModel)
    if (models.length === 0) return undefined
    const chosen = models.find(name => name.toLowerCase() === 'model.onnx')
    const name = models.length === 1 ? models[0] : chosen
    if (name === undefined) throw this.refusal()
    return join(below, name)
  }

  models(below = '', depth = DEPTH): string[] {
    const { files, folders } = this.#entries(below)
    const deeper = depth === 0 ? [] : folders
    return [
      ...files.filter(isModel).map(name => join(below, name)),
      ...deeper.flatMap(name => this.#modelsBelow(join(below, name), depth - 1)),
    ]
  }

  /** Ignores unreadable subfolders, which may be unrelated to models, such as lost+found. */
  #modelsBelow(below: string, depth: number): string[] {
    try {
      return this.models(below, depth)
    } catch (error) {
      this.#unread ??= error as Error
      return []
    }
  }

  found(file: string, version: string | undefined): FoundModel {
    const path = join(this.#folder, file)
    const beside = join(dirname(path), 'model.json')
    const above = join(this.#folder, 'model.json')
    return {
      file: path,
      modelJson: statSync(beside, { throwIfNoEntry: false }) === undefined ? above : beside,
      name: basename(this.#folder),
      version,
    }
  }

  refusal(): Error {
    const models = this.models()
    if (models.length === 0 && this.#unread !== undefined) return this.#unread
    const named = models.length > 0 ? models : this.#entries('').files
    const shown = named.slice(0, MOST_NAMED).join(', ')
    const more = named.length > MOST_NAMED ? ` and ${named.length - MOST_NAMED} more` : ''
    const has =
      models.length > 0
        ? `${models.length} .onnx files, but no model.onnx: ${shown}${more}. Set MODEL_DIR to one of these files`
        : `no .onnx file${named.length > 0 ? `; its files are ${shown}${more}` : ''}`
    return new Error(`no model: MODEL_DIR ${this.#folder} has ${has}`)
  }

  #entries(below: string): { readonly files: string[]; readonly folders: string[] } {
    const path = join(this.#folder, below)
    // Follow links. Skip names with a leading dot, which belong to Git or Kubernetes (..data).
    const entries = namesIn(path)
      .filter(name => !name.startsWith('.'))
      .sort()
      .map(name => ({ name, entry: entryAt(join(path, name)) }))
    return {
      files: entries.filter(({ entry }) => entry?.isFile()).map(({ name }) => name),
      folders: entries.filter(({ entry }) => entry?.isDirectory()).map(({ name }) => name),
    }
  }
}

/** Undefined if a link is broken or points to itself. */
function entryAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOOP') return undefined
    throw new Error(`no model: ${path} ${unreadable(error)}`)
  }
}
