import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { leastAfter } from '../../scripts/release/preversion.ts'
import { projectFolder } from '../server.ts'

const CHANGELOG = '# Changelog\n\n## Unreleased\n\n### Added\n\n- The variable `LIMIT`.\n'
const { preversion, version, postversion } = manifest.scripts
const MANIFEST = {
  name: 'onnx-function',
  version: '0.1.0',
  type: 'module',
  scripts: { preversion, version, postversion, test: 'node test.mjs', check: 'node check.mjs' },
}

/** The tests fail if FAIL is set. */
const FILES: Readonly<Record<string, string>> = {
  '.gitignore': 'node_modules\n',
  'package.json': JSON.stringify(MANIFEST, undefined, 2),
  'package-lock.json': JSON.stringify({
    ...{ name: 'onnx-function', version: '0.1.0', lockfileVersion: 3 },
    packages: { '': { name: 'onnx-function', version: '0.1.0' } },
  }),
  'CHANGELOG.md': CHANGELOG,
  'image.yaml': 'image: registry.example.com/onnx-function:0.1.0 # and base:0.1.0\n',
  'kubernetes/image/kustomization.yaml':
    'images:\n- name: ghcr.io/example/onnx-function\n  newTag: 0.1.0\n',
  'docs/interface.json': '{}\n',
  'scripts/release/interface.ts': `console.log('{"metrics":[]}')\n`,
  'check.mjs': '',
  'test.mjs': 'process.exit(process.env.FAIL ? 1 : 0)\n',
}

/** A repository on the branch main, with a bare repository as its remote. */
function repository(t: TestContext) {
  const temporary = mkdtempSync(join(tmpdir(), 'release-'))
  t.after(() => rmSync(temporary, { recursive: true }))
  const [folder, origin] = [join(temporary, 'work'), join(temporary, 'origin.git')]
  // Ignores the user's git configuration, such as signing keys and hooks.
  const env = {
    ...process.env,
    PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    GIT_CONFIG_GLOBAL: join(temporary, 'gitconfig'),
    GIT_CONFIG_NOSYSTEM: '1',
  }
  const user = '[user]\n  name = Releaser\n  email = releaser@example.com\n'
  writeFileSync(env.GIT_CONFIG_GLOBAL, `${user}[init]\n  defaultBranch = main\n`)
  const run = (command: string, args: readonly string[], more: object = {}) => {
    const options = { cwd: folder, encoding: 'utf8', env: { ...env, ...more } } as const
    const { status, stdout, stderr } = spawnSync(command, args, options)
    return { status, output: stdout + stderr }
  }
  const git = (...args: string[]) => {
    const { status, output } = run('git', args)
    assert.equal(status, 0, output)
    return output.trim()
  }
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const commit = (subject: string) => {
    git('add', '--all')
    git('commit', '--quiet', '--message', subject)
  }
  mkdirSync(folder)
  for (const file of ['changelog', 'git', 'preversion', 'version', 'postversion'])
    cpSync(
      join(projectFolder, `scripts/release/${file}.ts`),
      join(folder, `scripts/release/${file}.ts`),
    )
  cpSync(join(projectFolder, '.npmrc'), join(folder, '.npmrc'))
  for (const [path, text] of Object.entries(FILES)) write(path, text)
  git('init', '--quiet')
  commit('Begin')
  git('init', '--quiet', '--bare', origin)
  git('remote', 'add', 'origin', origin)
  git('push', '--quiet', 'origin', 'main')
  return {
    origin,
    git,
    write,
    commit,
    read: (path: string) => readFileSync(join(folder, path), 'utf8'),
    npm: (args: readonly string[], more?: object) => run('npm', args, more),
    /** Runs only the first hook, because npm itself takes one second. */
    preversion: (next: string) =>
      run(process.execPath, ['scripts/release/preversion.ts'], {
        ...{ npm_old_version: '0.1.0', npm_new_version: next },
      }),
    /** The state of the repository, which must not change unless a release succeeds. */
    state: () => [git('rev-parse', 'main'), git('tag'), git('ls-remote', 'origin')].join('\n'),
  }
}

suite('npm version', () => {
  test('creates one commit that updates the version in every file, and pushes it with its tag', t => {
    const { git, read, npm, origin } = repository(t)
    const before = git('rev-parse', 'main')
    const { status, output } = npm(['version', '0.1.1'])
    assert.equal(status, 0, output)
    assert.equal(git('rev-parse', 'main^'), before)
    assert.equal(git('log', '-1', '--format=%s'), 'Release 0.1.1')
    assert.equal(git('status', '--porcelain'), '')
    for (const path of ['package.json', 'package-lock.json'])
      assert.equal(JSON.parse(read(path)).version, '0.1.1')
    assert.match(read('image.yaml'), /onnx-function:0\.1\.1 # and base:0\.1\.0\n/)
    assert.match(read('kubernetes/image/kustomization.yaml'), /newTag: 0\.1\.1\n/)
    assert.equal(read('docs/interface.json'), '{"metrics":[]}\n')
    const today = new Date().toISOString().slice(0, 10)
    assert.equal(
      read('CHANGELOG.md'),
      CHANGELOG.replace('## Unreleased', `## Unreleased\n\n## 0.1.1 - ${today}`),
    )
    assert.equal(git('cat-file', '-t', 'v0.1.1'), 'tag')
    const notes = git('tag', '--list', '--format=%(contents)', 'v0.1.1')
    assert.equal(notes, 'v0.1.1\n\n### Added\n\n- The variable `LIMIT`.')
    for (const ref of ['main', 'v0.1.1'])
      assert.equal(git('-C', origin, 'rev-parse', ref), git('rev-parse', ref))
  })

  test('may release the current version of package.json as the first release', t => {
    const { npm, git } = repository(t)
    const { status, output } = npm(['version', '0.1.0', '--allow-same-version'])
    assert.equal(status, 0, output)
    assert.match(git('show', 'v0.1.0:CHANGELOG.md'), /^## 0\.1\.0 - /m)
  })

  test('changes nothing if the tests fail', t => {
    const { npm, git, state } = repository(t)
    const before = state()
    const { status, output } = npm(['version', '0.1.1'], { FAIL: '1' })
    assert.notEqual(status, 0, output)
    assert.deepEqual([state(), git('status', '--porcelain')], [before, ''])
  })

  test('with --no-git-tag-version, changes the files, but neither tags nor pushes', t => {
    const { npm, git, state } = repository(t)
    const before = state()
    const { status, output } = npm(['version', '0.1.1', '--no-git-tag-version'])
    assert.equal(status, 0, output)
    assert.match(git('diff', 'HEAD'), /^\+## 0\.1\.1 - /m)
    assert.equal(state(), before)
  })
})

suite('npm version refuses a release', () => {
  type Repository = ReturnType<typeof repository>
  const cases: readonly {
    readonly where: string
    readonly prepare?: (made: Repository) => void
    readonly version?: string
    readonly says: RegExp
  }[] = [
    {
      where: 'with an invalid version',
      version: '1.0.0-rc.1',
      says: /"1\.0\.0-rc\.1" is not a release version/,
    },
    {
      where: 'with a lower version',
      version: '0.0.9',
      says: /must be 0\.1\.1 or later, not 0\.0\.9/,
    },
    {
      where: 'from another branch',
      prepare: ({ git }) => git('switch', '--quiet', '-c', 'topic'),
      says: /on the branch main, not on topic/,
    },
    {
      where: 'with uncommitted changes',
      prepare: ({ write }) => write('new.txt', ''),
      says: /commit these changes first:[\s\S]*new\.txt/,
    },
    {
      where: 'without unreleased changes',
      prepare: ({ write, commit }) => {
        write('CHANGELOG.md', '# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n\n- All.\n')
        commit('Empty')
      },
      says: /the section Unreleased of CHANGELOG\.md is empty/,
    },
    {
      where: 'with a patch version after a breaking change',
      prepare: ({ write, commit }) => {
        write('CHANGELOG.md', CHANGELOG.replace('### Added', '### Removed'))
        commit('Remove')
      },
      says: /after 0\.1\.0, the next version must be 0\.2\.0 or later, not 0\.1\.1: Unreleased has changes/,
    },
    {
      where: 'with an existing tag',
      prepare: ({ git }) => git('tag', 'v0.1.1'),
      says: /the tag v0\.1\.1 already exists/,
    },
    {
      where: 'from a main branch that lacks commits of origin',
      prepare: ({ git, write, commit }) => {
        write('theirs.txt', '')
        commit('Theirs')
        git('push', '--quiet', 'origin', 'main')
        git('reset', '--quiet', '--hard', 'HEAD^')
      },
      says: /origin has commits that the local main lacks: run git pull --ff-only/,
    },
  ]
  for (const { where, prepare, version = '0.1.1', says } of cases) {
    test(where, t => {
      const made = repository(t)
      prepare?.(made)
      const { status, output } = made.preversion(version)
      assert.equal(status, 1, output)
      assert.match(output, says)
    })
  }

  test('but accepts the next version on a clean and up-to-date main branch', t => {
    const { status, output } = repository(t).preversion('0.1.1')
    assert.deepEqual([status, output], [0, ''])
  })
})

suite('npm run postversion completes an interrupted release', () => {
  /** A repository in the state in which npm leaves it after its commit. */
  function committed(t: TestContext) {
    const made = repository(t)
    made.write('package.json', JSON.stringify({ ...MANIFEST, version: '0.1.1' }))
    made.write(
      'CHANGELOG.md',
      CHANGELOG.replace('Unreleased', 'Unreleased\n\n## 0.1.1 - 2026-01-01'),
    )
    made.commit('Release 0.1.1')
    return made
  }

  test('that stopped before its tag or before its push, and changes nothing when run again', t => {
    const { npm, git, origin, state } = committed(t)
    assert.equal(npm(['run', 'postversion']).status, 0)
    assert.equal(git('-C', origin, 'rev-parse', 'v0.1.1^{commit}'), git('rev-parse', 'main'))
    const before = state()
    git('push', '--quiet', '--delete', 'origin', 'v0.1.1')
    assert.equal(npm(['run', 'postversion']).status, 0)
    assert.equal(npm(['run', 'postversion']).status, 0)
    assert.equal(state(), before)
  })

  test('but pushes neither the branch nor the tag if the remote refuses one of them', t => {
    const { npm, git, write, commit, origin } = committed(t)
    git('push', '--quiet', 'origin', 'main')
    write('theirs.txt', '')
    commit('Theirs')
    git('push', '--quiet', 'origin', 'main')
    git('reset', '--quiet', '--hard', 'HEAD^')
    assert.notEqual(npm(['run', 'postversion']).status, 0)
    assert.equal(git('-C', origin, 'tag'), '')
  })

  test('but refuses a commit that is not a release, and a tag on another commit', t => {
    const { npm, git, write, commit } = committed(t)
    git('tag', '--annotate', '--message', 'v0.1.1', 'v0.1.1', 'HEAD^')
    assert.match(
      npm(['run', 'postversion']).output,
      /v0\.1\.1 points to .*, not to the release's commit/,
    )
    write('more.txt', '')
    commit('More')
    assert.match(npm(['run', 'postversion']).output, /not a clean commit “Release 0\.1\.1”/)
  })

  test('and prints the push command if there is no remote', t => {
    const { npm, git } = committed(t)
    git('remote', 'remove', 'origin')
    const { status, output } = npm(['run', 'postversion'])
    assert.equal(status, 0, output)
    assert.match(output, /When it exists, run: git push --quiet --atomic origin main v0\.1\.1/)
  })
})

test('a breaking change needs a new minor version before 1.0.0, and a new major version after it', () => {
  const versions = (['0.3.1', '1.3.1'] as const).flatMap(before => [
    leastAfter(before, {}),
    leastAfter(before, { isBreaking: true }),
  ])
  assert.deepEqual(versions, ['0.3.2', '0.4.0', '1.3.2', '2.0.0'])
})
