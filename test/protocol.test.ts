import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askPoints, choosePoints, type Result } from '../conformance/ask.ts'
import { DATATYPES } from '../conformance/datatypes.ts'
import { points } from '../conformance/points.ts'
import { targetOf } from '../conformance/test/target.ts'
import { serve } from './served-models.ts'

/** Every point of the conformance suite, on models that together make each one applicable. */

/** With one input and several, with versions and without, and failing ones. */
const ALL_POINTS = ['iris', 'two-in-two-out', 'failing', 'not-utf8']

const POINTS_ABOUT_TENSORS = [
  ...Object.keys(DATATYPES).map(datatype => `identity-${datatype.toLowerCase()}`),
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

/**
 * Points that depend on datatypes, shapes or the number of tensors, for each model that differs.
 */
const ABOUT_TENSORS = ['shapes', 'data', 'datatypes', 'binary', 'outputs']

// Decoding is the same for every listener.
const models =
  process.env.ON_PREDICTOR === undefined ? [...ALL_POINTS, ...POINTS_ABOUT_TENSORS] : ALL_POINTS

const results = new Map<string, readonly Result[]>()
// Before the first test: the runner tracks each asynchronous call of a test, which takes a third of
// the time.
for (const model of models) {
  const { server, served } = await serve(model)
  const asked = choosePoints(ALL_POINTS.includes(model) ? [] : ABOUT_TENSORS)
  results.set(model, await askPoints(await targetOf(served), asked))
  await server.stop()
}

for (const [model, asked] of results) {
  const applied = asked.filter(({ outcome }) => outcome !== 'not applicable')
  test(`${model} keeps the ${applied.length} points that apply`, () => {
    const failures = applied.filter(({ outcome }) => outcome === 'fail')
    assert.deepEqual(failures, [])
    assert.notEqual(applied.length, 0)
  })
}

test('every point has a name of its own', () =>
  assert.equal(new Set(points.map(({ name }) => name)).size, points.length))

test('no point is required where the specification is silent', () =>
  assert.deepEqual(
    points
      .filter(({ level, source }) => level === 'required' && source.startsWith('OIP is silent'))
      .map(({ name }) => name),
    [],
  ))

if (models !== ALL_POINTS) {
  test('every point applies to at least one of the models, but for those of extensions that this server does not have', () => {
    const asked = [...results.values()].flat()
    const applied = new Set(
      asked.filter(({ outcome }) => outcome !== 'not applicable').map(({ point }) => point),
    )
    const left = asked.filter(({ point }) => !applied.has(point))
    assert.deepEqual(
      left.filter(({ got }) => !got.startsWith('the server does not advertise the ')),
      [],
    )
    assert.ok(applied.size > points.length / 2)
  })
}
