import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groups, points } from '../conformance/points.ts'
import { targetOf } from '../conformance/test/target.ts'
import { serve } from './served-models.ts'

/** Every point of the conformance suite, on models that between them make each applicable. */

const DATATYPES = [
  'bool',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
  'int8',
  'int16',
  'int32',
  'int64',
  'fp16',
  'fp32',
  'fp64',
  'bytes',
]

/** Of one input and of several, with versions and without, and such as fail. */
const ALL_POINTS = ['iris', 'two-in-two-out', 'failing', 'not-utf8']

const POINTS_ABOUT_TENSORS = [
  ...DATATYPES.map(datatype => `identity-${datatype}`),
  'same-dimension',
  'fixed',
  'middle',
  'no-batch',
  'scalar',
  'vector-sum',
  'fp16-out',
  'specials',
  'big-int-out',
]

/** What is worth asking of each model that differs in a datatype, a shape or the number of tensors. */
const aboutTensors = [
  ...groups.shapes,
  ...groups.data,
  ...groups.datatypes,
  ...groups.binary,
  ...groups.outputs,
]

const appliedTo = new Map<string, number>(points.map(({ name }) => [name, 0]))

test('every point has a name of its own', () => assert.equal(appliedTo.size, points.length))

test('no point is required where the specification is silent', () =>
  assert.deepEqual(
    points
      .filter(({ level, source }) => level === 'required' && source.startsWith('OIP is silent'))
      .map(({ name }) => name),
    [],
  ))

// What tensors are read to has nothing to do with who listens.
const models =
  process.env.ON_PREDICTOR === undefined ? [...ALL_POINTS, ...POINTS_ABOUT_TENSORS] : ALL_POINTS

for (const model of models) {
  const { server, served } = await serve(model)
  const target = await targetOf(served)
  for (const { name, level, source, notApplicable, check } of ALL_POINTS.includes(model)
    ? points
    : aboutTensors) {
    if (notApplicable?.(target) !== undefined) continue
    appliedTo.set(name, (appliedTo.get(name) as number) + 1)
    await test(`${model}: ${name} [${level}; ${source}]`, () => check(target))
  }
  await server.stop()
}

if (models !== ALL_POINTS) {
  test('every point applies to at least one of the models, but for those of extensions that this server does not have', () =>
    assert.deepEqual(
      [...appliedTo].filter(([, models]) => models === 0).map(([name]) => name),
      groups.extensions.map(({ name }) => name),
    ))
}
