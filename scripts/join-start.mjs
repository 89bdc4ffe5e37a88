import { rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'

const START = './start.js'

/**
 * Joins main.js's static imports in one file, start.js. esbuild spreads shared modules over many
 * files, and each file that Node reads at startup costs one millisecond.
 *
 * @param options the options of the build that wrote the files, without its plugins and its banner,
 * which are already applied
 * @param outputs the outputs in the metafile of that build
 * @returns the remaining files, with their bytes
 */
export async function joinStart(esbuild, options, outputs) {
  const joined = [...staticImports(outputs, 'build/main.js')]
  // Several modules may export the same name.
  const exportsOf = new Map(
    joined.map((path, i) => [
      `./${basename(path)}`,
      outputs[path].exports.map(name => ({ name, alias: `${name}_${i}` })),
    ]),
  )
  const others = Object.keys(outputs).filter(path => /\.js$/.test(path) && !joined.includes(path))
  // fromStart drops imports without names; esbuild would print a warning for each.
  const logOverride = { 'ignored-bare-import': 'silent' }
  const common = { ...options, splitting: false, write: false, logOverride }
  const builds = await Promise.all([
    esbuild.build({
      ...common,
      stdin: { contents: startOf(exportsOf), resolveDir: 'build' },
      outdir: undefined,
      outfile: 'build/start.js',
      plugins: [{ name: 'start', setup: build => onlyJoined(build, exportsOf) }],
    }),
    ...others.map(path =>
      esbuild.build({
        ...common,
        entryPoints: [path],
        plugins: [{ name: 'others', setup: build => fromStart(build, exportsOf) }],
      }),
    ),
  ])
  await Promise.all(joined.flatMap(path => [rm(path), rm(`${path}.map`)]))
  const files = builds.flatMap(({ outputFiles }) => outputFiles)
  await Promise.all(files.map(({ path, contents }) => writeFile(path, contents)))
  return files
}

function staticImports(outputs, path, found = new Set()) {
  for (const { path: imported, kind, external } of outputs[path].imports) {
    if (external || kind !== 'import-statement' || found.has(imported)) continue
    found.add(imported)
    staticImports(outputs, imported, found)
  }
  return found
}

const list = names => names.map(([from, to]) => `${from} as ${to}`).join(', ')

const startOf = exportsOf =>
  [...exportsOf]
    .map(
      ([file, names]) =>
        `export { ${list(names.map(({ name, alias }) => [name, alias]))} } from '${file}'`,
    )
    .join('\n')

/**
 * The plugin for start.js: modules outside start.js are external, because they are loaded later.
 */
function onlyJoined(build, exportsOf) {
  build.onResolve({ filter: /^\.\// }, ({ path, kind }) =>
    kind === 'entry-point' || exportsOf.has(path) ? undefined : { path, external: true },
  )
}

/** The plugin for the other files: imports of joined files become imports of start.js. */
function fromStart(build, exportsOf) {
  build.onResolve({ filter: /^\.\// }, ({ path, kind }) => {
    if (kind === 'entry-point') return undefined
    // esbuild drops an unused import of a file that is free of side effects.
    return exportsOf.has(path)
      ? { path, namespace: 'joined', sideEffects: false }
      : { path, external: true, sideEffects: path !== START }
  })
  build.onLoad({ filter: /.*/, namespace: 'joined' }, ({ path }) => ({
    contents: `export { ${list(
      exportsOf.get(path).map(({ name, alias }) => [alias, name]),
    )} } from '${START}'`,
  }))
}
