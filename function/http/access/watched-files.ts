import { readFileSync, watchFile } from 'node:fs'
import type { Log } from '../../telemetry/log.ts'

/** How often a file is checked for changes, by one stat(). */
const INTERVAL_MS = 1_000

/** How long after a look that found a file empty, gone or not readable it is looked at again. */
const AGAIN_MS = 2_000

/**
 * Hands over the contents of files now, and again each time one of them changes, for as long as the
 * process lives. It polls by stat(), which follows links: Kubernetes changes a mounted Secret by
 * pointing a link to another folder, which a watch of the file itself would not see.
 * @param named the files' paths by their variables
 * @param use throws where the contents are not valid: then the contents before stay in use, and the
 *   log says why
 * @param lose called where a file is empty or gone at two looks in a row: somebody took it away. A
 *   single look may fall into a rewrite in place. Without it the contents before stay in use
 * @throws {Error} of one line, when they are not valid at first
 */
export function watchFiles<Name extends string>(
  named: Readonly<Record<Name, string>>,
  use: (contents: Readonly<Record<Name, string>>) => void,
  log: Log,
  lose?: () => void,
): void {
  const files = Object.entries<string>(named)
  const names = Object.keys(named).join(', ')
  try {
    use(readAll(named))
  } catch (error) {
    throw new Error(`${names}: ${(error as Error).message}`)
  }
  let again: NodeJS.Timeout | undefined
  let lost = false
  const stop = () => {
    clearTimeout(again)
    again = undefined
  }
  /** @param before why the look before this one could not read them */
  const look = (before?: Error) => {
    try {
      use(readAll(named))
      lost = false
      stop()
      log.info(`${names}: read again`)
    } catch (error) {
      const { message } = error as Error
      if (before === undefined) {
        const kept = lost ? 'no contents are in use' : 'the contents before stay in use'
        log.error(`${names}: ${kept}: ${message}`)
      } else if (lose !== undefined && !lost && isMissing(before) && isMissing(error)) {
        lost = true
        lose()
        log.error(`${names}: the contents before are not used any more: ${message}`)
      }
      if (!(error instanceof Unreadable)) stop()
      // No change would tell that a file can be read again.
      else if (before !== undefined || again === undefined)
        again = setTimeout(look, AGAIN_MS, error).unref()
    }
  }
  for (const [, path] of files)
    watchFile(path, { interval: INTERVAL_MS, persistent: false }, () => look())
}

/** A file holds nothing, or cannot be read. */
class Unreadable extends Error {
  readonly code: string | undefined

  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

/** Without a code it is empty. Any other code, such as EMFILE, tells nothing of the file. */
const isMissing = (error: unknown) =>
  error instanceof Unreadable && [undefined, 'ENOENT', 'ENOTDIR'].includes(error.code)

/** @throws {Unreadable} */
const readAll = <Name extends string>(named: Readonly<Record<Name, string>>) =>
  Object.fromEntries(
    Object.entries<string>(named).map(([name, path]) => [name, readText(name, path)]),
  ) as Record<Name, string>

function readText(name: string, path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Unreadable(`${name} ${path} cannot be read (${code})`, code)
  }
  if (text.trim() === '') throw new Unreadable('it is empty')
  return text
}
