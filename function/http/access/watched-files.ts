import { readFileSync, watchFile } from 'node:fs'
import type { Log } from '../../telemetry/log.ts'

/** Interval between checks of a file; each is one stat(). */
const INTERVAL_MS = 1_000

/** Delay before the second look at a file that was empty, missing or unreadable. */
const AGAIN_MS = 2_000

/**
 * Hands over the contents of files now, and again each time one of them changes, until the process
 * ends. It polls with stat(), which follows links: Kubernetes updates a mounted Secret by pointing
 * a link at another folder, and a watch on the file itself would not see that.
 * @param named paths of the files, by the variable that names them
 * @param use throws if the contents are not valid; the previous contents then stay in use, and the
 *   log gives the reason
 * @param lose called if a file is empty or missing in two looks in a row, so somebody removed it. A
 *   single look may catch a rewrite in place. Without `lose`, the previous contents stay in use
 * @throws {Error} with a one-line message, if the first contents are not valid
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
  /** @param before why the previous look could not read the files */
  const look = (before?: Error) => {
    try {
      use(readAll(named))
      lost = false
      stop()
      log.info(`${names}: read again`)
    } catch (error) {
      const { message } = error as Error
      if (before === undefined) {
        const kept = lost ? 'no contents are in use' : 'the previous contents stay in use'
        log.error(`${names}: ${kept}: ${message}`)
      } else if (lose !== undefined && !lost && isMissing(before) && isMissing(error)) {
        lost = true
        lose()
        log.error(`${names}: the previous contents are no longer used: ${message}`)
      }
      if (!(error instanceof Unreadable)) stop()
      // A file can become readable again without any change that stat() shows.
      else if (before !== undefined || again === undefined)
        again = setTimeout(look, AGAIN_MS, error).unref()
    }
  }
  for (const [, path] of files)
    watchFile(path, { interval: INTERVAL_MS, persistent: false }, () => look())
}

/** A file is empty or cannot be read. */
class Unreadable extends Error {
  readonly code: string | undefined

  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

/** Without a code, the file is empty. Other codes, such as EMFILE, say nothing about the file. */
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
