import { readFile } from 'node:fs/promises'

/** What the build has taken in of packages; build.mjs writes it. */
export const BUNDLED = 'build/bundled.json'

/**
 * The packages whose code production runs: those that are installed there, and those that the build
 * has taken in, which package.json therefore has among its devDependencies.
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
