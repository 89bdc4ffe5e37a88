// Copies the function in the current folder (a Git repository) to FOLDER, and runs the steps of func's
// builders. Prints the sizes, and starts the copy as a pod would: with package.json's start command,
// as an unprivileged user, on a free port.
//
//   node scripts/buildpack.mjs FOLDER [pack | s2i]
//
// The steps are those of paketo-buildpacks/npm-install (build.go, ci_build_process.go,
// prune_build_process.go), paketo-buildpacks/node-run-script and sclorg/s2i-nodejs-container
// (24-minimal/s2i/bin/assemble).
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

/** The user in source-to-image's images. */
const UNPRIVILEGED = 1001

const [folder, builder = 'pack'] = process.argv.slice(2)
if (folder === undefined || !['pack', 's2i'].includes(builder)) {
  process.stderr.write(
    'FOLDER is missing, or the builder is unknown\nusage: node scripts/buildpack.mjs FOLDER [pack | s2i]\n',
  )
  process.exit(1)
}
const target = resolve(folder)
const run = (command, args, env = {}) =>
  execFileSync(command, args, {
    cwd: target,
    env: {
      ...clean(process.env),
      ONNXRUNTIME_NODE_INSTALL: buildEnv('ONNXRUNTIME_NODE_INSTALL'),
      ...env,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  })

// `func` uploads every file, tracked or not, except those in .funcignore.
rmSync(target, { recursive: true, force: true })
const listed = (...args) =>
  execFileSync('git', ['ls-files', '-z', ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 })
    .split('\0')
    .filter(Boolean)
const ignored = new Set(listed('--cached', '--ignored', '--exclude-from=.funcignore'))
const files = listed('--cached', '--others', '--exclude-from=.funcignore').filter(
  path => !ignored.has(path),
)
for (const path of files) {
  mkdirSync(dirname(join(target, path)), { recursive: true })
  cpSync(path, join(target, path))
}

const buildEnv = name =>
  new RegExp(`name: ${name}\\n\\s+value: (\\S+)`).exec(readFileSync('func.yaml', 'utf8'))?.[1]
const scripts = buildEnv('BP_NODE_RUN_SCRIPTS')?.split(',') ?? []
if (builder === 'pack') {
  // The buildpack installs development dependencies only if it has to run a script.
  run('npm', ['ci', '--unsafe-perm'], {
    NODE_ENV: scripts.length > 0 ? 'development' : 'production',
  })
  for (const script of scripts) run('npm', ['run-script', script], { NODE_ENV: 'development' })
} else {
  run('npm', ['install'], { NODE_ENV: 'development' })
  run('npm', ['run', 'build', '--if-present'], { NODE_ENV: 'production' })
}
run('npm', ['prune'], { NODE_ENV: 'production' })

const modules = bytesIn(join(target, 'node_modules'))
const all = bytesIn(target)
process.stdout.write(
  `${target}: ${toMegabytes(all)} MB: node_modules ${toMegabytes(modules)} MB, other files ${toMegabytes(all - modules)} MB\n`,
)
process.stdout.write(`${await started()}\n`)

async function started() {
  const [command, ...args] = JSON.parse(
    readFileSync(join(target, 'package.json'), 'utf8'),
  ).scripts.start.split(' ')
  const user = process.getuid() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}
  const child = spawn(command === 'node' ? process.execPath : command, args, {
    cwd: target,
    env: {
      PORT: '0',
      LISTEN_HOST: '127.0.0.1',
      NODE_ENV: 'production',
      KUBERNETES_SERVICE_HOST: 'none',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 60_000,
    ...user,
  })
  const exited = once(child, 'exit')
  let url
  for await (const line of createInterface({ input: child.stdout })) {
    url = JSON.parse(line).url
    if (url !== undefined) break
    process.stdout.write(`${line}\n`)
  }
  if (url === undefined) throw new Error('the function exited before it was ready')
  const body =
    '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
  const { models } = await (await fetch(`${url}/v2/models`)).json()
  const answer = await fetch(`${url}/v2/models/${models[0]}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const [, { data }] = (await answer.json()).outputs
  child.kill('SIGTERM')
  const [code, signal] = await exited
  if (code !== 0)
    throw new Error(`after SIGTERM, the function exited with ${code ?? signal}; expected 0`)
  return `started by "${[command, ...args].join(' ')}" as user ${user.uid ?? process.getuid()} on ${url}: predicted ${data}; exited with 0 after SIGTERM`
}

/** npm sets variables for its scripts, which would affect npm in the copy. */
function clean(env) {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !/^npm_(?!config_(registry|cache))/i.test(name) && name !== 'NODE_ENV',
    ),
  )
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
