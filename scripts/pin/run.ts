// Fills in the digests of the images that are named by tag, by asking their registries:
//
//   npm run pin               writes them, or nothing where one of them cannot be had
//   npm run pin -- --check    writes nothing; fails where one is missing, or its tag has moved
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { filled, placesIn } from './places.ts'
import { parseImage, type Resolved, resolve } from './registry.ts'

const FILES = [
  'Dockerfile',
  'kserve/canary/Dockerfile',
  'compose.yaml',
  'monitoring/cluster/*.yaml',
  '.github/workflows/*.{yml,yaml}',
]

/** What we build for: a base of fewer would end the build of the others. */
const PLATFORMS = ['linux/amd64', 'linux/arm64']

const values = readOptions()
function readOptions(): { readonly check: boolean } {
  try {
    return parseArgs({ options: { check: { type: 'boolean', default: false } } }).values
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nnpm run pin [-- --check]\n`)
    process.exit(2)
  }
}

const texts = new Map(
  FILES.flatMap(pattern => globSync(pattern))
    .filter(path => existsSync(path))
    .sort()
    .map(path => [path, readFileSync(path, 'utf8')]),
)
const places = [...texts].flatMap(([path, text]) =>
  placesIn(path, text).map(place => ({ path, ...place })),
)
const images = [...new Set(places.map(({ image }) => image))]

const digests = new Map<string, string>()
const problems: string[] = []
await Promise.all(
  images.map(async image => {
    try {
      const resolved = await resolve(parseImage(image))
      checkPlatforms(image, resolved)
      digests.set(image, resolved.digest)
    } catch (error) {
      problems.push(`${image}: ${(error as Error).message}`)
    }
  }),
)

function checkPlatforms(image: string, { platforms }: Resolved): void {
  if (!places.some(place => place.image === image && place.isBase)) return
  const missing = PLATFORMS.filter(platform => !platforms?.includes(platform))
  if (missing.length > 0) throw new Error(`its tag has no image for ${missing.join(' and ')}`)
}

for (const { path, image, digest } of places) {
  const found = digests.get(image)
  const state =
    found === undefined
      ? `${digest ?? 'no digest'}, and the registry gave none`
      : digest === found
        ? digest
        : digest === undefined
          ? `no digest yet: ${found}`
          : `${digest} has moved: ${found}`
  process.stdout.write(`${path}: ${image} ${state}\n`)
}

if (problems.length > 0) {
  process.stderr.write(
    `${problems.sort().join('\n')}\n${values.check ? '' : 'Nothing was written.\n'}`,
  )
  process.exit(1)
}
const changed = [...texts].filter(([path, text]) => filled(path, text, digests) !== text)
if (values.check) {
  if (changed.length > 0)
    process.stderr.write('npm run pin fills in what is missing or has moved.\n')
  process.exit(changed.length === 0 ? 0 : 1)
}
for (const [path, text] of changed) writeFileSync(path, filled(path, text, digests))
process.stdout.write(
  changed.length === 0
    ? 'Nothing has changed.\n'
    : `Written: ${changed.map(([path]) => path).join(', ')}\n`,
)
