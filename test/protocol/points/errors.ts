import assert from 'node:assert/strict'
import { assertClose, assertError, assertRefused, infer, inferBinary, jsonOf } from '../answer.ts'
import { all, inJson } from '../applies.ts'
import { DATATYPES } from '../datatypes.ts'
import type { Applicable, Point } from '../point.ts'
import { exampleRequest, get, outputsOf, post, withInput } from '../request.ts'
import { oip, silent } from '../sources.ts'

const ERROR = oip('Inference Response JSON Error Object')

const fails: Applicable = target => (target.failing === undefined ? 'no inputs are known that the model has no answer for' : undefined)

export const points: readonly Point[] = [
  {
    name: 'what the model has no answer for is an error with {"error"}',
    source: ERROR,
    level: 'required',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertError(await post(target, { inputs }))
    },
  },
  {
    name: 'a model that fails on a request that fits it is no mistake of the caller: 500',
    source: silent('the caller cannot mend it, and must not retry elsewhere for a 503'),
    level: 'stricter',
    notApplicable: fails,
    check: async target => {
      for (const inputs of target.failing ?? []) assertRefused(await post(target, { inputs }), 500)
    },
  },
  {
    name: 'a run that fails spoils no other request sent at once',
    source: silent('callers do not know each other'),
    level: 'stricter',
    notApplicable: fails,
    check: async target => {
      const [failing = []] = target.failing ?? []
      const expected = await infer(target)
      const [good, bad] = await Promise.all([
        Promise.all(Array.from({ length: 10 }, () => infer(target))),
        Promise.all(Array.from({ length: 5 }, () => post(target, { inputs: failing }))),
      ])
      for (const response of good) assertClose(response, expected)
      for (const reply of bad) assertError(reply)
    },
  },
  {
    name: 'an error says in words which input is wrong',
    source: `${ERROR} ("the descriptive message")`,
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      for (const { name } of target.metadata.inputs) {
        const index = target.metadata.inputs.findIndex(input => input.name === name)
        for (const change of [{ shape: [-7] }, { data: 'x' }, { datatype: 'FP128' }]) {
          const { error } = jsonOf(await post(target, withInput(target, change, index)))
          assert.ok((error as string).includes(name), `${error} does not name input ${name}`)
        }
      }
    },
  },
  {
    name: 'an error is short, however long the mistake',
    source: `${ERROR} ("the descriptive message")`,
    level: 'stricter',
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
        assert.ok(reply.body.byteLength < 4096, `${Object.keys(change)}: an error of ${reply.body.byteLength} bytes`)
      }
      assert.ok((await get(target, `/v2/models/${long.slice(0, 5000)}`)).body.byteLength < 4096)
      assert.ok((await post(target, long)).body.byteLength < 4096)
    },
  },
  {
    name: 'an error is an object with "error" alone, without the id',
    source: ERROR,
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      const reply = await post(target, { id: 'req-001', inputs: [] })
      assertError(reply)
      assert.deepEqual(Object.keys(jsonOf(reply)), ['error'])
    },
  },
  {
    name: 'after two hundred mistakes the server answers as before',
    source: silent('a client’s mistake is nobody else’s'),
    level: 'stricter',
    notApplicable: all(target =>
      target.metadata.inputs.every(({ datatype }) => Object.hasOwn(DATATYPES, datatype)) ? undefined : 'an unknown datatype',
    ),
    check: async target => {
      const answer = () => inferBinary(target, exampleRequest(target).inputs, { outputs: outputsOf(target, { binary_data: true }) })
      const before = await answer()
      for (let i = 0; i < 4; i++) await Promise.all(Array.from({ length: 50 }, (_, j) => post(target, `{"inputs":[${i},${j}`)))
      assert.deepEqual(await answer(), before)
    },
  },
]
