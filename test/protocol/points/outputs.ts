import assert from 'node:assert/strict'
import { assertClose, infer, readResponse } from '../answer.ts'
import { all, inJson, severalOutputs, unversioned, versioned } from '../applies.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Applicable, Point, Target } from '../point.ts'
import { exampleRequest, outputsOf, post } from '../request.ts'
import { oip, rfc, silent } from '../sources.ts'

const OUTPUT = oip('Request Output')
const RESPONSE = oip('Inference Response JSON Object')

const ask = (target: Target, outputs: unknown) => ({ ...exampleRequest(target), outputs })

const wrong = (mistake: string, level: Point['level'], outputs: (target: Target) => unknown, applies: Applicable = all()): Mistake => ({
  mistake,
  source: OUTPUT,
  level,
  notApplicable: all(inJson, applies),
  send: target => post(target, ask(target, outputs(target))),
})

const MISTAKES: Mistake[] = [
  ...['no-such-output', '', '__proto__', 'constructor', 'toString'].map(name =>
    wrong(`an output called "${name}", which the model does not have,`, 'required', () => [{ name }]),
  ),
  wrong('an unknown output beside known ones', 'required', target => [...outputsOf(target), { name: 'no-such-output' }]),
  wrong('an output asked for twice', 'stricter', target => [...outputsOf(target), ...outputsOf(target)]),
  wrong('an output without a name', 'required', () => [{}]),
  ...[null, 1, true, [], {}].map(name => wrong(`an output whose name is ${JSON.stringify(name)}`, 'required', () => [{ name }])),
  ...[null, 1, []].map(output => wrong(`an output that is ${JSON.stringify(output)}`, 'required', () => [output])),
  wrong('an output that is its name alone', 'stricter', target => outputsOf(target).map(({ name }) => name)),
  ...[null, {}, 'x', 1, true].map(outputs => wrong(`outputs that are ${JSON.stringify(outputs)}`, 'stricter', () => outputs)),
  ...[null, [], 'x', 1, true].map(parameters =>
    wrong(`an output’s parameters that are ${JSON.stringify(parameters)}`, 'stricter', target =>
      outputsOf(target).map(output => ({ ...output, parameters })),
    ),
  ),
  wrong('an output’s parameter that is an object', 'stricter', target => outputsOf(target, { any: {} })),
]

export const points: readonly Point[] = [
  ...refusals('outputs', MISTAKES),
  {
    name: 'every output of the metadata is answered, each once',
    source: `${RESPONSE}; ${oip('Request Output')} ("if not specified all outputs")`,
    level: 'required',
    notApplicable: inJson,
    check: async target => {
      const { outputs } = await infer(target)
      assert.deepEqual(outputs.map(({ name }) => name).sort(), target.metadata.outputs.map(({ name }) => name).sort())
    },
  },
  {
    name: 'outputs come in the order of the metadata unless asked otherwise',
    source: silent('clients read outputs[0]'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      const { outputs } = await infer(target)
      assert.deepEqual(
        outputs.map(({ name }) => name),
        target.metadata.outputs.map(({ name }) => name),
      )
    },
  },
  {
    name: 'an empty list of outputs asks for all of them',
    source: silent('clients send it for "not specified"'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => assert.deepEqual(await infer(target, ask(target, [])), await infer(target)),
  },
  {
    name: 'all outputs may be asked for by name',
    source: OUTPUT,
    level: 'required',
    notApplicable: inJson,
    check: async target => assert.deepEqual(await infer(target, ask(target, outputsOf(target))), await infer(target)),
  },
  {
    name: 'each output may be asked for alone, and nothing else comes',
    source: OUTPUT,
    level: 'required',
    notApplicable: all(inJson, severalOutputs),
    check: async target => {
      const { outputs } = await infer(target)
      for (const output of outputs) {
        const alone = await infer(target, ask(target, [{ name: output.name }]))
        assert.deepEqual(alone.outputs, [output])
      }
    },
  },
  {
    name: 'outputs come in the order asked for',
    source: silent('clients read outputs[0]'),
    level: 'stricter',
    notApplicable: all(inJson, severalOutputs),
    check: async target => {
      const { outputs } = await infer(target, ask(target, outputsOf(target).toReversed()))
      assert.deepEqual(outputs, (await infer(target)).outputs.toReversed())
    },
  },
  {
    name: 'an unknown field or parameter of an output is ignored',
    source: oip('Parameters'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      const outputs = outputsOf(target, { any: 'x', other: -1.5 }).map(output => ({ ...output, extra: [1], datatype: 'FP32' }))
      assert.deepEqual(await infer(target, ask(target, outputs)), await infer(target))
    },
  },
  {
    name: 'the response names the model',
    source: `${RESPONSE}, "model_name"`,
    level: 'required',
    notApplicable: inJson,
    check: async target => assert.equal((await infer(target)).json.model_name, target.model),
  },
  {
    name: 'the response names the version',
    source: `${RESPONSE}, "model_version" ("the specific model version used")`,
    level: 'stricter',
    notApplicable: all(inJson, versioned),
    check: async target => assert.equal((await infer(target)).json.model_version, target.version),
  },
  {
    name: 'without versions the response has no model_version',
    source: `${RESPONSE}, "model_version" ("should not provide this field")`,
    level: 'required',
    notApplicable: all(inJson, unversioned),
    check: async target => assert.equal('model_version' in (await infer(target)).json, false),
  },
  {
    name: 'the response is application/json, and its length is right',
    source: `${oip('Inference Request Examples')}; ${rfc(9110, '8.6')}`,
    level: 'required',
    notApplicable: inJson,
    check: async target => {
      const reply = await post(target, { id: '🌸', ...exampleRequest(target) })
      readResponse(target, reply)
      if (reply.headers['content-length'] !== undefined) assert.equal(Number(reply.headers['content-length']), reply.body.byteLength)
      assert.match(reply.headers['content-type'] as string, /^application\/json(; *charset=utf-8)?$/i)
    },
  },
  {
    name: 'the response is JSON that any parser reads: no bare NaN, no null in tensor data',
    source: rfc(8259, '6'),
    level: 'required',
    notApplicable: inJson,
    check: async target => {
      const { body } = await post(target, exampleRequest(target))
      const { outputs } = JSON.parse(body.toString()) as { outputs: { data: unknown[] }[] }
      for (const { data } of outputs) assert.ok(!data.includes(null))
    },
  },
  {
    name: 'the same request gets the same answer',
    source: silent('a model is a function'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      const first = await infer(target)
      for (let i = 0; i < 3; i++) assert.deepEqual(await infer(target), first)
    },
  },
  {
    name: 'requests sent at once each get their own answer',
    source: `${RESPONSE}, "id"`,
    level: 'required',
    notApplicable: inJson,
    check: async target => {
      const expected = await infer(target)
      const ids = Array.from({ length: 40 }, (_, i) => `request ${i}`)
      const responses = await Promise.all(ids.map(id => infer(target, { id, ...exampleRequest(target) })))
      assert.deepEqual(
        responses.map(({ json }) => json.id),
        ids,
      )
      for (const response of responses) assertClose(response, expected)
    },
  },
  {
    name: 'a mistake sent at once with good requests spoils none of them',
    source: silent('callers do not know each other'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => {
      const replies = await Promise.all(
        Array.from({ length: 20 }, (_, i) => post(target, i % 4 === 0 ? { inputs: [] } : exampleRequest(target))),
      )
      assert.deepEqual(
        replies.map(({ status }) => status),
        replies.map((_, i) => (i % 4 === 0 ? 400 : 200)),
      )
    },
  },
]
