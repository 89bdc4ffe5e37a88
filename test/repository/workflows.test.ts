import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  globSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

const WORKFLOWS = '.github/workflows'
const read = (path: string) => readFileSync(join(projectFolder, path), 'utf8')
const paths = globSync(['.github/workflows/*.{yml,yaml}', '.github/actions/*/action.yml'], {
  cwd: projectFolder,
}).sort()

const FOLDERS = readdirSync(projectFolder, { withFileTypes: true })
  .filter(
    entry => entry.isDirectory() && !/^\.(?!ci$)|^(node_modules|build|coverage)$/.test(entry.name),
  )
  .map(({ name }) => name.replace('.', '\\.'))

const code = (text: string) => text.replaceAll(/^\s*#.*$| #.*$/gm, '')

/**
 * Checks a workflow, or an action in this repository, against the most important rules; actionlint
 * and zizmor check many more.
 * @returns the problems
 */
function mistakes(path: string, text: string): string[] {
  const isWorkflow = path.startsWith(WORKFLOWS)
  const found: string[] = []
  for (const [, action = '', comment = ''] of text.matchAll(/^[\s-]*uses: (\S+)(.*)$/gm)) {
    if (action.startsWith('./')) {
      if (!existsSync(join(projectFolder, action))) found.push(`${action} does not exist`)
    } else if (!/@[0-9a-f]{40}$/.test(action)) found.push(`${action} is not pinned to a commit`)
    else if (!/^ # (v\d+\.\d+\.\d+|main of \d{4}-\d\d-\d\d.*)$/.test(comment))
      found.push(`${action} has no comment with its version`)
  }
  if (isWorkflow && !/^permissions: \{\}$/m.test(text))
    found.push('the workflow lacks permissions: {}, which denies all rights that no job requests')
  if (/\b(pull_request_target|workflow_run)\b/.test(code(text)))
    found.push('code from a fork would run with the secrets of this repository')
  const checkouts = text.match(/uses: actions\/checkout@/g)?.length ?? 0
  if ((text.match(/persist-credentials: false/g)?.length ?? 0) < checkouts)
    found.push('a checkout leaves the token in the clone (persist-credentials: false is missing)')
  const jobs = text.match(/^ {4}runs-on:/gm)?.length ?? 0
  if ((text.match(/^ {4}timeout-minutes:/gm)?.length ?? 0) < jobs)
    found.push('a job has no timeout-minutes')
  for (const [, script = ''] of text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)) {
    if (!(script in manifest.scripts)) found.push(`npm run ${script} does not exist`)
  }
  for (const [named] of code(text).matchAll(
    new RegExp(`(?<![\\w./@$-])(?:\\./)?(?:${FOLDERS.join('|')})/[\\w./-]*\\w`, 'g'),
  )) {
    if (!existsSync(join(projectFolder, named))) found.push(`${named} does not exist`)
  }
  return found
}

/** The workflows that a pull request starts, and the workflows and actions that they call. */
function reachable(): string[] {
  const reached = paths.filter(path => /^ {2}pull_request:/m.test(read(path)))
  for (const path of reached) {
    for (const [, called = ''] of read(path).matchAll(/uses: \.\/(\S+)/g)) {
      const file = called.endsWith('.yml') ? called : join(called, 'action.yml')
      if (!reached.includes(file)) reached.push(file)
    }
  }
  return reached
}

const powers = (text: string) =>
  code(text).match(/\bsecrets\b|: write\b|write-all|^ +environment:|github\.token/gm) ?? []

for (const path of paths) {
  test(`${path} pins actions to commits, requests the least rights, and runs existing files`, () => {
    assert.deepEqual(mistakes(path, read(path)), [])
  })
}

test('a job of a pull request, which may come from a fork, has no secret and no token with write access', () => {
  assert.ok(reachable().length > 0)
  for (const path of reachable()) assert.deepEqual(powers(read(path)), [], path)
})

test('the workflows use the tool versions of .ci/run, and the Node version of package.json', () => {
  const all = paths.map(read).join('\n')
  const versions = (pattern: RegExp, text = all) => [
    ...new Set(Array.from(text.matchAll(pattern), ([, version]) => version)),
  ]
  assert.deepEqual(versions(/node:([\d.]+)-/g), [manifest.devDependencies.node])
  assert.deepEqual(
    versions(/KUSTOMIZE: ([\d.]+)/g),
    versions(/kustomize\/v5@v([\d.]+)/g, read('.ci/run')),
  )
  assert.equal(versions(/go-version: (\S+)/g).length, 1)
})

suite('an image', () => {
  const steps = read('.github/workflows/image.yml').split(/^ {6}- /m)
  const push = steps.find(step => step.startsWith('name: Build and push')) as string
  const script = push.slice(push.indexOf('run: |\n') + 7).replaceAll(/^ {10}/gm, '')
  const docker = `#!/bin/sh
    case "$*" in
    *"imagetools inspect"*) [ -n "$STANDING" ] && echo "$STANDING" ;;
    *"buildx build"*) printf '{"containerimage.digest":"sha256:own"}' > "$RUNNER_TEMP/built.json" ;;
    esac`

  for (const [what, standing, outputs] of [
    ['that already exists is not reported as built', 'sha256:theirs', ['sha256:theirs', false]],
    ['that does not exist is built', '', ['sha256:own', true]],
  ] as const) {
    test(what, t => {
      const folder = mkdtempSync(join(tmpdir(), 'image-'))
      t.after(() => rmSync(folder, { recursive: true }))
      writeFileSync(join(folder, 'docker'), docker, { mode: 0o755 })
      execFileSync('bash', ['-e', '-o', 'pipefail', '-c', script], {
        env: {
          PATH: `${folder}:${process.env.PATH}`,
          STANDING: standing,
          RUNNER_TEMP: folder,
          GITHUB_OUTPUT: join(folder, 'output'),
          GITHUB_STEP_SUMMARY: join(folder, 'summary'),
          GITHUB_REPOSITORY: 'Example/Function',
          GITHUB_SHA: 'a',
          BUILDKIT_IMAGE: 'b',
          TAG: 'c',
          VERSION: 'd',
        },
      })
      const [digest, built] = outputs
      assert.equal(
        readFileSync(join(folder, 'output'), 'utf8'),
        `name=ghcr.io/example/function\ndigest=${digest}\nbuilt=${built}\n`,
      )
    })
  }

  test('is attested and tagged only if this run built it', () => {
    const signing = steps.filter(step => /actions\/attest@|imagetools create/.test(step))
    assert.equal(signing.length, 3)
    for (const step of signing) assert.match(step, /^ +if: steps\.push\.outputs\.built == 'true'$/m)
    assert.doesNotMatch(push, /--tag/)
    assert.match(steps.at(-1) as string, /imagetools create/)
  })
})

suite('Renovate updates', () => {
  const renovate = JSON.parse(read('.github/renovate.json'))
  const files = globSync(
    ['**/requirements*.txt', 'monitoring/cluster/*.yaml', '.github/workflows/*', '**/package.json'],
    { cwd: projectFolder, exclude: path => path.endsWith('node_modules') },
  )
  /** Renovate writes a regular expression as `/…/`. */
  const isWatched = (path: string, { managerFilePatterns }: { managerFilePatterns: string[] }) =>
    managerFilePatterns.some(pattern => new RegExp(pattern.slice(1, -1)).test(path))

  test('the packages of every folder, including tests, which the presets ignore', () => {
    assert.ok(renovate.extends.includes('config:best-practices'))
    assert.deepEqual(renovate.ignorePaths, ['**/node_modules/**'])
    assert.equal(renovate.enabledManagers, undefined)
  })

  for (const [what, manager, pattern] of [
    ['every list of Python packages', renovate.pip_requirements, /requirements.*\.txt$/],
    ['the images of monitoring/cluster', renovate.kubernetes, /^monitoring\/cluster\//],
    ['every workflow', renovate.customManagers[0], /^\.github\/workflows\//],
  ] as const) {
    test(what, () => {
      const found = files.filter(path => pattern.test(path))
      assert.ok(found.length > 0)
      for (const path of found) assert.ok(isWatched(path, manager), path)
    })
  }

  test('every image in a workflow variable', () => {
    const named = paths.flatMap(path => read(path).match(/^ +[A-Z]+_IMAGE: .*$/gm) ?? [])
    assert.ok(named.length > 0)
    for (const line of named)
      assert.match(line, new RegExp(renovate.customManagers[0].matchStrings[0]))
  })
})

suite('the check rejects a workflow', () => {
  const path = `${WORKFLOWS}/check.yml`
  const good = read(path)
  const CASES: readonly (readonly [
    mistake: string,
    from: string | RegExp,
    to: string,
    says: RegExp,
  ])[] = [
    [
      'that refers to an action by its tag',
      /checkout@[0-9a-f]{40} # v\S+/,
      'checkout@v7',
      /checkout@v7 is not pinned to a commit/,
    ],
    [
      'that refers to an action by an abbreviated commit',
      /(checkout@[0-9a-f]{20})[0-9a-f]{20}/,
      '$1',
      /is not pinned to a commit/,
    ],
    [
      'that pins an action without naming its version',
      / # v\d\S+/,
      '',
      /has no comment with its version/,
    ],
    [
      'that uses a missing action of this repository',
      /uses: actions\/checkout\S+/,
      'uses: ./.github/actions/none',
      /none does not exist/,
    ],
    [
      'that grants rights to every job',
      'permissions: {}',
      'permissions: read-all',
      /lacks permissions: \{\}/,
    ],
    [
      'that runs pull requests from forks with the rights of this repository',
      'pull_request:',
      'pull_request_target:',
      /code from a fork/,
    ],
    [
      'that leaves the token in the clone',
      'persist-credentials: false',
      'fetch-depth: 0',
      /leaves the token in the clone/,
    ],
    [
      'with a job that has no time limit',
      /timeout-minutes: \d+/,
      'continue-on-error: true',
      /has no timeout-minutes/,
    ],
    [
      'that runs a missing script',
      '- run: .ci/run',
      '- run: npm run nothing',
      /npm run nothing does not exist/,
    ],
    [
      'that runs a missing file',
      '- run: .ci/run',
      '- run: scripts/nothing.sh --all',
      /scripts\/nothing\.sh does not exist/,
    ],
  ]
  for (const [mistake, from, to, says] of CASES) {
    test(mistake, () => {
      const bad = good.replace(from, to)
      assert.notEqual(bad, good)
      assert.match(mistakes(path, bad).join('\n'), says)
    })
  }

  for (const power of [
    'TOKEN: ${'.concat('{ secrets.TOKEN }}'),
    'contents: write',
    '    environment: production',
    'TOKEN: ${'.concat('{ github.token }}'),
  ]) {
    test(`for pull requests, with ${power.trim()}`, () =>
      assert.equal(powers(`${good}\n${power}\n`).length, 1))
  }
})
