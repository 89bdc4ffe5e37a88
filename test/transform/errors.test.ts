import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorAnswer } from '../../function/answer.ts'
import {
  BadRequest,
  Refused,
  TransformFailed,
  transformError,
  Unavailable,
} from '../../function/transform/errors.ts'

const FAILED = '{"error":"the transform failed on this request; see the server log"}'

const ERRORS = [
  { thrown: new BadRequest('no word'), http: 400, event: 400, body: '{"error":"no word"}' },
  { thrown: new Refused(409, 'twice'), http: 409, event: 409, body: '{"error":"twice"}' },
  { thrown: new Unavailable('down'), http: 503, event: 503, body: '{"error":"down"}', after: '1' },
  {
    thrown: new Unavailable('down', { retryAfter: 30 }),
    http: 503,
    event: 503,
    body: '{"error":"down"}',
    after: '30',
  },
  { thrown: new TypeError('password=1'), http: 500, event: 422, body: FAILED },
  { thrown: 'a string', http: 500, event: 422, body: FAILED },
  { thrown: undefined, http: 500, event: 422, body: FAILED },
  { thrown: null, http: 500, event: 422, body: FAILED },
]

for (const { thrown, http, event, body, after } of ERRORS)
  test(`a transform that throws ${thrown} causes status ${http}, and status ${event} for an event`, () => {
    const error = transformError(thrown)
    const answers = [errorAnswer(error), errorAnswer(error, 'event')]
    assert.deepEqual(
      answers.map(answer => [answer.status, answer.body, answer.headers['retry-after']]),
      [http, event].map(status => [status, body, after]),
    )
  })

test('an error from another copy of the package has the same effect as an error from this copy', () => {
  const refused = Object.assign(new Error('gone'), { code: 'TRANSFORM_REFUSED', status: 410 })
  const { status, body } = errorAnswer(transformError(refused))
  assert.deepEqual([status, body], [410, '{"error":"gone"}'])
})

test('the code of an error that is not a valid transform error does not select the status', () => {
  const thrown = [
    Object.assign(new Error('no such row'), { code: 'NOT_FOUND' }),
    Object.assign(new Error('busy'), { code: 'OVERLOADED' }),
    Object.assign(new Error('moved'), { code: 'TRANSFORM_REFUSED', status: 301 }),
    Object.assign(new Error('moved'), { code: 'TRANSFORM_REFUSED' }),
    Object.assign(new Error('down'), { code: 'TRANSFORM_UNAVAILABLE', retryAfter: '1\r\nx: y' }),
    { code: 'BAD_REQUEST' },
  ]
  for (const error of thrown) {
    const failed = transformError(error)
    assert.ok(failed instanceof TransformFailed, JSON.stringify(error))
    assert.equal(failed.cause, error)
  }
})

test('the constructors reject an invalid status or retryAfter', () => {
  assert.throws(() => new Refused(500, 'x'), /the status is 500; it must be from 400 to 499/)
  assert.throws(() => new Refused(404.5, 'x'), RangeError)
  assert.throws(() => new Unavailable('x', { retryAfter: -1 }), /retryAfter is -1/)
  assert.throws(() => new Unavailable('x', { retryAfter: 0.5 }), /a whole number of seconds/)
})
