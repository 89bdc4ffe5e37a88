import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { isListening, until } from '../../http/client.ts'
import { freePort } from '../../server.ts'

/** Debian's rabbitmq-server starts this as the user rabbitmq. */
const PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'

export interface RabbitMQ {
  readonly url: string
  stop(): Promise<void>
}

/**
 * Starts a broker that is separate from other brokers on this machine, with its own name, ports,
 * cookie and folder.
 */
export async function startRabbitMQ(longestMs: number): Promise<RabbitMQ> {
  const folder = mkdtempSync(join(tmpdir(), 'rabbitmq-'))
  const [port, distributionPort, epmdPort] = [await freePort(), await freePort(), await freePort()]
  const env = {
    PATH: process.env.PATH,
    // Erlang creates its cookie in HOME.
    HOME: folder,
    ERL_EPMD_PORT: `${epmdPort}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: 'faults@localhost',
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: `${port}`,
    RABBITMQ_DIST_PORT: `${distributionPort}`,
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_CONFIG_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'none'),
    // With this variable, the script execs the broker, so that the broker receives signals.
    RABBITMQ_ALLOW_INPUT: '1',
  }
  const children: ChildProcess[] = []
  const run = (program: string, ...args: string[]) => {
    const child = spawn(program, args, {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: longestMs,
      killSignal: 'SIGKILL',
    })
    children.push(child)
    return child
  }
  async function stop(): Promise<void> {
    // The broker must stop before the port mapper, with which it is registered.
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    // If the broker started its own port mapper, the mapper would outlive the broker.
    run('epmd')
    await until('epmd listens', () => isListening(epmdPort))
    const broker = run(PROGRAM, '-noinput')
    const said: string[] = []
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: broker.stdout as NodeJS.ReadableStream }).on('line', line => {
        said.push(line)
        if (/completed with \d+ plugins/.test(line)) resolve()
      })
      broker.once('exit', () =>
        reject(new Error(`RabbitMQ exited during startup: ${said.slice(-20).join('\n')}`)),
      )
    })
    return { url: `amqp://127.0.0.1:${port}`, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
