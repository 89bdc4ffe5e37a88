import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../../function/config/config.ts'
import { VARIABLES } from '../../function/config/variables.ts'
import { replyAttributes } from '../../function/events/reply.ts'
import { readOptions } from '../../kserve/canary/options.ts'
import { currentInterface } from '../release/interface.ts'
import { PROJECT } from './sources.ts'

const { routes, metrics } = currentInterface()

export const PORT = Number(VARIABLES.PORT.default)

export const isVariable = (name: string) => name in VARIABLES

export const answers = (path: string) => routes.includes(`GET ${path}`)

export const SERIES: ReadonlySet<string> = new Set(
  metrics.flatMap(name => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]),
)

/** @throws {Error} if the function would not start with this environment */
export const configOf = (environment: Readonly<Record<string, string | undefined>>) =>
  readConfig(environment)

/** Why the canary command refuses the arguments; undefined if it accepts them. */
export const refusesArguments = (args: readonly string[]) => messageOf(() => readOptions([...args]))

/** Why the function would not start with the environment; undefined if it would. */
export const refusesEnvironment = (environment: Readonly<Record<string, string | undefined>>) =>
  messageOf(() => configOf(environment))

function messageOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

export const replyTo = (event: Readonly<Record<string, string>>) =>
  replyAttributes(
    { specversion: '1.0', id: '1', source: '/', type: 'a', ...event },
    'response',
    { source: '/', modelName: '', modelVersion: undefined },
    { contentType: 'application/json' },
  ) as Readonly<Record<string, string>>

export const isBuilt = (program: string) => existsSync(join(PROJECT, program))

/** The folders whose files the build contains, according to its source maps. */
export const BUILT_FROM: ReadonlySet<string> = new Set(
  globSync('build/*.js.map', { cwd: PROJECT })
    .flatMap(
      map => JSON.parse(readFileSync(join(PROJECT, map), 'utf8')).sources as readonly string[],
    )
    .flatMap(source => /^\.\.\/(\w+)\//.exec(source)?.[1] ?? [])
    .filter(folder => folder !== 'node_modules'),
)
