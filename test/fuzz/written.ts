import fc from 'fast-check'

/** JSON text, which may be invalid: keys may repeat, and a `text` may be anything. */
export type Written = Text | Items | Members
interface Text {
  text: string
}
interface Items {
  items: Written[]
}
interface Members {
  members: [key: string, value: Written][]
}

export const text = (written: string): Written => ({ text: written })
export const items = (...written: Written[]): Written => ({ items: written })
export const members = (...written: (readonly [string, Written] | undefined)[]): Written => ({
  members: written.filter(member => member !== undefined).map(([key, value]) => [key, value]),
})

export function write(written: Written): string {
  if ('text' in written) return written.text
  if ('items' in written) return `[${written.items.map(write)}]`
  return `{${written.members.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`)}}`
}

/** Corrupts a request: `how`, at the position `at`, with `odd` as an inserted value. */
export interface Bend {
  readonly how: keyof typeof WAYS
  readonly at: number
  readonly odd: string
}

const DEEP = 20_000

const ODD = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '-1',
    '1',
    '1.5',
    '1e2',
    '2147483647',
    '2147483648',
    '4294967296',
    '1e400',
    '-1e400',
    '1e-400',
  ],
  ...[
    '9007199254740993',
    '9223372036854775807',
    '9223372036854775808',
    '-9223372036854775809',
    '18446744073709551616',
    '1e19',
    `1${'0'.repeat(400)}`,
  ],
  ...[
    'NaN',
    'Infinity',
    '-Infinity',
    '01',
    '.5',
    '5.',
    '+1',
    '0x10',
    '1_000',
    "'text'",
    'undefined',
    '',
    ' ',
    '\\',
    '"',
    '//',
    '/**/',
  ],
  ...[
    '""',
    '"text"',
    '"NaN"',
    '"-Infinity"',
    '"1"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ufffd"',
    '"\\uffff"',
    '"\\x41"',
    '"\n"',
    '"日本語 🌸"',
  ],
  ...[
    '"__proto__"',
    '"constructor"',
    '"toString"',
    '"hasOwnProperty"',
    `"${'long '.repeat(2_000)}"`,
  ],
  ...[
    '[]',
    '{}',
    '[[]]',
    '[{}]',
    '[null]',
    '[0,[0]]',
    '[1,]',
    '{"a":1,}',
    '{"__proto__":null}',
    '{"__proto__":{"binary_data_size":4}}',
    '{"toString":1}',
  ],
  ...[
    '{"constructor":{"prototype":{}}}',
    '{"length":2}',
    '{"":""}',
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"0":1}',
  ],
  ...[101, 99, DEEP].map(deep => '['.repeat(deep) + ']'.repeat(deep)),
  `${'{"a":'.repeat(101)}1${'}'.repeat(101)}`,
  '['.repeat(DEEP),
]

/** Wrong values for certain fields, by name, in addition to those for every field. */
export const KNOWN: Readonly<Record<string, readonly string[]>> = {
  id: [
    '1',
    '""',
    '"\\u0000"',
    '"\\ud83d"',
    `"${'i'.repeat(9_000)}"`,
    '"</script>"',
    '"\\r\\nx: y"',
    '["a"]',
  ],
  name: ['"__proto__"', '""', '"x "', '"INPUT"', '"input\\u0000"', '0'],
  shape: [
    '[]',
    '[-1]',
    '[0]',
    '[1]',
    '[1,4]',
    '[4,1]',
    '[0,4]',
    '[1,0]',
    '[2147483648]',
    '[2147483648,0]',
    '[0,2147483648]',
    '[2147483648,4]',
    '[9007199254740992,9007199254740992]',
    '[1e400]',
    '[1.5]',
    '["1"]',
    '[[1]]',
    '[null]',
    '[-0]',
    '[1e0]',
    `[${'1,'.repeat(63)}1]`,
    `[${'1,'.repeat(64)}1]`,
    `[${'0,'.repeat(5_000)}0]`,
    '{"0":1,"length":1}',
  ],
  datatype: [
    '"FP16"',
    '"FP32"',
    '"FP64"',
    '"INT64"',
    '"UINT64"',
    '"BOOL"',
    '"BYTES"',
    '"fp32"',
    '"STRING"',
    '"__proto__"',
    '"toString"',
    '""',
    '"FP32 "',
  ],
  data: [
    '[]',
    '[null]',
    '[1]',
    '[true]',
    '["1"]',
    '["NaN"]',
    '[NaN]',
    '[1e400]',
    '[3.5e38]',
    '[[[[]]]]',
    '[[1,2],[3]]',
    '[9223372036854775808]',
    '[-0]',
    '[1.0]',
    '[1e3]',
    '["\\u0000"]',
    '["\\ud800"]',
    '"AAAA"',
    '{"0":1}',
    `[${'0,'.repeat(3_000)}0]`,
  ],
  parameters: [
    '[]',
    'null',
    '{"binary_data_size":0}',
    '{"binary_data_size":-1}',
    '{"binary_data_size":1e400}',
    '{"binary_data_size":"4"}',
    '{"binary_data":1}',
    '{"nested":{}}',
    '{"nested":null}',
    '{"timeout":-1}',
    '{"timeout":1.5}',
    '{"timeout":"1"}',
    '{"timeout":0}',
    '{"timeout":9007199254740991}',
    '{"timeout":9007199254740993}',
    '{"binary_data_output":"true"}',
    '{"binary_data_output":true}',
    '{"__proto__":{"timeout":1}}',
  ],
  binary_data_size: [
    '0',
    '-1',
    '1',
    '3',
    '2147483648',
    '9007199254740991',
    '9007199254740992',
    '1e400',
    '1.5',
    '"4"',
    'null',
    'true',
    '[]',
  ],
  inputs: ['[]', 'null', '{}', '[null]', '[[]]', `[${'{},'.repeat(500)}{}]`],
  outputs: [
    '[]',
    'null',
    '{}',
    '[null]',
    '[{}]',
    '[{"name":"__proto__"}]',
    '[{"name":null}]',
    '"y"',
  ],
}

const OTHER_KEYS = [
  '__proto__',
  'constructor',
  'toString',
  'extra',
  '',
  'Data',
  'data',
  'shape',
  'name',
  'parameters',
  'binary_data_size',
  'id',
  '\ud800',
  'é',
]

interface Place {
  readonly of: Items | Members
  readonly index: number
}

const valueAt = ({ of, index }: Place): Written =>
  ('items' in of ? of.items[index] : of.members[index]?.[1]) as Written

function put({ of, index }: Place, value: Written): void {
  if ('items' in of) of.items[index] = value
  else (of.members[index] as [string, Written])[1] = value
}

const WAYS = {
  replace: (place, { odd }) => put(place, text(odd)),
  known(place, { odd, at }) {
    const key = 'members' in place.of ? (place.of.members[place.index]?.[0] ?? '') : 'data'
    const known = KNOWN[key]
    put(place, text(known?.[at % known.length] ?? odd))
  },
  drop: ({ of, index }) => void ('items' in of ? of.items : of.members).splice(index, 1),
  twice({ of, index }) {
    if ('items' in of) of.items.splice(index, 0, of.items[index] as Written)
    else of.members.splice(index, 0, of.members[index] as [string, Written])
  },
  rename({ of, index }, { at }) {
    if ('members' in of)
      (of.members[index] as [string, Written])[0] = OTHER_KEYS[at % OTHER_KEYS.length] as string
  },
  add({ of, index }, { at, odd }) {
    if ('items' in of) of.items.splice(index, 0, text(odd))
    else of.members.splice(index, 0, [OTHER_KEYS[at % OTHER_KEYS.length] as string, text(odd)])
  },
  wrap: place => put(place, items(valueAt(place))),
  enclose: place => put(place, members(['data', valueAt(place)])),
  quote: place => put(place, text(JSON.stringify(write(valueAt(place))))),
  empty: place => put(place, 'items' in valueAt(place) ? items() : members()),
  swap({ of, index }) {
    const list: unknown[] = 'items' in of ? of.items : of.members
    const [first] = list
    list[0] = list[index]
    list[index] = first
  },
} satisfies Record<string, (place: Place, bend: Bend) => void>

function placesOf(written: Written): Place[] {
  if ('text' in written) return []
  const values = 'items' in written ? written.items : written.members.map(([, value]) => value)
  return values.flatMap((value, index) => [{ of: written, index }, ...placesOf(value)])
}

function copy(written: Written): Written {
  if ('text' in written) return written
  if ('items' in written) return { items: written.items.map(copy) }
  return { members: written.members.map(([key, value]) => [key, copy(value)]) }
}

export function bend(written: Written, bends: readonly Bend[]): Written {
  if (bends.length === 0) return written
  const whole = { items: [copy(written)] }
  for (const each of bends) {
    const places = placesOf(whole)
    const place = places[each.at % Math.max(places.length, 1)]
    if (place !== undefined) (WAYS[each.how] as (place: Place, bend: Bend) => void)(place, each)
  }
  return whole.items[0] ?? text('')
}

/** Includes lone surrogates. fast-check takes one second to create its own arbitrary. */
export const anyCharacter = fc
  .oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 0x7f }) },
    fc.integer({ min: 0, max: 0xffff }),
    fc.integer({ min: 0, max: 0x10ffff }),
  )
  .map(code => String.fromCodePoint(code))

export const oddText: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...ODD) },
  fc.json({ maxDepth: 3 }),
  fc.string({ unit: anyCharacter, maxLength: 40 }).map(string => JSON.stringify(string)),
)

const oneBend: fc.Arbitrary<Bend> = fc.record({
  how: fc.oneof(
    { weight: 3, arbitrary: fc.constant('known' as const) },
    fc.constantFrom(...(Object.keys(WAYS) as Bend['how'][])),
  ),
  at: fc.nat(1_000),
  odd: oddText,
})

/** In most cases at most one corruption, so that requests also fail after valid parts. */
export const bends: fc.Arbitrary<Bend[]> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Bend[]>([]) },
  { weight: 5, arbitrary: oneBend.map(bend => [bend]) },
  fc.array(oneBend, { minLength: 2, maxLength: 4 }),
)
