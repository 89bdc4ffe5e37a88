import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, matchesGlob } from 'node:path'
import { suite, test } from 'node:test'
import { projectFolder } from '../server.ts'

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: projectFolder,
  encoding: 'utf8',
})
  .trimEnd()
  .split('\n')
const read = (path: string) => readFileSync(join(projectFolder, path), 'utf8')

/** This syntax needs a POSIX shell. On Windows, npm runs scripts with cmd.exe. */
const ONLY_IN_A_SHELL: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['single quotes', /'/],
  ['!', /!/],
  ['$', /\$/],
  ['`', /`/],
  [';', /;/],
  ['a variable before a command', /(^|&& )\w+=/],
  ['a program by its path', /(^|&& )[^ ]*\//],
]

const mistakes = (script: string) =>
  ONLY_IN_A_SHELL.filter(([, pattern]) => pattern.test(script)).map(([what]) => what)

suite('every script in a package.json also works in cmd.exe', () => {
  for (const path of files.filter(path => /(^|\/)package\.json$/.test(path))) {
    for (const [name, script] of Object.entries<string>(JSON.parse(read(path)).scripts ?? {}))
      test(`the script ${name} in ${path} works`, () => assert.deepEqual(mistakes(script), []))
  }

  for (const [script, what] of [
    ["node --test 'test/*.test.ts'", 'single quotes'],
    ['node --test "test/!(system)/*.test.ts"', '!'],
    ['shellcheck $(git ls-files)', '$'],
    ['SEED=1 node --test', 'a variable before a command'],
    ['tsc && ../../node_modules/.bin/node --test', 'a program by its path'],
  ] as const)
    test(`the check finds a problem in ${script}`, () => assert.deepEqual(mistakes(script), [what]))
})

suite('.ci/budget', () => {
  const parts = read('.ci/budget')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const [, when, part, minutes, command] = /^(\w+) +([\w-]+) +(\d+) {2}(.+)$/.exec(line) ?? []
      return { when, part, minutes: Number(minutes), command: command ?? '' }
    })

  test('limits all parts for a change to 60 minutes, including 3 minutes for tools', () => {
    const change = parts.filter(({ when }) => when === 'change')
    assert.equal(parts.length, change.length + parts.filter(({ when }) => when === 'night').length)
    const sum = change.reduce((sum, { minutes }) => sum + minutes, 3)
    assert.ok(sum <= 60, `${sum} minutes`)
  })

  test('runs every test file in one of its parts', () => {
    const { scripts } = JSON.parse(read('package.json'))
    const commands = [scripts.test, read('.ci/run'), ...parts.map(({ command }) => command)]
    const named = commands.flatMap(command => [
      ...[...command.matchAll(/[\w./{},*-]+\.test\.ts/g)].map(([glob]) => glob),
      ...[...command.matchAll(/--prefix ([\w/]+)/g)].map(([, folder]) => `${folder}/**`),
    ])
    // test/examples/examples.test.ts runs the tests of the examples.
    named.push('examples/*/*.test.ts')
    const isNamed = (path: string) => named.some(glob => matchesGlob(path, glob))
    // test/package runs the template's test, in a project that it creates from the template.
    const tests = files.filter(path => path.endsWith('.test.ts') && !path.startsWith('templates/'))
    assert.ok(tests.length > 0)
    assert.deepEqual(
      tests.filter(path => !isNamed(path)),
      [],
    )
  })

  test('lists only nightly parts that nightly.yml runs', () => {
    const nightly = read('.github/workflows/nightly.yml')
    const night = parts.filter(({ when }) => when === 'night')
    assert.deepEqual(
      night.map(({ part }) => part).filter(part => !nightly.includes(`run: .ci/run ${part}\n`)),
      [],
    )
  })
})
