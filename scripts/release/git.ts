import { execFileSync } from 'node:child_process'

/** @returns git's output, trimmed @throws {Error} with git's message */
export const git = (...args: string[]): string =>
  execFileSync('git', args, { encoding: 'utf8', maxBuffer: 2 ** 26 }).trim()

/** @returns git's output, trimmed, or undefined if git fails */
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

/** Prints, without a stack trace, why an `npm version` hook refuses the release, then exits. */
export function refuse(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}
