/*
 * Finds hard-to-read sentences in comments, messages and pages. Exits with status 1 if there are
 * any.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { findHabits } from './habits.ts'
import { textsOf } from './texts.ts'

// Not checked: released notes, responses of other servers, and the bad sentences of the test.
const LEFT_OUT = new Set([
  'CHANGELOG.md',
  'conformance/servers.md',
  'test/repository/prose.test.ts',
])

const PATTERNS = ['*.ts', '*.js', '*.mjs', '*.sh', '*.md', '*.yaml', '*.yml']

const files = execFileSync(
  'git',
  ['ls-files', '-z', '--cached', '--others', '--exclude-standard', ...PATTERNS],
  { encoding: 'utf8', maxBuffer: 2 ** 26 },
)
let found = 0
for (const path of new Set(files.split('\0'))) {
  if (path === '' || LEFT_OUT.has(path)) continue
  for (const { line, text } of textsOf(path, readFileSync(path, 'utf8'))) {
    for (const { habit, instead, at, sentence } of findHabits(text)) {
      found++
      const lines = text.slice(0, at).split('\n').length - 1
      process.stderr.write(`${path}:${line + lines}: ${habit} (write: ${instead})\n  ${sentence}\n`)
    }
  }
}
if (found > 0) {
  process.stderr.write(`\n${found} sentences to rewrite (CONTRIBUTING.md, How we write)\n`)
  process.exitCode = 1
}
