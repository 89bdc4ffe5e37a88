// Does to a copy what func's builders do to the function in a container, and prints what that weighs; `node build/main.js` in it, or
// what else package.json starts, is then what a pod runs.
//
//   npm run buildpack -- FOLDER [pack | s2i]
//
// As read in paketo-buildpacks/npm-install (build.go, ci_build_process.go, prune_build_process.go), paketo-buildpacks/node-run-script
// and sclorg/s2i-nodejs-container (24-minimal/s2i/bin/assemble).
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const [folder, builder = 'pack'] = process.argv.slice(2)
if (folder === undefined || !['pack', 's2i'].includes(builder)) {
  process.stderr.write('which folder, and which builder? npm run buildpack -- FOLDER [pack | s2i]\n')
  process.exit(1)
}
const target = resolve(folder)
const run = (command, args, env = {}) =>
  execFileSync(command, args, { cwd: target, env: { ...clean(process.env), ...env }, stdio: ['ignore', 'inherit', 'inherit'] })

// What `func` hands over: every file here, tracked or not, that .funcignore does not name.
rmSync(target, { recursive: true, force: true })
const listed = (...args) =>
  execFileSync('git', ['ls-files', '-z', ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 })
    .split('\0')
    .filter(Boolean)
const ignored = new Set(listed('--cached', '--ignored', '--exclude-from=.funcignore'))
const files = listed('--cached', '--others', '--exclude-from=.funcignore').filter(path => !ignored.has(path))
for (const path of files) {
  mkdirSync(dirname(join(target, path)), { recursive: true })
  cpSync(path, join(target, path))
}

const scripts = /name: BP_NODE_RUN_SCRIPTS\n\s+value: (\S+)/.exec(readFileSync('func.yaml', 'utf8'))?.[1]?.split(',') ?? []
if (builder === 'pack') {
  // Only where a script is to run are development dependencies installed at all.
  run('npm', ['ci', '--unsafe-perm'], { NODE_ENV: scripts.length > 0 ? 'development' : 'production' })
  for (const script of scripts) run('npm', ['run-script', script], { NODE_ENV: 'development' })
} else {
  run('npm', ['install'], { NODE_ENV: 'development' })
  run('npm', ['run', 'build', '--if-present'], { NODE_ENV: 'production' })
}
run('npm', ['prune'], { NODE_ENV: 'production' })

const modules = bytesIn(join(target, 'node_modules'))
const all = bytesIn(target)
process.stdout.write(
  `${target}: ${toMegabytes(all)} MB, of which node_modules ${toMegabytes(modules)} MB and the rest ${toMegabytes(all - modules)} MB\n`,
)

/** What npm tells the scripts it runs would reach the npm in the copy. */
function clean(env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^npm_(?!config_(registry|cache))/i.test(name) && name !== 'NODE_ENV'))
}

function toMegabytes(bytes) {
  return (bytes / 1e6).toFixed(1)
}

function bytesIn(path) {
  const entry = statSync(path, { throwIfNoEntry: false })
  if (entry === undefined) return 0
  if (!entry.isDirectory()) return entry.size
  return readdirSync(path).reduce((sum, child) => sum + bytesIn(join(path, child)), 0)
}
