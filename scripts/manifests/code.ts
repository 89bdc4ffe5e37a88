import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../../function/config/config.ts'
import { VARIABLES } from '../../function/config/variables.ts'
import { replyAttributes } from '../../function/events/reply.ts'
import { readOptions } from '../../kserve/canary/options.ts'
import { currentInterface } from '../release/interface.ts'
import { PROJECT } from './sources.ts'

/* Data of the code, with which the checks compare the manifests. */

const { routes, metrics } = currentInterface()

export const PORT = Number(VARIABLES.PORT.default)

export const isVariable = (name: string) => name in VARIABLES

/** Returns whether the function has a route GET for the path. */
export const answers = (path: string) => routes.includes(`GET ${path}`)

/** The names of the function's series, including those of histograms. */
export const SERIES: ReadonlySet<string> = new Set(
  metrics.flatMap(name => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]),
)

/** Reads the configuration from an environment. @throws {Error} when the function would not start */
export const configOf = (environment: Readonly<Record<string, string | undefined>>) =>
  readConfig(environment)

/** Returns why the canary command refuses the arguments; undefined if it accepts them. */
export const refusesArguments = (args: readonly string[]) => messageOf(() => readOptions([...args]))

/** Returns why the function would not start with the environment; undefined if it would start. */
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

/** Returns the attributes of the function's reply to an event. */
export const replyTo = (event: Readonly<Record<string, string>>) =>
  replyAttributes(
    { specversion: '1.0', id: '1', source: '/', type: 'a', ...event },
    'response',
    { source: '/', modelName: '', modelVersion: undefined },
    { contentType: 'application/json' },
  ) as Readonly<Record<string, string>>

/** Returns whether the build contains the program. */
export const isBuilt = (program: string) => existsSync(join(PROJECT, program))

/** The folders whose files the build contains, read from its source maps. */
export const BUILT_FROM: ReadonlySet<string> = new Set(
  globSync('build/*.js.map', { cwd: PROJECT })
    .flatMap(
      map => JSON.parse(readFileSync(join(PROJECT, map), 'utf8')).sources as readonly string[],
    )
    .flatMap(source => /^\.\.\/(\w+)\//.exec(source)?.[1] ?? [])
    .filter(folder => folder !== 'node_modules'),
)
