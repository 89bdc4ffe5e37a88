import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The bytes hashed per step: about a millisecond, during which no request is processed. */
const PIECE_BYTES = 2 ** 20

/** SHA-256 in hexadecimal, keyed by path in the model folder. */
export type Digests = Readonly<Record<string, string>>

/**
 * Checks all files in a model folder before use. Every file needs a digest, because the graph may
 * read any file.
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
      throw wrong(`"${name}" has no digest; every file in the model folder needs a digest`)
    const digest = await digestOf(join(folder, name))
    if (digest !== digests[name]?.toLowerCase()) throw wrong(`"${name}" has the digest ${digest}`)
  }
}

/** Follows links, except those with which Kubernetes replaces all files at once (..data). */
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
