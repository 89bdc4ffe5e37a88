import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Esbuild from 'esbuild'
import { loadTransform } from '../transform/load.ts'
import { standaloneValidate } from '../transform/standalone.ts'
import { readArguments, Usage } from './usage.ts'

const HELP = `Bundles a transform and its imports into one JavaScript file.

  onnx-function build [TRANSFORM] [--out FILE]

TRANSFORM   the transform's file, or the folder that contains it; default: the folder model
--out FILE  the file to write; default: transform.js in the folder of the transform
--help      shows this help

The bundle includes a compiled check of the transform's input schema, but not onnx-function or packages
with native code: they must be in node_modules where the bundle runs. The command lists the packages
with native code. It needs esbuild in the project: npm i --save-dev esbuild
`

const SOURCES = ['transform.ts', 'transform.mts', 'transform.mjs', 'transform.js']

export async function build(args: readonly string[]): Promise<void> {
  const { values, positionals } = readArguments(args, {
    options: { out: { type: 'string', short: 'o' }, help: { type: 'boolean', short: 'h' } },
    positionals: 1,
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const source = sourceIn(resolve(positionals[0] ?? 'model'))
  const target = resolve(values.out ?? join(dirname(source), 'transform.js'))
  if (source === target)
    throw new Usage(
      `the bundle would overwrite its source ${relative('.', source)}; name another file with --out FILE`,
    )
  const { code, kept } = await bundle(source, await loadBundler(source))
  writeFileSync(target, code)
  const size = `${(Buffer.byteLength(code) / 1024).toFixed(1)} kB`
  const native =
    kept.length === 0
      ? ''
      : `; these packages are not bundled and must be in node_modules: ${kept.join(', ')}`
  process.stdout.write(`${relative('.', target)}: ${size}${native}\n`)
}

function sourceIn(path: string): string {
  const entry = statSync(path, { throwIfNoEntry: false })
  if (entry === undefined) throw new Usage(`not found: ${path}`)
  if (!entry.isDirectory()) return path
  const source = SOURCES.map(name => join(path, name)).find(file => existsSync(file))
  if (source === undefined) throw new Usage(`${path} contains none of ${SOURCES.join(', ')}`)
  return source
}

/**
 * Loads esbuild from the project. Serving does not need esbuild, so this package does not depend on
 * it.
 * @throws {Error} if esbuild is not installed
 */
async function loadBundler(source: string): Promise<typeof Esbuild> {
  for (const from of [source, join(process.cwd(), 'package.json')]) {
    try {
      const file = createRequire(from).resolve('esbuild')
      return (await import(pathToFileURL(file).href)).default
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  throw new Error('esbuild is not installed: npm i --save-dev esbuild')
}

interface Bundle {
  readonly code: string
  readonly kept: readonly string[]
}

/** CommonJS packages call require(), which ES modules lack. */
const REQUIRE = `import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);`

async function bundle(source: string, esbuild: typeof Esbuild): Promise<Bundle> {
  const { author } = await loadTransform(source)
  const validate = author.input === undefined ? '' : await standaloneValidate(author.input)
  const kept = new Set<string>()
  const entry = `export { default } from ${JSON.stringify(source)}${validate === '' ? '' : `\nexport { validate } from 'validate'`}`
  const { outputFiles, warnings } = await esbuild.build({
    stdin: { contents: entry, resolveDir: dirname(source), loader: 'js' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node22.18',
    external: ['onnx-function'],
    banner: { js: REQUIRE },
    logLevel: 'silent',
    plugins: [
      { name: 'native', setup: build => keepNative(build, kept) },
      { name: 'validate', setup: build => provide(build, validate) },
    ],
  })
  for (const { text } of warnings) process.stderr.write(`onnx-function build: ${text}\n`)
  return { code: outputFiles[0]?.text ?? '', kept: [...kept].sort() }
}

/** Makes `import … from 'validate'` load `code`. */
function provide(build: Esbuild.PluginBuild, code: string): void {
  build.onResolve({ filter: /^validate$/ }, ({ path, importer }) =>
    importer === '<stdin>' ? { path, namespace: 'validate' } : undefined,
  )
  build.onLoad({ filter: /.*/, namespace: 'validate' }, () => ({ contents: code }))
}

const PACKAGE_NAME = /^(?:@[^/]+\/)?[^./][^/]*/

function keepNative(build: Esbuild.PluginBuild, kept: Set<string>): void {
  build.onResolve({ filter: /^[^./]/ }, ({ path, resolveDir }) => {
    const [name] = PACKAGE_NAME.exec(path) ?? []
    if (name === undefined || path.startsWith('node:')) return undefined
    const folder = packageFolder(name, resolveDir)
    if (folder === undefined || !isNative(folder)) return undefined
    kept.add(name)
    return { path, external: true }
  })
}

/** Finds a package's folder as Node does: in the node_modules beside `from` or above. */
function packageFolder(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return candidate
    if (folder === dirname(folder)) return undefined
  }
}

/** Packages that load the native code of their dependents. */
const LOADERS = [
  'bindings',
  'node-gyp-build',
  'node-pre-gyp',
  '@mapbox/node-pre-gyp',
  'prebuild-install',
]

/**
 * Native packages have a binding.gyp, a .node file, a loader, or one optional package per platform
 * (napi-rs).
 */
function isNative(folder: string): boolean {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const { gypfile, napi, binary, dependencies = {}, optionalDependencies = {} } = manifest
  if (gypfile || napi || binary) return true
  if (LOADERS.some(name => Object.hasOwn(dependencies, name))) return true
  const platforms = /(?:linux|darwin|win32)[-_](?:x64|arm64)/
  if (Object.keys(optionalDependencies).some(name => platforms.test(name))) return true
  return readdirSync(folder, { recursive: true }).some(file =>
    /\.node$|(?:^|[/\\])binding\.gyp$/.test(String(file)),
  )
}
