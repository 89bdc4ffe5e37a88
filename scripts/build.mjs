// Bundles function/ and kserve/ into build/: one file per program, one per part that is loaded
// later or in another thread, and shared chunks. This is JavaScript, because `npm run prepare` may
// run on a Node without TypeScript support. Without esbuild, as in a production install, changes
// nothing.
import { existsSync } from 'node:fs'
import { cp, readdir, rm, writeFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { relative } from 'node:path'

const esbuild = await import('esbuild').catch(() => undefined)
if (esbuild === undefined) {
  process.stderr.write('esbuild is not installed: build/ was not changed\n')
  process.exit(0)
}

for (const name of await readdir('build').catch(() => [])) {
  if (!name.endsWith('.js.js')) await rm(`build/${name}`, { recursive: true })
}

/** The modules that a project imports from the package. */
const PACKAGE = 'function/package.ts'
const KNATIVE = 'function/index.ts'

const minified = { minifySyntax: true, minifyWhitespace: true }
// Bundled CommonJS packages call require(), which ES modules do not have, for Node's own modules.
const requireInModules =
  "const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);"
const options = {
  outdir: 'build',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.18',
  ...minified,
  sourcemap: true,
  metafile: true,
  // onnxruntime-node loads its native library from its own folder.
  external: ['onnxruntime-node/*'],
  plugins: [
    { name: 'builtins', setup: loadBuiltinsAtFirstUse },
    { name: 'pages', setup: inlinePages },
    { name: 'template', setup: inlineTemplate },
  ],
  banner: { js: await banner() },
}

/**
 * The first code of each file. It reports only a Node without getBuiltinModule, which is too old to
 * reach process.ts's check. That complete check in each file added 3 ms to the startup time.
 */
async function banner() {
  const line =
    '{ level: 60, msg: "Node " + process.versions.node + " is too old: Node 22.18 or later is required" }'
  const check = `process.getBuiltinModule || (console.log(JSON.stringify(${line})), process.exit(1));`
  return (await esbuild.transform(`${check}${requireInModules}${builtin}`, minified)).code
}

/**
 * Changes `import { gunzip } from 'node:zlib'` so that it loads node:zlib when gunzip is first
 * used. A real import loads subsystems at once: node:http loads undici, and the imports of
 * OpenTelemetry's exporters cost 30 ms and 9 MiB. Each importer gets its own module, because a
 * shared one would be one more file to read at startup. Functions must be imported by name: a
 * default import cannot be called.
 */
function loadBuiltinsAtFirstUse(build) {
  const filter = new RegExp(`^(?:node:)?(?:${builtinModules.join('|')})$`)
  build.onResolve({ filter }, ({ path, importer, kind }) =>
    kind === 'require-call'
      ? undefined
      : { path, namespace: kind, suffix: `?${relative('.', importer)}` },
  )
  build.onLoad({ filter: /.*/, namespace: 'import-statement' }, ({ path }) => ({
    contents: `module.exports = builtin(${JSON.stringify(path)})`,
  }))
  // Because of the export `then`, import() treats this module as a promise, which resolves to
  // Node's module.
  build.onLoad({ filter: /.*/, namespace: 'dynamic-import' }, ({ path }) => ({
    contents: `export const then = use => use(process.getBuiltinModule(${JSON.stringify(path)}))`,
  }))
}

/**
 * The banner contains this function's source.
 * @returns an object that loads each export of one of Node's modules when it is first used
 */
function builtin(name) {
  const get = (_, key, importer) => {
    const value = process.getBuiltinModule(name)[key]
    Object.defineProperty(importer, key, { value })
    return value
  }
  return Object.create(new Proxy({}, { get }))
}

/** Inserts the pages into the code, because production has no bundler. */
function inlinePages(build) {
  build.onLoad({ filter: /function[/\\]http[/\\]pages[/\\]html\.ts$/ }, async () => {
    const { bundlePage } = await import('../function/http/pages/bundle.mjs')
    const [docs, playground] = ['docs', 'playground'].map(name => JSON.stringify(bundlePage(name)))
    return {
      contents: `export const DOCS_HTML = ${docs}\nexport const PLAYGROUND_HTML = ${playground}`,
    }
  })
}

/** The files of a new project, for `onnx-function init`. */
function inlineTemplate(build) {
  build.onLoad({ filter: /function[/\\]cli[/\\]template-files\.ts$/ }, async () => {
    const { readTemplate } = await import('../function/cli/template.mjs')
    return { contents: `export const FILES = ${JSON.stringify(readTemplate())}` }
  })
}

const together = await esbuild.build({
  ...options,
  entryPoints: {
    main: 'function/main.ts',
    package: PACKAGE,
    index: KNATIVE,
    predictor: 'kserve/predictor.ts',
    worker: 'function/inference/worker.ts',
    measure: 'scripts/check-model/measure.ts',
  },
  splitting: true,
  chunkNames: '[name]-[hash]',
})
// The consumer shares little code with the function, so it is built separately.
const consumer = await esbuild.build({
  ...options,
  entryPoints: { consumer: 'knative/consumer.ts' },
})
// Authors' transforms import this module as `onnx-function` (function/transform/load.ts). It shares
// no classes with the server, which recognizes errors by their codes.
await esbuild.build({ ...options, entryPoints: { transform: 'function/transform/exports.ts' } })

const { BUNDLED, packagesOf } = await import('./shipped.mjs')
const inputs = { ...together.metafile.inputs, ...consumer.metafile.inputs }
await writeFile(BUNDLED, JSON.stringify(packagesOf(inputs)))

const { joinStart } = await import('./join-start.mjs')
const { plugins: _plugins, banner: _banner, ...rest } = options
const files = await joinStart(esbuild, rest, together.metafile.outputs)
for (const { path, contents } of files) {
  if (path.endsWith('.js'))
    process.stdout.write(`${relative('.', path)} ${(contents.length / 1024).toFixed(0)} kB\n`)
}

// The image's build has no TypeScript compiler, and the image needs no declarations.
if (existsSync('node_modules/typescript')) {
  const { writeDeclarations } = await import('./declarations.mjs')
  await writeDeclarations([PACKAGE, KNATIVE], 'build/types')
}

// ONNX Runtime's text operators load the locale en_US.UTF-8 but use only its character classes.
// Every image contains C.UTF-8, which has the same character classes. Without glibc's files, the
// build omits the locale.
const letters = '/usr/lib/locale/C.utf8'
await cp(letters, 'build/locale/en_US.utf8', { recursive: true, dereference: true }).catch(
  error => {
    if (error.code !== 'ENOENT') throw error
    process.stdout.write(`the build has no locale for text models: ${letters} does not exist\n`)
  },
)
