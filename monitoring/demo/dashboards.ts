import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly panels: readonly {
    readonly type: string
    readonly title: string
    readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>
    readonly targets?: readonly { readonly expr: string; readonly instant?: boolean }[]
    // biome-ignore lint/suspicious/noExplicitAny: Grafana defines the other fields
    readonly [more: string]: any
  }[]
  readonly templating: {
    readonly list: readonly {
      readonly type: string
      readonly name: string
      readonly query: string | { readonly query: string }
    }[]
  }
}

const FOLDER = join(import.meta.dirname, '../grafana/dashboards')

export const readDashboards = (): Dashboard[] =>
  readdirSync(FOLDER)
    .filter(name => name.endsWith('.json'))
    .map(name => JSON.parse(readFileSync(join(FOLDER, name), 'utf8')))
