// Bundles function/ and kserve/ into build/: a file to start each with, one for each part that is loaded later or in another thread,
// and what they share.
// Plain JavaScript, because `npm run prepare` may find any Node; it does nothing where the bundler is not installed, as in a
// production install of a tree that was built before.
import { readdir, readFile, rm } from 'node:fs/promises'

const esbuild = await import('esbuild').catch(() => undefined)
if (esbuild === undefined) {
  process.stderr.write('esbuild is not installed; build/ is left as it is\n')
  process.exit(0)
}

for (const name of await readdir('build').catch(() => [])) {
  if (!name.endsWith('.js.js')) await rm(`build/${name}`, { recursive: true })
}

const { engines } = JSON.parse(await readFile('package.json', 'utf8'))
const leastNode = engines.node.replace('>=', '')

/** Runs before anything else of the build, on whatever Node there is; a Node that is too old would fail somewhere with a stack. */
function checkNode(process, least) {
  const [has, needs] = [process.versions.node, least].map(version => version.split('.').map(Number))
  if (has[0] > needs[0] || (has[0] === needs[0] && has[1] >= needs[1])) return
  const msg = `Node ${process.versions.node} is too old: ${least} or later is needed. "npm ci" installs one for "npm start", but not with NODE_ENV=production`
  process.stdout.write(`${JSON.stringify({ level: 60, time: new Date().toISOString(), msg })}\n`)
  process.exit(1)
}

const options = {
  outdir: 'build',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.18',
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: true,
  metafile: true,
  // Its native library is found beside it.
  external: ['onnxruntime-node/*'],
  plugins: [
    { name: 'builtins', setup: takeBuiltinsAsTheyAre },
    { name: 'pages', setup: inlinePages },
  ],
  // CommonJS packages in an ES module need require() for Node's own modules.
  banner: {
    js: [
      minify(`(${checkNode})(process, ${JSON.stringify(leastNode)});`),
      "const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);",
    ].join('\n'),
  },
}

function minify(code) {
  return esbuild.transformSync(code, { minify: true }).code.trim()
}

/** An ES import of Node's own modules reads every export of theirs, and some load whole subsystems when read: 2 ms of a start of 80. */
function takeBuiltinsAsTheyAre(build) {
  build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'builtin' }))
  build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
    contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
  }))
}

/** Bundles the pages now: production has no bundler. */
function inlinePages(build) {
  build.onLoad({ filter: /function[/\\]http[/\\]pages[/\\]html\.ts$/ }, async () => {
    const { bundlePage } = await import('../function/http/pages/bundle.mjs')
    const [docs, playground] = ['docs', 'playground'].map(name => JSON.stringify(bundlePage(name)))
    return {
      contents: `export const DOCS_HTML = ${docs}\nexport const PLAYGROUND_HTML = ${playground}`,
    }
  })
}

const builds = [
  await esbuild.build({
    ...options,
    entryPoints: {
      main: 'function/main.ts',
      predictor: 'kserve/predictor.ts',
      worker: 'function/inference/worker.ts',
    },
    splitting: true,
    chunkNames: '[name]-[hash]',
  }),
  // Alone: if it shared chunks with the function, the function's start would read more files.
  await esbuild.build({ ...options, entryPoints: { consumer: 'knative/consumer.ts' } }),
]

for (const [path, { bytes }] of builds.flatMap(({ metafile }) =>
  Object.entries(metafile.outputs),
)) {
  if (path.endsWith('.js')) process.stdout.write(`${path} ${(bytes / 1024).toFixed(0)} kB\n`)
}
