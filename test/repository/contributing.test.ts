import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from '../server.ts'

const inProject = (path: string) => join(projectFolder, path)
const read = (path: string) => readFileSync(inProject(path), 'utf8')
const isFile = (path: string) => statSync(inProject(path), { throwIfNoEntry: false })?.isFile()

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: projectFolder,
  encoding: 'utf8',
}).split('\n')

const unitsOf = (page: string): string[] =>
  page
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .split(/\n(?=\||- )|\n{2,}/)
    .map(unit => unit.replaceAll(/\s*\n\s*/g, ' '))

const codeIn = (unit: string) => [...unit.matchAll(/`([^`]+)`/g)].map(([, code]) => code as string)

/** The name of a member, such as `Queue.takeBatch`. */
const MEMBER = /^([A-Z][a-z]\w*)\.(#?\w+)$/

/** Whether code is a path, such as `func.yaml`, `scripts/` or `.ci/run`. */
const isPath = (code: string) =>
  /^[\w.][\w./-]*(\/|\.[a-z]+)$|^\.?[\w-]+\/[\w./-]+$/.test(code) && !MEMBER.test(code)

/**
 * A path may be relative to the project, to function/, or to a folder that the unit has named
 * before.
 */
function resolvePaths(unit: string): { found: string[]; missing: string[] } {
  const found: string[] = []
  const missing: string[] = []
  const folders = ['', 'function']
  for (const code of codeIn(unit).filter(isPath)) {
    const path = folders.map(folder => join(folder, code)).find(path => existsSync(inProject(path)))
    if (path === undefined) missing.push(code)
    else {
      found.push(path)
      folders.push(isFile(path) ? dirname(path) : path)
    }
  }
  return { found, missing }
}

const missingPaths = (page: string) => unitsOf(page).flatMap(unit => resolvePaths(unit).missing)

function undeclaredNames(page: string): string[] {
  return unitsOf(page)
    .filter(unit => unit.startsWith('- '))
    .flatMap(unit => {
      const files = resolvePaths(unit).found.filter(isFile).map(read)
      const declares = (name: string) =>
        files.some(text => new RegExp(`\\b(const|type|interface|class) ${name}\\b`).test(text))
      return codeIn(unit).filter(code => /^[A-Z]\w+$/.test(code) && !declares(code))
    })
}

/**
 * The npm commands whose script does not exist in the package of `--prefix`, or else in the page's
 * own package or in the project.
 */
function missingScripts(page: string, folder: string): string[] {
  const command =
    /\bnpm (?:run (?:--silent )?([a-z][\w:-]*)|(test|start)\b)(?: --prefix ([a-z][\w./-]*))?/g
  return [...page.matchAll(command)].flatMap(([text, run, own, prefix]) => {
    const script = (run ?? own) as string
    const packages = prefix === undefined ? [folder, '.'] : [prefix]
    return packages.some(path => scriptsOf(path).includes(script)) ? [] : [text]
  })
}

function scriptsOf(folder: string): string[] {
  const manifest = join(folder, 'package.json')
  return isFile(manifest) ? Object.keys(JSON.parse(read(manifest)).scripts ?? {}) : []
}

function packageOf(page: string): string {
  let folder = dirname(page)
  while (folder !== '.' && !tracked.includes(`${folder}/package.json`)) folder = dirname(folder)
  return folder
}

const contributing = read('CONTRIBUTING.md')

test('every file and folder that CONTRIBUTING.md names exists', () => {
  assert.deepEqual(missingPaths(contributing), [])
})

test('every table and type in a list item in CONTRIBUTING.md is declared in a file that the item names', () => {
  assert.deepEqual(undeclaredNames(contributing), [])
})

const architecture = read('docs/architecture.md')
const sources = tracked.filter(path => /^function\/.*\.ts$/.test(path)).map(read)

const missingMembers = (page: string) =>
  // Remove code blocks, whose fences would shift the pairs of backticks after them.
  codeIn(page.replaceAll(/^```.*?^```/gms, '')).filter(code => {
    const [, owner, member] = MEMBER.exec(code) ?? []
    if (owner === undefined || member === undefined) return false
    const declares = new RegExp(`\\b(class|interface) ${owner}\\b`)
    const has = new RegExp(`(?<![\\w#])${member}\\b`)
    return !sources.some(text => declares.test(text) && has.test(text))
  })

test('every file, folder and member that docs/architecture.md names exists', () => {
  assert.deepEqual(missingPaths(architecture), [])
  assert.deepEqual(missingMembers(architecture), [])
  assert.deepEqual(missingMembers('`Queue.takeBatch`, `Queue.lost`, `Gone.takeBatch`'), [
    'Queue.lost',
    'Gone.takeBatch',
  ])
})

for (const page of tracked.filter(path => path.endsWith('.md') && path !== 'CHANGELOG.md'))
  test(`every npm script in ${page} exists in package.json`, () => {
    assert.deepEqual(missingScripts(read(page), packageOf(page)), [])
  })

test('a missing file, name or script is reported', () => {
  const page = [
    '| `http/` | `routes.ts`, `gone.ts` |',
    '- **a route**: a row of `ROUTES` or `GONE` in `function/http/routes.ts`, then',
    '  `npm run gone`, `npm run gone --prefix monitoring`, `npm test --prefix gone` or `npm test`',
  ].join('\n')
  assert.deepEqual(missingPaths(page), ['gone.ts'])
  assert.deepEqual(undeclaredNames(page), ['GONE'])
  assert.deepEqual(missingScripts(page, '.'), [
    'npm run gone',
    'npm run gone --prefix monitoring',
    'npm test --prefix gone',
  ])
})
