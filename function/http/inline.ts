import { readFileSync } from 'node:fs'

const FOLDER = new URL('./page/', import.meta.url)

/**
 * A page as one file: the styles and modules of `page/` that its HTML names, and what those modules import, stand in it.
 *
 * Modules become one, each before who imports it. That takes `import { … } from './file.js'` and `export` at the beginning of a line,
 * and no two of the same name; a browser knows the files as they are, too.
 */
export const readPage = (name: string): string =>
  read(name)
    .replaceAll(
      /<link rel="stylesheet" href="([\w.]+)">/g,
      (_, file) => `<style>\n${read(file)}</style>`,
    )
    .replaceAll(
      /(<script type="module") src="([\w.]+)">/g,
      (_, tag, file) => `${tag}>\n${readModule(file, new Set())}`,
    )

function readModule(file: string, before: Set<string>): string {
  if (before.has(file)) return ''
  before.add(file)
  let imported = ''
  const own = read(file).replaceAll(/^import \{[^}]*\} from '\.\/([\w.]+)'\n/gm, (_, name) => {
    imported += readModule(name, before)
    return ''
  })
  return imported + own.replaceAll(/^export /gm, '')
}

const read = (file: string) => readFileSync(new URL(file, FOLDER), 'utf8')
