import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askPoints, choosePoints, type Result } from '../conformance/ask.ts'
import { DATATYPES } from '../conformance/datatypes.ts'
import { points } from '../conformance/points.ts'
import { targetOf } from '../conformance/test/target.ts'
import { serve } from './served-models.ts'

/* Every point applies to at least one of the models in this file. */

/** Models with one and with several inputs, with and without versions, and failing models. */
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
 * The groups of points that depend on datatypes, shapes or the number of tensors.
 */
const ABOUT_TENSORS = ['shapes', 'data', 'datatypes', 'binary', 'outputs']

// The predictor decodes tensors with the same code, so it needs fewer models.
const models =
  process.env.ON_PREDICTOR === undefined ? [...ALL_POINTS, ...POINTS_ABOUT_TENSORS] : ALL_POINTS

const results = new Map<string, readonly Result[]>()
// Run the points before the first test: in a test, the runner would spend a third of the time on
// tracking each asynchronous call.
for (const model of models) {
  const { server, served } = await serve(model)
  const asked = choosePoints(ALL_POINTS.includes(model) ? [] : ABOUT_TENSORS)
  results.set(model, await askPoints(await targetOf(served), asked))
  await server.stop()
}

for (const [model, asked] of results) {
  const applied = asked.filter(({ outcome }) => outcome !== 'not applicable')
  test(`${model} passes the ${applied.length} points that apply`, () => {
    const failures = applied.filter(({ outcome }) => outcome === 'fail')
    assert.deepEqual(failures, [])
    assert.notEqual(applied.length, 0)
  })
}

test('no two points have the same name', () =>
  assert.equal(new Set(points.map(({ name }) => name)).size, points.length))

test('no point is required where the specification is silent', () =>
  assert.deepEqual(
    points
      .filter(({ level, source }) => level === 'required' && source.startsWith('OIP is silent'))
      .map(({ name }) => name),
    [],
  ))

if (models !== ALL_POINTS) {
  test('every point applies to at least one model, except points of extensions that this server lacks', () => {
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
