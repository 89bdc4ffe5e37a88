import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exampleOf } from '../../function/transform/example.ts'
import type { JsonSchema } from '../../function/transform/json-schema.ts'
import { inputCheck } from '../../function/transform/schema.ts'

const EXAMPLES: readonly (readonly [schema: JsonSchema, example: unknown])[] = [
  [{ type: 'number', examples: [5.1, 2] }, 5.1],
  [{ type: 'number', default: 3 }, 3],
  [{ enum: ['setosa', 'virginica'] }, 'setosa'],
  [{ const: null }, null],
  [{ type: 'boolean' }, false],
  [{ type: 'integer' }, 0],
  [{ type: 'integer', minimum: 3 }, 3],
  [{ type: 'number', exclusiveMinimum: 0 }, 0.5],
  [{ type: 'number', maximum: -2 }, -2],
  [{ type: 'number', minimum: -5, maximum: 5 }, 0],
  [{ type: 'integer', exclusiveMaximum: -1 }, -2],
  [{ type: ['number', 'null'] }, 0],
  [{ type: 'string' }, ''],
  [{ type: 'string', minLength: 3 }, 'aaa'],
  [{ type: 'array' }, []],
  [{ type: 'array', items: { type: 'number' }, minItems: 2 }, [0, 0]],
  [{ type: 'array', prefixItems: [{ const: 'a' }, { type: 'number' }] }, ['a', 0]],
  [
    {
      type: 'object',
      required: ['length'],
      properties: {
        length: { type: 'number', examples: [5.1] },
        note: { type: 'string', pattern: '^x$' },
        kind: { enum: ['a'] },
      },
    },
    { length: 5.1, kind: 'a' },
  ],
  [{ properties: { a: { type: 'null' } } }, { a: null }],
  [{ anyOf: [{ type: 'string', pattern: 'x' }, { type: 'number' }] }, 0],
  [{ oneOf: [{ const: 1 }, { const: 2 }] }, 1],
  [
    { properties: { a: { const: 1 } }, allOf: [{ properties: { b: { const: 2 } } }] },
    { a: 1, b: 2 },
  ],
  [{ $ref: '#/$defs/a~1b', $defs: { 'a/b': { type: 'number' } } }, 0],
  [
    {
      type: 'object',
      required: ['value'],
      properties: { value: { type: 'number' }, next: { $ref: '#/$defs/end' } },
      $defs: { end: { enum: ['end'] } },
    },
    { value: 0, next: 'end' },
  ],
]

for (const [schema, example] of EXAMPLES)
  test(`finds the valid example ${JSON.stringify(example)} for ${JSON.stringify(schema)}`, async () => {
    const found = exampleOf(schema)
    assert.deepEqual(found, example)
    const check = await inputCheck(schema)
    check(found)
  })

const WITHOUT: readonly JsonSchema[] = [
  true,
  false,
  {},
  { contentMediaType: 'image/png' },
  { type: 'string', pattern: '^[A-Z]{3}$' },
  { type: 'string', format: 'date-time' },
  { type: 'object', required: ['a'], properties: { a: { type: 'string', pattern: 'x' } } },
  { type: 'object', required: ['a'] },
  { type: 'array', items: { type: 'string', pattern: 'x' }, minItems: 1 },
  { $ref: '#/$defs/none' },
  { $ref: 'https://example.com/a' },
  {
    $ref: '#/$defs/list',
    $defs: {
      list: { type: 'object', required: ['next'], properties: { next: { $ref: '#/$defs/list' } } },
    },
  },
]

for (const schema of WITHOUT)
  test(`finds no example for ${JSON.stringify(schema)}`, () => {
    assert.equal(exampleOf(schema), undefined)
  })
