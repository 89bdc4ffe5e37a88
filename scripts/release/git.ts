import { execFileSync } from 'node:child_process'

/** Runs git to its end. @returns its output, trimmed @throws {Error} with git's message */
export const git = (...args: string[]): string =>
  execFileSync('git', args, { encoding: 'utf8', maxBuffer: 2 ** 26 }).trim()

/** The same; undefined if git fails, without its message. */
export function gitMaybe(...args: string[]): string | undefined {
  try {
    return execFileSync('git', args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return undefined
  }
}

/** Prints why a hook of `npm version` refuses, without a stack trace, and fails. */
export function refuse(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}
