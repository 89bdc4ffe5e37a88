import { readFile } from 'node:fs/promises'

/** The file in which build.mjs lists the packages that it has bundled. */
export const BUNDLED = 'build/bundled.json'

/**
 * The packages whose code production runs: installed, or bundled from devDependencies.
 * @returns names and versions, by their keys in package-lock.json
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
    throw new Error(`${BUNDLED} does not exist: run "npm run build", which writes it`)
  }
}

/** @param inputs the inputs of esbuild's metafile */
export const packagesOf = inputs =>
  [
    ...new Set(
      Object.keys(inputs).flatMap(
        path => /^node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
      ),
    ),
  ].sort()
