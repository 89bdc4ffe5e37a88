import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  fieldRange,
  fieldsOf,
  placeOfViolation,
  textsOf,
  valueJson,
} from '../../function/http/pages/browser/value/schema.js'
import type { JsonSchema } from '../../function/transform/json-schema.ts'

const PAYMENT = {
  type: 'object',
  required: ['id', 'amount', 'card', 'isNew'],
  properties: {
    id: { type: 'string', title: 'Number', examples: ['p-1'] },
    amount: { type: 'number', exclusiveMinimum: 0, description: 'In EUR', default: 12.5 },
    card: { enum: ['DE', 'FR', 1] },
    isNew: { type: 'boolean', const: true },
    attempts: { type: ['integer', 'null'] },
    place: { $ref: '#/$defs/place' },
    'a/b': { $ref: '#/$defs/count' },
  },
  $defs: {
    place: { type: 'object', properties: { lat: { type: 'number' } } },
    count: { type: 'integer' },
  },
} as const satisfies JsonSchema

describe('the form of a schema', () => {
  const fields = fieldsOf(PAYMENT) ?? []

  test('the form has a field of the right kind for each property, named by its title or name', () => {
    assert.deepEqual(
      fields.map(({ label, kind, isRequired }) => [label, kind, isRequired]),
      [
        ['Number', 'string', true],
        ['amount', 'number', true],
        ['card', 'choice', true],
        ['isNew', 'choice', true],
        ['attempts', 'integer', false],
        ['place', 'json', false],
        ['a/b', 'integer', false],
      ],
    )
    assert.deepEqual([fields[1]?.hint, fields[2]?.choices], ['In EUR', ['"DE"', '"FR"', '1']])
  })

  test('the form sends the typed values digit by digit, without optional fields that are empty', () => {
    const texts = ['it\u2019s "1"', '.50', '1', 'true', '9007199254740993', '[1.0]', '']
    assert.equal(
      valueJson(fields, texts),
      '{"id":"it\u2019s \\"1\\"","amount":0.50,"card":1,"isNew":true,"attempts":9007199254740993,"place":[1.0]}',
    )
    assert.equal(
      valueJson(fields, ['', 'abc', '', 'true', '', '', '']),
      '{"id":"","amount":"abc","card":"","isNew":true}',
    )
  })

  test('the form sends nothing if nested data is not JSON, and names the field', () => {
    assert.throws(() => valueJson(fields, ['', '1', '"DE"', 'true', '', '{', '']), {
      element: 5,
      message: /^place is not valid JSON: /,
    })
  })

  test('the form shows a value as a person would type it', () => {
    const value = { id: 'p', amount: 1.5, card: 'FR', isNew: true, place: { lat: 1 } }
    const texts = ['p', '1.5', '"FR"', 'true', '', '{"lat": 1}', '']
    assert.deepEqual(textsOf(fields, value), texts)
  })

  test('the form has one field for a number, a choice or a boolean, and no fields for other single values', () => {
    const only = fieldsOf({ type: 'number', title: 'Age' }) ?? []
    assert.deepEqual(
      [only.map(({ label, kind }) => [label, kind]), valueJson(only, ['42'])],
      [[['Age', 'number']], '42'],
    )
    const choices = { enum: ['a', 'b'] }
    assert.deepEqual(
      [true, {}, { type: 'string' }, { type: 'array' }, { type: 'object' }, choices].map(
        schema => fieldsOf(schema)?.length,
      ),
      [undefined, undefined, undefined, undefined, undefined, 1],
    )
  })

  test('the form has no fields for a schema that refers to itself endlessly', () => {
    assert.equal(fieldsOf({ $ref: '#', properties: {} }), undefined)
    const around = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }
    assert.equal(fieldsOf(around), undefined)
  })

  test('the range of a slider includes the example, and stays within the limits of the schema', () => {
    const [only] = fieldsOf({ type: 'number', minimum: -1, maximum: 6 }) ?? []
    const [count] = fieldsOf({ type: 'integer', minimum: 1 }) ?? []
    const [word] = fieldsOf({ enum: ['a'] }) ?? []
    assert.ok(only && count && word)
    assert.deepEqual(
      [
        fieldRange(only, '5.1'),
        fieldRange(count, '7'),
        fieldRange(only, ''),
        fieldRange(only, 'many'),
        fieldRange(word, '"a"'),
      ],
      [
        { min: -1, max: 6, step: 0.07 },
        { min: 1, max: 20, step: 1 },
        undefined,
        undefined,
        undefined,
      ],
    )
  })

  for (const [text, at] of [
    ['/amount must be number (type); got "x"', 1],
    ['/place/lat must be number (type); got "x"', 5],
    ['/a~1b must be integer (type); got "x"', 6],
    ["the data must have required property 'card' (required); got an object with id", 2],
    ['id is unknown', 0],
    ['amounts are wrong', -1],
    ['/amounts must be number (type); got "x"', -1],
    ['the data must be object (type); got 1', -1],
  ] as const)
    test(`the error ${JSON.stringify(text)} names ${at === -1 ? 'no field' : `the field ${fields[at]?.name}`}`, () =>
      assert.equal(placeOfViolation(text, fields), at))
})
