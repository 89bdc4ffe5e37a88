import assert from 'node:assert/strict'
import { chmodSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import { leastAfter } from '../../scripts/release/version.ts'
import { CHANGELOG, createRepository, withoutGit } from './repository.ts'

const NEEDS_GIT = { skip: withoutGit }

function repository(t: TestContext) {
  const made = createRepository()
  t.after(() => rmSync(made.temporary, { recursive: true }))
  return made
}

/** What must not have changed where a release was not made. */
const state = ({ git, temporary }: ReturnType<typeof repository>) => ({
  head: git('rev-parse', 'main'),
  tags: git('tag', '--list'),
  status: git('status', '--porcelain'),
  workTrees: git('worktree', 'list').split('\n').length,
  remote: git('ls-remote', 'origin'),
  temporary: readdirSync(join(temporary, 'tmp')).filter(name => name.startsWith('onnx-function-')),
})

suite('a release', NEEDS_GIT, () => {
  test('is one commit, in which everything that names the version follows package.json', t => {
    const made = repository(t)
    const { git, read, release } = made
    const before = git('rev-parse', 'main')
    const { status, output } = release(['0.1.1'])
    assert.equal(status, 0, output)
    assert.match(output, /testing 0\.1\.1/)
    assert.deepEqual(
      [git('rev-parse', 'main^'), git('log', '-1', '--format=%s', 'main')],
      [before, 'Release 0.1.1'],
    )
    assert.equal(JSON.parse(read('package.json')).version, '0.1.1')
    const lock = JSON.parse(read('package-lock.json'))
    assert.deepEqual([lock.version, lock.packages[''].version], ['0.1.1', '0.1.1'])
    assert.equal(
      read('image.yaml'),
      'image: registry.example.com/onnx-function:0.1.1 # and base:0.1.0\n',
    )
    assert.equal(
      read('kubernetes/image/kustomization.yaml'),
      'images:\n- name: ghcr.io/example/onnx-function\n  newTag: 0.1.1\n',
    )
    assert.equal(read('docs/interface.json'), '{"metrics":[]}\n')
    const today = new Date().toISOString().slice(0, 10)
    assert.equal(
      read('CHANGELOG.md'),
      CHANGELOG.replace('## Unreleased', `## Unreleased\n\n## 0.1.1 - ${today}`),
    )
    assert.equal(state(made).status, '')
  })

  test('is an annotated tag that holds the notes, pushed together with main', t => {
    const { git, release, origin } = repository(t)
    assert.equal(release(['0.2.0']).status, 0)
    assert.equal(git('cat-file', '-t', 'v0.2.0'), 'tag')
    assert.equal(
      git('tag', '--list', '--format=%(contents)', 'v0.2.0'),
      'v0.2.0\n\n### Added\n\n- A thing, by `THING`.',
    )
    for (const ref of ['main', 'v0.2.0'])
      assert.equal(git('-C', origin, 'rev-parse', ref), git('rev-parse', ref))
  })

  test('that is made already is told so, and nothing is done twice', t => {
    const made = repository(t)
    made.release(['0.1.1'])
    const before = state(made)
    const { status, output } = made.release(['0.1.1'])
    assert.deepEqual([status, output.trim()], [0, `v0.1.1 is released; ${made.origin} has it.`])
    assert.deepEqual(state(made), before)
  })

  test('of the version that package.json has may be the first of all', t => {
    const { release, git } = repository(t)
    const { status, output } = release(['0.1.0'])
    assert.equal(status, 0, output)
    assert.equal(
      git('show', 'v0.1.0:image.yaml'),
      'image: registry.example.com/onnx-function:0.1.0 # and base:0.1.0',
    )
  })

  test('without a remote ends with the tag, and says what is left to do', t => {
    const { release, git } = repository(t)
    git('remote', 'remove', 'origin')
    const { status, output } = release(['0.1.1'])
    assert.equal(status, 0, output)
    assert.match(
      output,
      /There is no remote origin to push to\. Once there is: git push --atomic origin main v0\.1\.1/,
    )
  })
})

suite('a dry run', NEEDS_GIT, () => {
  test('shows the notes and what would change, and changes nothing', t => {
    const made = repository(t)
    const before = state(made)
    const { status, output } = made.release(['0.1.1', '--dry-run'])
    assert.equal(status, 0, output)
    for (const said of [
      '  CHANGELOG.md',
      '  image.yaml',
      '  package.json',
      '- A thing, by `THING`.',
      'Nothing was written.',
    ]) {
      assert.ok(output.includes(said), said)
    }
    assert.deepEqual(state(made), before)
  })
})

suite('a release is refused, and nothing changes,', NEEDS_GIT, () => {
  const cases: readonly {
    readonly where: string
    readonly prepare?: (made: ReturnType<typeof repository>) => void
    readonly args?: readonly string[]
    readonly env?: Record<string, string>
    readonly says: RegExp
  }[] = [
    { where: 'without a version', args: [], says: /which version\? npm run release -- 0\.2\.0/ },
    { where: 'of what is no version', args: ['v0.2'], says: /which version\?/ },
    {
      where: 'of a version that does not follow',
      args: ['0.0.9'],
      says: /after 0\.1\.0 the next version is 0\.1\.1 or later/,
    },
    {
      where: 'from another branch',
      prepare: ({ git }) => git('switch', '--quiet', '-c', 'topic'),
      says: /made on main; this is topic/,
    },
    {
      where: 'with something uncommitted',
      prepare: ({ write }) => write('new.txt', ''),
      says: /not committed[\s\S]*new\.txt/,
    },
    {
      where: 'where nothing is unreleased',
      prepare: ({ write, commit }) => {
        write('CHANGELOG.md', '# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n\n- All.\n')
        commit('Empty')
      },
      says: /nothing under Unreleased/,
    },
    {
      where: 'as a patch, where something was removed',
      prepare: ({ write, commit }) => {
        write('CHANGELOG.md', CHANGELOG.replace('### Added', '### Removed'))
        commit('Remove')
      },
      says: /after 0\.1\.0 the next version is 0\.2\.0 or later: Unreleased has Removed or Breaking/,
    },
    {
      where: 'under a tag that exists',
      prepare: ({ git }) => git('tag', 'v0.1.1'),
      says: /v0\.1\.1 exists, and main has no commit “Release 0\.1\.1”/,
    },
    {
      where: 'on a main that lacks what others pushed',
      prepare: ({ git, write, commit }) => {
        write('theirs.txt', '')
        commit('Theirs')
        git('push', '--quiet', 'origin', 'main')
        git('reset', '--quiet', '--hard', 'HEAD^')
      },
      says: /origin has commits that this main lacks: git pull --ff-only/,
    },
    {
      where: 'when its tests fail',
      env: { FAIL: '1' },
      says: /npm test failed on the commit of 0\.1\.1; nothing was changed here/,
    },
  ]
  for (const { where, prepare, args = ['0.1.1'], env, says } of cases) {
    test(where, t => {
      const made = repository(t)
      prepare?.(made)
      const before = state(made)
      const { status, output } = made.release(args, env)
      assert.equal(status, 1, output)
      assert.match(output, says)
      assert.deepEqual(state(made), before)
    })
  }
})

suite('a release that was stopped is made whole by the same command:', NEEDS_GIT, () => {
  /** Makes git say no at one point. */
  function refuse(
    { write, git, folder }: ReturnType<typeof repository>,
    hook: string,
    script: string,
  ): () => void {
    git('config', 'core.hooksPath', '.git/refusing')
    write(`.git/refusing/${hook}`, `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, '.git/refusing', hook), 0o755)
    return () => git('config', '--unset', 'core.hooksPath')
  }

  test('killed while it tests, with its work tree left behind', async t => {
    const made = repository(t)
    const before = state(made)
    const running = await made.startRelease(['0.1.1'], { SLOW: '1' }, 'testing 0.1.1')
    await running.kill()
    assert.deepEqual([made.git('rev-parse', 'main'), state(made).workTrees], [before.head, 2])
    assert.equal(made.release(['0.1.1']).status, 0)
    const { workTrees, temporary } = state(made)
    assert.deepEqual([workTrees, temporary], [1, []])
  })

  test('between its commit and its tag', t => {
    const made = repository(t)
    const mend = refuse(
      made,
      'reference-transaction',
      'if [ "$1" = prepared ]; then ! grep -q refs/tags/; fi',
    )
    assert.equal(made.release(['0.1.1']).status, 1)
    const commit = made.git('rev-parse', 'main')
    assert.deepEqual(
      [made.git('log', '-1', '--format=%s'), state(made).tags],
      ['Release 0.1.1', ''],
    )
    mend()
    assert.equal(made.release(['0.1.1']).status, 0)
    assert.deepEqual(
      [made.git('rev-parse', 'main'), made.git('rev-parse', 'v0.1.1^{commit}')],
      [commit, commit],
    )
    assert.equal(made.git('-C', made.origin, 'rev-parse', 'v0.1.1^{commit}'), commit)
  })

  test('between its tag and its push', t => {
    const made = repository(t)
    const mend = refuse(made, 'pre-push', 'exit 1')
    assert.equal(made.release(['0.1.1']).status, 1)
    const tag = made.git('rev-parse', 'v0.1.1')
    mend()
    assert.equal(made.release(['0.1.1']).status, 0)
    assert.deepEqual(
      [made.git('rev-parse', 'v0.1.1'), made.git('-C', made.origin, 'rev-parse', 'v0.1.1')],
      [tag, tag],
    )
  })
})

test('what breaks asks for a new minor before 1.0.0, and for a new major from then on', () => {
  assert.deepEqual(
    [
      leastAfter('0.3.1', false),
      leastAfter('0.3.1', true),
      leastAfter('1.3.1', false),
      leastAfter('1.3.1', true),
    ],
    ['0.3.2', '0.4.0', '1.3.2', '2.0.0'],
  )
})
