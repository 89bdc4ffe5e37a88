import { readFileSync, watchFile } from 'node:fs'
import type { Log } from '../../telemetry/log.ts'

/** How often a file is checked for changes, by one stat(). */
const INTERVAL_MS = 1_000

/**
 * Hands over the contents of files now, and again each time one of them changes, for as long as the
 * process lives. It polls by stat(), which follows links: Kubernetes changes a mounted Secret by
 * pointing a link to another folder, which a watch of the file itself would not see.
 * @param named the files' paths by their variables
 * @param use throws where the contents are not valid: then the contents before stay in use, and the
 *   log says why
 * @throws {Error} of one line, when they are not valid at first
 */
export function watchFiles<Name extends string>(
  named: Readonly<Record<Name, string>>,
  use: (contents: Readonly<Record<Name, string>>) => void,
  log: Log,
): void {
  const files = Object.entries<string>(named)
  const names = Object.keys(named).join(', ')
  const read = () =>
    use(
      Object.fromEntries(files.map(([name, path]) => [name, readText(name, path)])) as Record<
        Name,
        string
      >,
    )
  try {
    read()
  } catch (error) {
    throw new Error(`${names}: ${(error as Error).message}`)
  }
  const onChange = () => {
    try {
      read()
      log.info(`${names}: read again`)
    } catch (error) {
      log.error(`${names}: the contents before stay in use: ${(error as Error).message}`)
    }
  }
  for (const [, path] of files)
    watchFile(path, { interval: INTERVAL_MS, persistent: false }, onChange)
}

function readText(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(`${name} ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}
