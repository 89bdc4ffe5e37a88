// Writes the files for production into a folder: the build, the shipped models, and ONNX Runtime's
// files for one platform (45 MB of 288 MB on Linux x64). In the image's copy of this folder,
// `node build/main.js` starts the function and `node build/predictor.js` KServe's predictor. Only ONNX
// Runtime's files depend on the architecture, so any machine can write the folder for another one.
//
//   npm run build && node scripts/production-tree.mjs FOLDER [x64 | amd64 | arm64]
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const target = process.argv[2]
// A builder without multi-platform support passes no platform.
const architecture = process.argv[3] || process.arch
if (target === undefined) {
  process.stderr.write(
    'FOLDER is missing\nusage: node scripts/production-tree.mjs FOLDER [ARCHITECTURE]\n',
  )
  process.exit(1)
}

const runtime = 'node_modules/onnxruntime-node'
const platforms = join('bin/napi-v6', process.platform)
// Container images call Node's x64 amd64.
const files = join(platforms, architecture === 'amd64' ? 'x64' : architecture)
if (!existsSync(join(runtime, files))) {
  const known = (await readdir(join(runtime, platforms))).join(' or ')
  process.stderr.write(
    `ONNX Runtime has no files for the architecture "${architecture}" on ${process.platform}; allowed: ${known}\n`,
  )
  process.exit(1)
}

await rm(target, { recursive: true, force: true })
await mkdir(target, { recursive: true })
// Only projects that import the package need the declarations.
await cp('build', join(target, 'build'), {
  recursive: true,
  filter: path => path !== join('build', 'types'),
})

for (const version of await readdir('models/iris')) {
  for (const file of ['model.onnx', 'model.json']) {
    await cp(join('models/iris', version, file), join(target, 'models/iris', version, file)).catch(
      ignoreMissing,
    )
  }
}

for (const part of ['package.json', files])
  await cp(join(runtime, part), join(target, runtime, part), { recursive: true })

const { name, version, type, engines, license, scripts } = JSON.parse(
  await readFile('package.json', 'utf8'),
)
const manifest = {
  name,
  version,
  license,
  type,
  engines,
  scripts: { start: scripts.start, 'start:predictor': scripts['start:predictor'] },
}
await writeFile(join(target, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)
await cp('LICENSE', join(target, 'LICENSE'))

process.stdout.write(`${target}: ${((await bytesIn(target)) / 1e6).toFixed(1)} MB\n`)

function ignoreMissing(error) {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
}

async function bytesIn(path) {
  const entry = await stat(path)
  if (!entry.isDirectory()) return entry.size
  const sizes = await Promise.all((await readdir(path)).map(child => bytesIn(join(path, child))))
  return sizes.reduce((sum, size) => sum + size, 0)
}
