import assert from 'node:assert/strict'
import { assertError, assertRefused, assertSame, infer, inferBinary, jsonOf } from '../answer.ts'
import { binary, inJson } from '../applies.ts'
import type { Applicable, Point } from '../point.ts'
import { get, outputsOf, post, withInput } from '../request.ts'
import { oip, silent } from '../sources.ts'

const ERROR = oip('Inference Response JSON Error Object')

const fails: Applicable = target =>
  target.failing === undefined ? 'no inputs are known that the model has no answer for' : undefined

export const points: readonly Point[] = [
  {
    name: 'a request that the model cannot answer is an error with {"error"}',
    source: ERROR,
    level: 'required',
    expected: 'an error status with {"error"}',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertError(await post(target, { inputs }))
    },
  },
  {
    name: 'a model that fails on a request that fits it is no mistake of the caller: 500',
    source: silent('the caller cannot mend it, and must not retry elsewhere for a 503'),
    level: 'stricter',
    expected: '500 with {"error"}',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertRefused(await post(target, { inputs }), 500)
    },
  },
  {
    name: 'a run that fails spoils no other request sent at once',
    source: silent('callers do not know each other'),
    level: 'stricter',
    expected: '200 for the others',
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
    name: 'an error says in words which input is wrong',
    source: oip('Inference Response JSON Error Object', '"the descriptive message"'),
    level: 'stricter',
    expected: '{"error"} with the input’s name in it',
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
    name: 'an error is short, however long the mistake',
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
          `${Object.keys(change)}: an error of ${reply.body.byteLength} bytes`,
        )
      }
      for (const reply of [
        await get(target, `/v2/models/${long.slice(0, 5000)}`),
        await post(target, long),
      ]) {
        assert.ok(reply.body.byteLength < 4096, `an error of ${reply.body.byteLength} bytes`)
      }
    },
  },
  {
    name: 'an error is an object with "error" alone, without the id',
    source: ERROR,
    level: 'stricter',
    expected: '{"error"} and nothing else',
    notApplicable: inJson,
    check: async target => {
      const reply = await post(target, { id: 'req-001', inputs: [] })
      assertError(reply)
      assert.deepEqual(Object.keys(jsonOf(reply)), ['error'])
    },
  },
  {
    name: 'an error comes as application/json',
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
    name: 'after two hundred mistakes the server answers as before',
    source: silent('a client’s mistake is nobody else’s'),
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
