import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { JsonSchema } from '../../function/transform/json-schema.ts'
import {
  type CheckInput,
  inputCheck,
  schemaMistake,
  type Validate,
} from '../../function/transform/schema.ts'
import { standaloneValidate } from '../../function/transform/standalone.ts'

const FLOWER: JsonSchema = {
  type: 'object',
  required: ['length'],
  additionalProperties: false,
  properties: {
    length: { type: 'number', exclusiveMinimum: 0, description: 'cm; not require("a").default' },
    species: { enum: ['setosa', 'virginica', { other: 'é' }] },
    version: { const: 2 },
    note: { type: 'string', maxLength: 3, pattern: '^\\p{L}+$' },
    'a/b~c': { type: 'array', items: { type: 'integer' }, minItems: 1, uniqueItems: true },
    either: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
    one: { oneOf: [{ type: 'number' }, { type: 'integer' }] },
    inner: { type: 'object', unevaluatedProperties: false, properties: { x: true } },
    tree: { $ref: '#' },
    names: { type: 'object', propertyNames: { pattern: '^[a-z]+$' } },
    some: { type: 'array', contains: { type: 'string' } },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    sized: { if: { required: ['w'] }, then: { properties: { w: { type: 'number' } } } },
    objects: { type: 'array', items: { type: 'object' }, uniqueItems: true },
  },
}

const RIGHT: readonly unknown[] = [
  { length: 1 },
  { length: 0.5, species: { other: 'é' }, version: 2, note: '𝒜𝒜𝒜', 'a/b~c': [1, 2] },
  { length: 1, either: ['a'], one: 1.5, inner: { x: null }, tree: { length: 2 } },
  { length: 1, names: { a: 1 }, some: ['a', 1], sized: { w: 1 }, objects: [{ a: 1 }, { a: 2 }] },
]

const long = 'x'.repeat(1000)
const WRONG: readonly (readonly [data: unknown, text: string])[] = [
  [[], 'the data must be object (type); got an array of length 0'],
  [null, 'the data must be object (type); got null'],
  ['a', 'the data must be object (type); got "a"'],
  [{}, "the data must have required property 'length' (required); got an empty object"],
  [{ length: '5' }, '/length must be number (type); got "5"'],
  [{ length: 0 }, '/length must be > 0 (exclusiveMinimum); got 0'],
  [
    { length: 1, species: 'rose' },
    '/species must be one of ["setosa","virginica",{"other":"é"}] (enum); got "rose"',
  ],
  [{ length: 1, version: 1 }, '/version must be 2 (const); got 1'],
  [
    { length: 1, note: 'abcd' },
    '/note must NOT have more than 3 characters (maxLength); got "abcd"',
  ],
  [{ length: 1, note: '1' }, '/note must match pattern "^\\p{L}+$" (pattern); got "1"'],
  [{ length: 1, 'a/b~c': [1, 1.5] }, '/a~1b~0c/1 must be integer (type); got 1.5'],
  [
    { length: 1, 'a/b~c': [1, 1] },
    '/a~1b~0c must NOT have duplicate items (items ## 1 and 0 are identical) (uniqueItems); got an array of length 2',
  ],
  [
    { length: 1, either: [1] },
    '/either must match a schema in anyOf (anyOf): must be string, or /0 must be string; got an array of length 1',
  ],
  [{ length: 1, one: 1 }, '/one must match exactly one schema in oneOf (oneOf); got 1'],
  [
    { length: 1, inner: { y: 1 } },
    '/inner must not have the property "y" (unevaluatedProperties); got an object with y',
  ],
  [
    { length: 1, tree: { length: 1, tree: {} } },
    "/tree/tree must have required property 'length' (required); got an empty object",
  ],
  [
    { length: 1, names: { A: 1 } },
    '/names property name must be valid (propertyNames): must match pattern "^[a-z]+$"; got an object with A',
  ],
  [{ length: 1, sized: { w: '1' } }, '/sized/w must be number (type); got "1"'],
  [
    { length: 1, objects: [{ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }] },
    '/objects must NOT have duplicate items (items ## 0 and 1 are identical) (uniqueItems); got an array of length 2',
  ],
  [
    { length: 1, width: 2 },
    'the data must not have the property "width" (additionalProperties); got an object with length, width',
  ],
  [{ length: long }, `/length must be number (type); got "${long.slice(0, 80)}…"`],
  [
    { length: 1, [long]: 2 },
    `the data must not have the property "${long.slice(0, 80)}…" (additionalProperties); got an object with length, ${long.slice(0, 80)}…`,
  ],
  [
    JSON.parse('{"length":1,"__proto__":1}'),
    'the data must not have the property "__proto__" (additionalProperties); got an object with length, __proto__',
  ],
]

const built = async (schema: JsonSchema): Promise<Validate> => {
  const code = await standaloneValidate(schema)
  return (await import(`data:text/javascript,${encodeURIComponent(code)}`)).validate
}

const MADE: Readonly<Record<string, (schema: JsonSchema) => Promise<CheckInput>>> = {
  'at startup': schema => inputCheck(schema),
  'by a build': async schema => inputCheck(schema, await built(schema)),
}

for (const [when, make] of Object.entries(MADE))
  suite(`a check compiled ${when}`, () => {
    test('accepts data that fits the schema', async () => {
      const check = await make(FLOWER)
      for (const data of RIGHT) check(data)
    })

    test('rejects data that does not fit the schema, and names the path, the rule and the value', async () => {
      const check = await make(FLOWER)
      for (const [data, message] of WRONG)
        assert.throws(() => check(data), { code: 'BAD_REQUEST', message })
    })

    test('ignores inherited properties', async () => {
      const check = await make({
        type: 'object',
        required: ['constructor'],
        properties: { toString: { const: 'a' } },
      })
      check({ constructor: 1 })
      assert.throws(() => check({}), /required property 'constructor'/)
    })
  })

test('the code that a build generates imports nothing', async () => {
  const code = await standaloneValidate(FLOWER)
  assert.doesNotMatch(code.replaceAll('not require', ''), /require\(|\bimport\b/)
})

const UNUSABLE: readonly (readonly [schema: unknown, what: string])[] = [
  [{ type: 'object', requird: ['a'] }, 'unknown keyword: "requird"'],
  [{ properties: { a: { tpye: 'string' } } }, 'unknown keyword: "tpye"'],
  [{ type: 'text' }, 'type must be JSONType or JSONType[]: text'],
  [{ required: 'a' }, 'required value must be ["array"]'],
  [{ minimum: '1' }, 'minimum value must be ["number"]'],
  [{ pattern: '(' }, 'Invalid regular expression: /(/u: Unterminated group'],
  [{ $ref: '#' }, 'a $ref refers to itself'],
  [
    { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
    'a $ref refers to itself',
  ],
  [{ $ref: '#/$defs/none' }, "can't resolve reference #/$defs/none from id #"],
  [
    { $ref: 'https://example.com/order.json' },
    "can't resolve reference https://example.com/order.json from id #",
  ],
  [
    { $schema: 'http://json-schema.org/draft-07/schema#' },
    '$schema is "http://json-schema.org/draft-07/schema#"; expected "https://json-schema.org/draft/2020-12/schema"',
  ],
  [{ $async: true }, 'unknown keyword: "$async"'],
  [5, 'expected an object, true or false; got 5'],
  [[], 'expected an object, true or false; got an array of length 0'],
  [null, 'expected an object, true or false; got null'],
]

for (const [schema, what] of UNUSABLE)
  test(`rejects the schema ${JSON.stringify(schema)} at startup with a one-line error`, async () => {
    const message = `the schema "input": ${what}`
    await assert.rejects(inputCheck(schema as JsonSchema), { message })
    assert.equal(await schemaMistake(schema as JsonSchema, 'input'), message)
  })

test('check-model finds mistakes that startup does not detect', async () => {
  const odd: JsonSchema = { type: 'string', minLength: -1 }
  await inputCheck(odd)
  assert.equal(
    await schemaMistake(odd, 'output'),
    'the schema "output": /minLength must be >= 0 (minimum); got -1',
  )
  assert.equal(await schemaMistake(FLOWER, 'input'), undefined)
  assert.equal(
    await schemaMistake({ $schema: 'https://json-schema.org/draft/2020-12/schema' }, 'input'),
    undefined,
  )
})

test('a limit is checked before a rule that is slow on long data', async () => {
  const slow = await inputCheck({ type: 'string', maxLength: 64, pattern: '^(a|a)*$' })
  assert.throws(() => slow(`${'a'.repeat(100)}b`), /maxLength/)
  const many = await inputCheck({
    type: 'array',
    items: { type: 'object' },
    maxItems: 100,
    uniqueItems: true,
  })
  assert.throws(() => many(Array.from({ length: 1_000_000 }, () => ({}))), /maxItems/)
})

test('data of the deepest allowed nesting does not overflow the stack', async () => {
  const check = await inputCheck({
    $ref: '#/$defs/tree',
    $defs: { tree: { type: 'array', items: { $ref: '#/$defs/tree' } } },
  })
  check(JSON.parse('['.repeat(100) + ']'.repeat(100)))
})

test('a schema that overflows the stack on some data is the author’s mistake', async () => {
  const check = await inputCheck({
    properties: { a: { $ref: '#/$defs/loop' } },
    $defs: { loop: { allOf: [{ $ref: '#/$defs/loop' }] } },
  })
  check({ b: 1 })
  assert.throws(() => check({ a: 1 }), { code: 'TRANSFORM_FAILED' })
})

const MEDIA: readonly (readonly [
  schema: JsonSchema,
  sent: string | undefined,
  isTaken: boolean,
])[] = [
  [{ contentMediaType: 'image/png' }, 'image/png', true],
  [{ contentMediaType: 'image/png' }, 'IMAGE/PNG; q=1', true],
  [{ contentMediaType: 'image/*' }, 'image/webp', true],
  [{ contentMediaType: 'image/png' }, 'image/jpeg', false],
  [{ contentMediaType: 'image/*' }, 'imagery/png', false],
  [{ contentMediaType: 'image/png' }, 'application/json', false],
  [{ contentMediaType: 'image/png' }, undefined, false],
  [{ type: 'object' }, 'image/png', false],
  [{ contentMediaType: 'application/json' }, 'image/png', false],
  [{}, 'image/png', false],
  [true, 'image/png', true],
]

for (const [schema, sent, isTaken] of MEDIA)
  test(`${isTaken ? 'accepts' : 'rejects'} bytes of type ${sent} for the schema ${JSON.stringify(schema)}`, async () => {
    const check = await inputCheck(schema)
    if (isTaken) check(new Uint8Array(3), sent)
    else
      assert.throws(() => check(new Uint8Array(3), sent), {
        code: 'TRANSFORM_REFUSED',
        status: 415,
        message: /^the content type is .*; it must be (application|image)\//,
      })
  })

test('text is checked as a string', async () => {
  const check = await inputCheck({ type: 'string', minLength: 2, contentMediaType: 'text/plain' })
  check('ab', 'text/plain')
  assert.throws(() => check('a', 'text/plain'), /must NOT have fewer than 2 characters/)
})
