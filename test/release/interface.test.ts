import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import released from '../../docs/interface.json' with { type: 'json' }
import { BREAKING, section, under } from '../../scripts/release/changelog.ts'
import { currentInterface, type Interface } from '../../scripts/release/interface.ts'
import { projectFolder } from '../server.ts'

/** Names that no longer exist and that the changelog omits. */
function missing(before: Interface, now: Interface, changelog: string): string[] {
  const told = under(section(changelog, 'Unreleased') ?? '', BREAKING)
  return (Object.keys(before) as (keyof Interface)[])
    .flatMap(kind => before[kind].filter(name => !now[kind].includes(name)))
    .filter(name => !told.includes(`\`${name}\``))
}

const changelog = readFileSync(join(projectFolder, 'CHANGELOG.md'), 'utf8')

test('every metric, route, variable and event attribute of the last release exists, or CHANGELOG.md lists its removal', () => {
  assert.deepEqual(missing(released, currentInterface(), changelog), [])
})

suite('a name that users rely on', () => {
  const now = currentInterface()
  const before: Interface = { ...now, metrics: [...now.metrics, 'inference_gone_total'] }

  test('is reported when it no longer exists', () => {
    assert.deepEqual(missing(before, now, changelog), ['inference_gone_total'])
  })

  test('is also reported when another section of the changelog mentions it', () => {
    const elsewhere =
      '## Unreleased\n\n### Added\n\n- `inference_gone_total`\n\n## 0.1.0 - 2026-01-01\n\n### Removed\n\n- `inference_gone_total`\n'
    assert.deepEqual(missing(before, now, elsewhere), ['inference_gone_total'])
  })

  for (const heading of BREAKING) {
    test(`may be removed when the changelog lists it under ${heading}`, () => {
      const told = `## Unreleased\n\n### Fixed\n\n- A bug.\n\n### ${heading}\n\n- \`inference_gone_total\`, which had no users.\n`
      assert.deepEqual(missing(before, now, told), [])
    })
  }

  test('may be added without an entry in the changelog', () => {
    assert.deepEqual(missing({ ...now, metrics: [] }, now, ''), [])
  })
})
