import { readFileSync, statSync } from 'node:fs'
import type { Log } from '../../telemetry/log.ts'

/** Each check is one stat() per file. */
const INTERVAL_MS = 1_000

/** The delay before another attempt to read a file that was empty, missing or unreadable. */
const AGAIN_MS = 2_000

/**
 * Reads files now, and again after each change, until the process exits. Polls with stat(), which
 * follows links: Kubernetes updates a Secret by pointing a link at another folder, which a watch
 * would not notice. Node's watchFile() would miss a change between the first read and its own first
 * stat().
 * @param named paths, keyed by the variable with the path
 * @param use receives the contents. If it throws because they are not valid, the previous contents
 * stay in use, and the reason is logged
 * @param lose called if a file is empty or missing twice in a row: once may be a rewrite in place.
 * If absent, the previous contents stay in use
 * @throws {Error} if the first contents are not valid
 */
export function watchFiles<Name extends string>(
  named: Readonly<Record<Name, string>>,
  use: (contents: Readonly<Record<Name, string>>) => void,
  log: Log,
  lose?: () => void,
): void {
  const names = Object.keys(named).join(', ')
  const stamps = () => Object.values<string>(named).map(stampOf).join()
  let latest = stamps()
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
  /** @param before the error of the previous attempt to read the files, if it failed */
  const look = (before?: Error) => {
    try {
      use(readAll(named))
      lost = false
      stop()
      log.info(`${names}: the changed contents are now in use`)
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
      // A file can become readable again without a change that stat() shows.
      else if (before !== undefined || again === undefined)
        again = setTimeout(look, AGAIN_MS, error).unref()
    }
  }
  const check = () => {
    const before = latest
    latest = stamps()
    if (latest !== before) look()
  }
  setInterval(check, INTERVAL_MS).unref()
}

function stampOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch {
    return ''
  }
}

/** The file is empty or cannot be read. */
class Unreadable extends Error {
  readonly code: string | undefined

  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

/**
 * Without a code, the file is empty. Other codes, such as EMFILE, do not mean that the file is
 * missing.
 */
const isMissing = (error: unknown) =>
  error instanceof Unreadable && [undefined, 'ENOENT', 'ENOTDIR'].includes(error.code)

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
  if (text.trim() === '') throw new Unreadable(`${name} ${path} is empty`)
  return text
}
