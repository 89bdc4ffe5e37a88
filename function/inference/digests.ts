import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The piece hashed at once. It takes about a millisecond, which blocks all other answers. */
const PIECE_BYTES = 2 ** 20

/** SHA-256 digests in hexadecimal, by path in the model folder. */
export type Digests = Readonly<Record<string, string>>

/**
 * Checks the files of a model folder, weights included, before their content is used. Every file
 * needs a digest: only the graph knows which files it reads.
 */
export async function checkDigests(file: string, digests: Digests): Promise<void> {
  const folder = dirname(file)
  const wrong = (text: string) =>
    new Error(`the model does not match sha256 in model.json: ${text}`)
  const files = filesIn(folder).filter(name => name !== 'model.json')
  const missing = Object.keys(digests).find(name => !files.includes(name))
  if (missing !== undefined) throw wrong(`"${missing}" is missing`)
  for (const name of files) {
    if (!Object.hasOwn(digests, name))
      throw wrong(`it has no digest for "${name}"; every file beside the model needs one`)
    const digest = await digestOf(join(folder, name))
    if (digest !== digests[name]?.toLowerCase()) throw wrong(`"${name}" is ${digest}`)
  }
}

/**
 * Files by their paths in the folder. Follows links, except those by which Kubernetes replaces all
 * files at once (..data).
 */
function filesIn(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below)).flatMap(name => {
    if (name.startsWith('..')) return []
    const path = below === '' ? name : `${below}/${name}`
    return statSync(join(folder, path)).isDirectory() ? filesIn(folder, path) : [path]
  })
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES }))
    hash.update(piece)
  return hash.digest('hex')
}
