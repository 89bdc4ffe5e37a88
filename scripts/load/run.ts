import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import manifest from './package.json' with { type: 'json' }
import { type Period, page, shares } from './report.ts'

/*
 * `node scripts/load/run.ts SCENARIO [--env ENVIRONMENT]` installs Artillery if it is missing,
 * starts this server unless there is another target, runs the scenario of artillery.yml, and draws
 * charts of the run.
 */

const HELP = `node scripts/load/run.ts SCENARIO [--env local|knative|kserve] [--report FILE]

  SCENARIO       cold, steady, ramp, spike, mixed or canary
  --env          an environment in artillery.yml (local). local starts the built server, unless TARGET is set;
                 the scenario cold starts it under systemd-socket-activate
  --report FILE  the file for the page of charts (load-SCENARIO.html in the temporary folder)

Environment variables:
  TARGET=URL         the address of another server
  HOST_HEADER=NAME   the Host header, if it differs from the address
  MODEL=NAME         the model (iris-classifier)
  WAKE_UPS=20        how often the scenario cold wakes the function up
  SLEEP_SECONDS=150  how long the scenario cold waits until the function has scaled to zero
`

interface Script {
  readonly config: {
    readonly environments: Readonly<Record<string, { readonly target: string }>>
  }
  readonly scenarios: readonly { readonly name: string }[]
  readonly 'x-load': Readonly<Record<string, object>>
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const project = here('../..')
const say = (text: string) => process.stderr.write(`${text}\n`)

/**
 * Reads the version from the folder: npm would take as long to check the installation as to repeat
 * it.
 */
function install(): void {
  const installed = here('node_modules/artillery/package.json')
  if (
    existsSync(installed) &&
    JSON.parse(readFileSync(installed, 'utf8')).version === manifest.dependencies.artillery
  )
    return
  say(
    `installing Artillery ${manifest.dependencies.artillery} (460 MB) into scripts/load/node_modules`,
  )
  execFileSync('npm', ['ci', '--silent'], {
    cwd: here('.'),
    stdio: 'inherit',
    env: { ...process.env, PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: '1' },
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Starts the built server, or for `cold` its socket. @returns its address, once it is ready */
async function serve(scenario: string): Promise<{ process: ChildProcess; target: string }> {
  const port = await freePort()
  const node = [process.execPath, 'build/main.js']
  const [command = '', ...args] =
    scenario === 'cold' ? [here('../systemd/activate.sh'), `127.0.0.1:${port}`, ...node] : node
  const env = {
    ...process.env,
    PORT: `${port}`,
    LISTEN_HOST: '127.0.0.1',
    ...(scenario === 'cold' ? { IDLE_EXIT_SECONDS: '1' } : {}),
  }
  const child = spawn(command, args, { cwd: project, env, stdio: ['ignore', 'ignore', 'inherit'] })
  const target = `http://127.0.0.1:${port}`
  const deadline = performance.now() + 20_000
  while (performance.now() < deadline && child.exitCode === null) {
    if (
      await fetch(`${target}/v2/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return { process: child, target }
    await wait(50)
  }
  child.kill()
  throw new Error(
    `the server was not ready within 20 s: ${command} ${args.join(' ')} (did you run npm run build?)`,
  )
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      env: { type: 'string', default: 'local' },
      report: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  install()
  const { parse } = (await import('yaml')) as { parse(text: string, options: object): unknown }
  const script = parse(readFileSync(join(project, 'artillery.yml'), 'utf8'), {
    merge: true,
  }) as Script
  const [scenario = ''] = positionals
  if (values.help || !script.scenarios.some(({ name }) => name === scenario)) throw new Error(HELP)
  const environment = script.config.environments[values.env]
  if (environment === undefined)
    throw new Error(
      `unknown --env "${values.env}"; artillery.yml defines ${Object.keys(script.config.environments).join(', ')}`,
    )
  const chosen = script['x-load'][scenario]
  const own =
    values.env === 'local' && process.env.TARGET === undefined ? await serve(scenario) : undefined
  const target = own?.target ?? process.env.TARGET ?? environment.target
  const folder = mkdtempSync(join(tmpdir(), 'onnx-function-load-'))
  try {
    const output = join(folder, 'recorded.json')
    const options = [
      'run',
      '--environment',
      values.env,
      '--scenario-name',
      `^${scenario}$`,
      '--output',
      output,
    ]
    if (chosen !== undefined) options.push('--overrides', JSON.stringify({ config: chosen }))
    say(`${scenario} on ${target}`)
    const artillery = spawn(
      process.execPath,
      [here('node_modules/artillery/bin/run'), ...options, 'artillery.yml'],
      {
        cwd: project,
        stdio: 'inherit',
        env: {
          ...process.env,
          TARGET: target,
          ARTILLERY_DISABLE_TELEMETRY: '1',
        },
      },
    )
    const [code] = await once(artillery, 'exit')
    if (!existsSync(output)) return code ?? 1
    const report = values.report ?? join(tmpdir(), `load-${scenario}.html`)
    mkdirSync(join(report, '..'), { recursive: true })
    const { aggregate, intermediate } = JSON.parse(readFileSync(output, 'utf8')) as {
      aggregate: Period
      intermediate: readonly Period[]
    }
    for (const line of shares(aggregate.counters)) say(line)
    writeFileSync(report, page(`${scenario} on ${target}`, intermediate))
    say(`\nreport: ${report}`)
    return code ?? 1
  } finally {
    own?.process.kill()
    rmSync(folder, { recursive: true })
  }
}

main().then(
  code => process.exit(code),
  (error: Error) => {
    say(error.message)
    process.exit(1)
  },
)
