import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Builds the native peers from their lock file.
 * @returns why the build failed, or undefined
 */
export async function buildNative(): Promise<string | undefined> {
  const cwd = fileURLToPath(new URL('native', import.meta.url))
  try {
    await promisify(execFile)('cargo', ['build', '--release', '--locked'], {
      cwd,
      timeout: 20 * 60_000,
      maxBuffer: 2 ** 26,
    })
    return undefined
  } catch (error) {
    const { code, stderr = '', message } = error as NodeJS.ErrnoException & { stderr?: string }
    if (code === 'ENOENT') return 'cargo is not installed (Rust)'
    return (stderr.trim().split('\n').at(-1) || message).slice(0, 300)
  }
}
