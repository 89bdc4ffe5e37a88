import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../templates/typescript/onnx', import.meta.url))

/**
 * Files that npm and the build create in the template's folder. They are not part of the template.
 */
const MADE = /^(?:node_modules|vendor)(?:[/\\]|$)|^model[/\\]transform\.js$/

/**
 * Returns the template's files, keyed by path. Each character is one byte (Latin-1), so that the
 * text can represent binary files, too. The build embeds the files, because npm would leave .npmrc
 * and .gitignore out of a tarball.
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
