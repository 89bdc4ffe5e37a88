import { readFile } from 'node:fs/promises'

/** Packages that the build has bundled; written by build.mjs. */
export const BUNDLED = 'build/bundled.json'

/**
 * The packages whose code production runs: the installed ones, and the bundled ones, which
 * package.json therefore lists as devDependencies.
 *
 * @returns names and versions, by their places in package-lock.json
 */
export async function shippedPackages() {
  const { packages } = JSON.parse(await readFile('package-lock.json', 'utf8'))
  const bundled = new Set(JSON.parse(await readBundled()))
  return new Map(
    Object.entries(packages)
      .filter(([path, { dev }]) => path !== '' && (dev !== true || bundled.has(path)))
      .map(([path, { version }]) => [path, { name: path.split('node_modules/').at(-1), version }]),
  )
}

async function readBundled() {
  try {
    return await readFile(BUNDLED, 'utf8')
  } catch {
    throw new Error(`${BUNDLED} is missing: "npm run build" writes it`)
  }
}

/** The packages that a bundle was made from. @param inputs of esbuild's metafile */
export const packagesOf = inputs =>
  [
    ...new Set(
      Object.keys(inputs).flatMap(
        path => /^node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
      ),
    ),
  ].sort()
