import assert from 'node:assert/strict'
import { assertError, assertRefused, assertSame, infer, inferBinary, jsonOf } from '../answer.ts'
import { binary, inJson } from '../applies.ts'
import type { Applicable, Point } from '../point.ts'
import { get, outputsOf, post, withInput } from '../request.ts'
import { oip, silent } from '../sources.ts'

const ERROR = oip('Inference Response JSON Error Object')

const fails: Applicable = target =>
  target.failing === undefined ? 'the suite knows no inputs on which the model fails' : undefined

export const points: readonly Point[] = [
  {
    name: 'a request on which the model fails gets an error with {"error"}',
    source: ERROR,
    level: 'required',
    expected: 'an error status with {"error"}',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertError(await post(target, { inputs }))
    },
  },
  {
    name: 'a failure of the model on a valid request has status 500',
    source: silent('the client cannot correct the request, and 503 would make it retry elsewhere'),
    level: 'stricter',
    expected: '500 with {"error"}',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertRefused(await post(target, { inputs }), 500)
    },
  },
  {
    name: 'a failing request does not affect concurrent requests',
    source: silent('clients are independent of each other'),
    level: 'stricter',
    expected: '200 for the other requests',
    notApplicable: fails,
    check: async target => {
      const [failing = []] = target.failing ?? []
      const expected = await infer(target)
      const [good, bad] = await Promise.all([
        Promise.all(Array.from({ length: 10 }, () => infer(target))),
        Promise.all(Array.from({ length: 5 }, () => post(target, { inputs: failing }))),
      ])
      for (const response of good) assertSame(target, response, expected)
      for (const reply of bad) assertError(reply)
    },
  },
  {
    name: 'an error message names the invalid input',
    source: oip('Inference Response JSON Error Object', '"the descriptive message"'),
    level: 'stricter',
    expected: '{"error"} that contains the input’s name',
    notApplicable: inJson,
    check: async target => {
      for (const { name } of target.metadata.inputs) {
        const index = target.metadata.inputs.findIndex(input => input.name === name)
        for (const change of [{ shape: [-7] }, { data: 'x' }, { datatype: 'FP128' }]) {
          const { error } = jsonOf(await post(target, withInput(target, change, index)))
          assert.ok(String(error).includes(name), `"${error}" does not name input "${name}"`)
        }
      }
    },
  },
  {
    name: 'an error response is short even if the invalid value is long',
    source: oip('Inference Response JSON Error Object', '"the descriptive message"'),
    level: 'stricter',
    expected: 'fewer than 4096 bytes',
    notApplicable: inJson,
    check: async target => {
      const long = 'x'.repeat(100_000)
      const mistakes = [
        { name: long },
        { datatype: long },
        { shape: Array(50_000).fill(1) },
        { shape: [long] },
        { data: [long] },
        { data: long },
      ]
      for (const change of mistakes) {
        const reply = await post(target, withInput(target, change))
        if (reply.status === 200) continue
        assertError(reply)
        assert.ok(
          reply.body.byteLength < 4096,
          `the error response to a long ${Object.keys(change)} has ${reply.body.byteLength} bytes`,
        )
      }
      for (const reply of [
        await get(target, `/v2/models/${long.slice(0, 5000)}`),
        await post(target, long),
      ]) {
        assert.ok(
          reply.body.byteLength < 4096,
          `the error response has ${reply.body.byteLength} bytes`,
        )
      }
    },
  },
  {
    name: 'an error response contains only "error", not the id',
    source: ERROR,
    level: 'stricter',
    expected: 'only {"error"}',
    notApplicable: inJson,
    check: async target => {
      const reply = await post(target, { id: 'req-001', inputs: [] })
      assertError(reply)
      assert.deepEqual(Object.keys(jsonOf(reply)), ['error'])
    },
  },
  {
    name: 'an error response has Content-Type application/json',
    source: 'open_inference_rest.yaml, content',
    level: 'required',
    expected: 'Content-Type: application/json',
    check: async target =>
      assert.match(
        (await post(target, '{}')).headers['content-type'] ?? '',
        /^application\/json\b/i,
      ),
  },
  {
    name: 'after 200 invalid requests the server returns the same outputs as before',
    source: silent('one client’s mistakes must not affect other clients'),
    level: 'stricter',
    expected: 'the same outputs',
    notApplicable: target => inJson(target) && binary(target),
    check: async target => {
      const { inputs } = target.example
      const answer = () =>
        inJson(target) === undefined
          ? infer(target)
          : inferBinary(target, inputs, { outputs: outputsOf(target, { binary_data: true }) })
      const before = await answer()
      for (let i = 0; i < 4; i++)
        await Promise.all(
          Array.from({ length: 50 }, (_, j) => post(target, `{"inputs":[${i},${j}`)),
        )
      assertSame(target, await answer(), before)
    },
  },
]
