import { spawnSync } from 'node:child_process'

/** Runs git to its end. @returns what it printed, trimmed @throws {Error} with what it complained about */
export function git(...args: string[]): string {
  const { stdout, stderr, status, error } = spawnSync('git', args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  if (error !== undefined) throw new Error(`git is needed to make a release: ${error.message}`)
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr.trim()}`)
  return stdout.trim()
}

/** The same, undefined where git says no. */
export function gitMaybe(...args: string[]): string | undefined {
  try {
    return git(...args)
  } catch {
    return undefined
  }
}
