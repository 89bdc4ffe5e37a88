import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BadRequest } from '../../function/protocol/errors.ts'
import { parseJson } from '../../function/protocol/json.ts'
import { runs } from '../seed.ts'

/** `isDouble` is whether an object has a duplicate key. */
interface Written {
  readonly text: string
  readonly isDouble: boolean
}

const texts = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '\\',
      '"',
      '\\"',
      'a'.repeat(40),
      '\\'.repeat(33),
      '"'.repeat(50),
      ':',
      ',"a":1',
    ),
  )
  .map(text => JSON.stringify(text))

/**
 * A key without escapes: JSON.parse in V8 13.6 may confuse "\\u0061" with another key of one
 * character.
 */
const key = fc.oneof(
  { weight: 3, arbitrary: texts.filter(text => !text.includes('\\')) },
  { weight: 1, arbitrary: fc.constantFrom('"a"', '"__proto__"', '":"') },
)

const { value } = fc.letrec<{ value: Written }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc
      .oneof(texts, fc.double().map(String), fc.constantFrom('null', 'true', '{}', '[]', '[1,2]'))
      .map(text => ({ text: text.replace(/^-?(NaN|Infinity)$/, '0'), isDouble: false })),
    fc.array(tie('value')).map(values => ({
      text: `[${values.map(({ text }) => text).join(' ,')}]`,
      isDouble: values.some(({ isDouble }) => isDouble),
    })),
    fc.array(fc.tuple(key, tie('value'))).map(members => ({
      text: `{${members.map(([key, { text }]) => `${key}\t:${text}`)}}`,
      isDouble:
        members.some(([, { isDouble }]) => isDouble) ||
        new Set(members.map(([key]) => JSON.parse(key))).size < members.length,
    })),
  ),
}))

test('reads JSON like JSON.parse, but rejects duplicate keys', () => {
  fc.assert(
    fc.property(value, ({ text, isDouble }) => {
      const parse = () => parseJson(Buffer.from(text), 'the body').value
      if (isDouble) assert.throws(parse, BadRequest, text)
      else assert.deepEqual(parse(), JSON.parse(text), text)
    }),
    runs(20_000),
  )
})

test('finds a duplicate key anywhere, even after many numbers', () => {
  for (const text of [
    '{"a":1,"a":2}',
    '[[1,2],[3,{"a":1,"\\u0061":2}]]',
    '{"a":{"b":[{"c":1,"c":1}]}}',
  ])
    assert.throws(() => parseJson(Buffer.from(text), 'the body'), /the same key twice/)
})

test('accepts JSON that is nested 100 levels deep, but not 101', () => {
  const nested = (depth: number) => Buffer.from('['.repeat(depth) + ']'.repeat(depth))
  assert.ok(parseJson(nested(100), 'the body'))
  assert.throws(() => parseJson(nested(101), 'the body'), /nested more than 100 levels deep$/)
  assert.ok(parseJson(Buffer.from(`["${'['.repeat(200)}"]`), 'the body'))
})
