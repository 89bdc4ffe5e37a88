import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'

const OPTIONS = [
  '--ignoreConfig',
  '--declaration',
  '--emitDeclarationOnly',
  '--allowImportingTsExtensions',
  '--target es2024',
  '--module nodenext',
  '--types node',
  '--strict',
  '--exactOptionalPropertyTypes',
  '--resolveJsonModule',
  '--allowJs',
  '--skipLibCheck',
  '--rootDir .',
].flatMap(option => option.split(' '))

/**
 * Writes the declarations of the entry modules and of all modules that they import; the compiler
 * also writes others.
 * @param entries TypeScript files
 * @param target the folder to write to; the files keep their relative paths
 */
export async function writeDeclarations(entries, target) {
  const all = await mkdtemp(join(tmpdir(), 'declarations-'))
  try {
    const tsc = 'node_modules/typescript/bin/tsc'
    execFileSync(process.execPath, [tsc, ...OPTIONS, '--outDir', all, ...entries], {
      stdio: 'inherit',
    })
    const files = new Set(entries.map(declarationOf))
    for (const file of files) {
      const text = await readFile(join(all, file), 'utf8')
      for (const [, imported] of text.matchAll(IMPORT))
        files.add(declarationOf(relative('.', resolve(dirname(file), imported))))
      await mkdir(dirname(join(target, file)), { recursive: true })
      // An installed package contains no .ts files.
      await writeFile(join(target, file), text.replaceAll(IMPORT, "'$1.js'"))
    }
  } finally {
    await rm(all, { recursive: true })
  }
}

const IMPORT = /'(\.{1,2}\/[^']+)\.ts'/g

const declarationOf = file => `${file.replace(/\.ts$/, '')}.d.ts`
