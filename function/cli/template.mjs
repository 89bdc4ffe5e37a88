import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../templates/typescript/onnx', import.meta.url))

/** Files of a project that the template does not have. */
const MADE = /^(?:node_modules|vendor)(?:[/\\]|$)|^model[/\\]transform\.js$/

/**
 * The files of the template, by their paths. Text of one character a byte holds binary files, too. A
 * tarball would leave out .npmrc and .gitignore, so that the build takes in all of them.
 */
export function readTemplate() {
  if (!existsSync(FOLDER)) return {}
  const files = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(FOLDER.length + 1))
    .filter(path => !MADE.test(path))
    .sort()
  return Object.fromEntries(
    files.map(path => [path.replaceAll('\\', '/'), readFileSync(join(FOLDER, path), 'latin1')]),
  )
}
