import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { until } from '../../http/client.ts'
import { freePort, projectFolder, startProcess } from '../../server.ts'
import type { Fault, Row, Run } from './fault.ts'
import { keepAlive, post, QUESTIONS } from './flowers.ts'

const LONGEST_MS = 30 * 60_000
/** A folder with the built version to upgrade from; by default, the upgrade is skipped. */
const OLDER = process.env.UPGRADE_FROM
const INSTANCES = 3

const fault: Fault = {
  how: 'instances behind nginx, instances behind haproxy, and a single instance get TERM and restart, one at a time, under load',
  needs: {
    nginx: 'apt-get install nginx-light',
    haproxy: 'apt-get install haproxy',
    'systemd-socket-activate': 'apt-get install systemd',
  },
  async *rows(run) {
    yield behind(NGINX, run)
    yield behind(HAPROXY, run)
    yield alone(run)
    if (OLDER !== undefined) yield behind(upgradeFrom(OLDER), run)
  },
}
export default fault

/** No proxy retries, so that the test detects each lost request. */
interface Proxy {
  readonly what: string
  readonly command: readonly [program: string, ...args: string[]]
  readonly start: () => Promise<Instance>
  /** Written to `proxy.conf` in the working folder. */
  configuration(port: number, ports: readonly number[], folder: string): string
}

/** nginx does not check readiness: requests wait in systemd's socket for the next process. */
const NGINX: Proxy = {
  what: 'TERM behind nginx, with sockets held open by systemd',
  command: ['nginx', '-p', '.', '-c', 'proxy.conf'],
  start: () => startOnKeptSocket(),
  configuration: (
    port,
    ports,
    folder,
  ) => `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/a; uwsgi_temp_path ${folder}/b; scgi_temp_path ${folder}/c;
  upstream function {
${ports.map(port => `    server 127.0.0.1:${port};`).join('\n')}
    keepalive 8;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://function;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }
  }
}
`,
}

/**
 * haproxy checks readiness, like Kubernetes, and detects a change with a delay, during which the
 * instance accepts requests.
 */
const HAPROXY: Proxy = {
  what: 'TERM behind haproxy, which checks readiness',
  command: ['haproxy', '-db', '-q', '-f', 'proxy.conf'],
  start: () => startOnPort({ DRAIN_DELAY_MS: '1000' }),
  configuration: (port, ports) => `global
  maxconn 512
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 0
frontend callers
  bind 127.0.0.1:${port}
  default_backend function
backend function
  balance roundrobin
  option httpchk GET /health/readiness
  http-check expect status 200
  # On a busy machine, the response to a check may be late: that does not mean the instance is down.
  timeout check 2s
  default-server check inter 100ms fall 1 rise 1
${ports.map((port, i) => `  server function-${i} 127.0.0.1:${port}`).join('\n')}
`,
}

/**
 * Upgrades each instance from the older build with a symbolic link, with the drain times of
 * kubernetes/base.
 */
const upgradeFrom = (older: string): Proxy => ({
  ...NGINX,
  what: 'an upgrade behind nginx, with sockets held open by systemd',
  async start() {
    const folder = mkdtempSync(join(tmpdir(), 'upgrade-'))
    const program = join(folder, 'main.js')
    symlinkSync(join(older, 'build/main.js'), program)
    const env = { DRAIN_DELAY_MS: '10000', DRAIN_TIMEOUT_MS: '45000' }
    const instance = await startOnKeptSocket({ program, env })
    return {
      ...instance,
      terminate() {
        rmSync(program, { force: true })
        symlinkSync(join(projectFolder, 'build/main.js'), program)
        return instance.terminate()
      },
      kill() {
        instance.kill()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
})

async function behind(
  { what, command: [program, ...args], start, configuration }: Proxy,
  run: Run,
): Promise<Row> {
  const folder = mkdtempSync(join(tmpdir(), 'restarts-'))
  const instances: Instance[] = []
  let proxy: ChildProcess | undefined
  try {
    for (let i = 0; i < INSTANCES; i++) instances.push(await start())
    const port = await freePort()
    const ports = instances.map(({ port }) => port)
    writeFileSync(join(folder, 'proxy.conf'), configuration(port, ports, folder))
    proxy = spawn(program, args, { cwd: folder, stdio: 'inherit', timeout: LONGEST_MS })
    await until(`${program} forwards requests`, () => isReady(port))
    const load = startLoad(port, run.random)
    const restarts = await restart(instances, load, run, what)
    await load.stop()
    return {
      fault: what,
      counts: {
        restarts: restarts.length,
        instances: INSTANCES,
        responses: load.answered,
        'in flight at TERM': sum(restarts, ({ inFlight }) => inFlight),
        failed: load.failures.length,
      },
      claims: [nothingFailed(load), endedByThemselves(restarts)],
    }
  } finally {
    proxy?.kill('SIGTERM')
    for (const instance of instances) instance.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * A connection is idle after this time without a request: any server may close it (RFC 9112,
 * section 9.5), possibly just when the next request arrives.
 */
const AT_REST_MS = 100

/** A single instance, to which clients connect directly. */
async function alone(run: Run): Promise<Row> {
  const what = 'TERM of the only instance, with a socket held open by systemd'
  const instance = await startOnKeptSocket()
  try {
    const load = startLoad(instance.port, run.random)
    const restarts = await restart([instance], load, run, what)
    await load.stop()
    const { answered, failures } = load
    const inUse = failures.filter(({ rested }) => rested < AT_REST_MS)
    return {
      fault: what,
      counts: {
        restarts: restarts.length,
        responses: answered,
        'in flight at TERM': sum(restarts, ({ inFlight }) => inFlight),
        'with `Connection: close`': load.toldToClose,
        'failed on an idle connection': failures.length - inUse.length,
        'other failures': inUse.length,
      },
      claims: [
        nothingFailed({ answered, failures: inUse }, ' on a new connection or a connection in use'),
        {
          what: 'no connection in use closes unless the last response had `Connection: close`',
          measured: `${load.closedUntold}`,
          holds: load.closedUntold === 0 && load.toldToClose > 0,
        },
        endedByThemselves(restarts),
      ],
    }
  } finally {
    instance.kill()
  }
}

interface Instance {
  readonly port: number
  /** Sends TERM. @returns whether the instance exited with code 0 */
  terminate(): Promise<boolean>
  /** Resolves when the instance is ready again. */
  restart(): Promise<void>
  kill(): void
}

async function startOnPort(env: Record<string, string>): Promise<Instance> {
  const port = await freePort()
  const start = () => startProcess({ ...env, PORT: `${port}` }, [], LONGEST_MS, 'build/main.js')
  let server = await start()
  return {
    port,
    async terminate() {
      server.process.kill('SIGTERM')
      const [code, signal] = await server.exited
      return code === 0 && signal === null
    },
    async restart() {
      server = await start()
      await until('the instance is ready', () => isReady(port))
    },
    kill: () => void server.process.kill('SIGKILL'),
  }
}

/** Holds a socket open and starts the program at a connection, as systemd does. */
async function startOnKeptSocket({
  program = 'build/main.js',
  env = {},
}: {
  program?: string
  env?: Readonly<Record<string, string>>
} = {}): Promise<Instance> {
  const port = await freePort()
  const keeper = spawn(
    'scripts/systemd/activate.sh',
    [`127.0.0.1:${port}`, process.execPath, program],
    {
      cwd: projectFolder,
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LONGEST_MS,
    },
  )
  keeper.stderr.resume()
  let starts = 0
  createInterface({ input: keeper.stdout }).on('line', line => {
    if (JSON.parse(line).url !== undefined) starts++
  })
  let served = 0
  const hasStarted = () => until('the instance serves again', () => starts > served)
  await until('the instance is ready', () => isReady(port))
  await hasStarted()
  return {
    port,
    async terminate() {
      served = starts
      const pid = Number(readFileSync(`/proc/${keeper.pid}/task/${keeper.pid}/children`, 'utf8'))
      process.kill(pid, 'SIGTERM')
      await until('the instance has exited', () => !existsSync(`/proc/${pid}`), 60_000)
      // systemd-socket-activate also exits if the program failed.
      return keeper.exitCode === null
    },
    restart: hasStarted,
    kill: () => void keeper.kill('SIGTERM'),
  }
}

const isReady = (port: number) =>
  fetch(`http://127.0.0.1:${port}/health/readiness`).then(
    ({ ok }) => ok,
    () => false,
  )

interface Restart {
  readonly inFlight: number
  readonly endedWell: boolean
}

/** Restarts the instances in turn, after a random number of responses each. */
async function restart(
  instances: readonly Instance[],
  load: Load,
  { long, random, progress }: Run,
  what: string,
): Promise<Restart[]> {
  const restarts: Restart[] = []
  const times = long ? 100 : 4
  while (restarts.length < times) {
    const instance = instances[restarts.length % instances.length] as Instance
    await load.answers(20 + Math.floor(random() * 200))
    const { inFlight } = load
    const endedWell = await instance.terminate()
    await instance.restart()
    restarts.push({ inFlight, endedWell })
    if (restarts.length % 10 === 0)
      progress(
        `${what}: ${restarts.length} of ${times} restarts, ${load.answered} responses, ${load.failures.length} failed`,
      )
  }
  await load.answers(200)
  return restarts
}

/** The longest pauses between a response and the next request; some clients do not pause. */
const PAUSES_MS = [0, 0, 20, 700]
/** The pause of clients with a new connection per request. It limits the ports in use. */
const FRESH_PAUSE_MS = 50
const KEEPING = 12
const FRESH = 8

interface Failure {
  readonly message: string
  /** Milliseconds since the last response on the same connection; 0 on a new connection. */
  readonly rested: number
}

interface Load {
  readonly answered: number
  readonly inFlight: number
  readonly toldToClose: number
  readonly closedUntold: number
  readonly failures: readonly Failure[]
  answers(count: number): Promise<void>
  stop(): Promise<void>
}

/** Clients send requests, check each response, and never retry. */
function startLoad(port: number, random: () => number): Load {
  const failures: Failure[] = []
  let [answered, asked, inFlight, toldToClose, closedUntold] = [0, 0, 0, 0, 0]
  let stopped = false
  const progressed = new EventTarget()

  async function caller(longestPauseMs: number, keeps: boolean): Promise<void> {
    const agent = keeps && keepAlive(1)
    let told = true
    let restedAt = 0
    while (!stopped) {
      if (longestPauseMs > 0) await wait(random() * longestPauseMs)
      const n = asked++
      const question = (
        QUESTIONS[Math.floor(random() * QUESTIONS.length)] as (typeof QUESTIONS)[number]
      )(n)
      inFlight++
      const began = performance.now()
      try {
        const answer = await post(port, question.path, question, agent)
        if (answer.status !== 200)
          throw new Error(`got status ${answer.status}: ${answer.body.toString('utf8', 0, 200)}`)
        question.check(answer)
        if (longestPauseMs === 0 && !answer.reused && !told) closedUntold++
        told = answer.headers.connection === 'close'
        restedAt = performance.now()
        if (told && keeps) toldToClose++
        answered++
        progressed.dispatchEvent(new Event('answer'))
      } catch (error) {
        failures.push({ message: (error as Error).message, rested: told ? 0 : began - restedAt })
        told = true
      } finally {
        inFlight--
      }
    }
    if (agent) agent.destroy()
  }

  const callers = [
    ...Array.from({ length: KEEPING }, (_, i) =>
      caller(PAUSES_MS[i % PAUSES_MS.length] as number, true),
    ),
    ...Array.from({ length: FRESH }, () => caller(FRESH_PAUSE_MS, false)),
  ]
  return {
    get answered() {
      return answered
    },
    get inFlight() {
      return inFlight
    },
    get toldToClose() {
      return toldToClose
    },
    get closedUntold() {
      return closedUntold
    },
    failures,
    async answers(count) {
      const from = answered
      while (answered < from + count) await once(progressed, 'answer')
    },
    async stop() {
      stopped = true
      await Promise.all(callers)
    },
  }
}

const sum = <Item>(items: readonly Item[], of: (item: Item) => number) =>
  items.reduce((total, item) => total + of(item), 0)

const nothingFailed = ({ answered, failures }: Pick<Load, 'answered' | 'failures'>, but = '') => ({
  what: `no request fails${but}`,
  measured: `${failures.length} of ${(answered + failures.length).toLocaleString('en')}${failures.length === 0 ? '' : `: ${[...new Set(failures.map(({ message }) => message))].slice(0, 3).join('; ')}`}`,
  holds: failures.length === 0 && answered > 0,
})

function endedByThemselves(restarts: readonly Restart[]) {
  const well = restarts.filter(({ endedWell }) => endedWell).length
  return {
    what: 'each instance exits with code 0 after TERM',
    measured: `${well} of ${restarts.length}`,
    holds: well === restarts.length,
  }
}
