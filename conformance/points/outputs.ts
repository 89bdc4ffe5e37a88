import assert from 'node:assert/strict'
import { assertSame, infer, jsonOf, readResponse } from '../answer.ts'
import { all, inJson, severalOutputs, unversioned, versioned } from '../applies.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Applicable, Point, Target } from '../point.ts'
import { exampleRequest, outputsOf, post } from '../request.ts'
import { oip, rfc, silent } from '../sources.ts'

const OUTPUT = oip('Request Output')

const ask = (target: Target, outputs: unknown) => ({ ...exampleRequest(target), outputs })

const wrong = (
  mistake: string,
  level: Point['level'],
  outputs: (target: Target) => unknown,
  applies: Applicable = all(),
): Mistake => ({
  mistake,
  source: OUTPUT,
  level,
  notApplicable: all(inJson, applies),
  send: target => post(target, ask(target, outputs(target))),
})

const MISTAKES: Mistake[] = [
  ...['no-such-output', '', '__proto__', 'constructor', 'toString'].map(name =>
    wrong(`an output called "${name}", which the model does not have,`, 'required', () => [
      { name },
    ]),
  ),
  wrong('an unknown output beside known ones', 'required', target => [
    ...outputsOf(target),
    { name: 'no-such-output' },
  ]),
  wrong('an output asked for twice', 'stricter', target => [
    ...outputsOf(target),
    ...outputsOf(target),
  ]),
  wrong('an output without a name', 'required', () => [{}]),
  ...[null, 1, true, [], {}].map(name =>
    wrong(`an output whose name is ${JSON.stringify(name)}`, 'required', () => [{ name }]),
  ),
  ...[null, 1, []].map(output =>
    wrong(`an output that is ${JSON.stringify(output)}`, 'required', () => [output]),
  ),
  wrong('an output that is its name alone', 'stricter', target =>
    outputsOf(target).map(({ name }) => name),
  ),
  ...[{}, 'x', 1, true].map(outputs =>
    wrong(`outputs that are ${JSON.stringify(outputs)}`, 'stricter', () => outputs),
  ),
  ...[[], 'x', 1, true].map(parameters =>
    wrong(`an output’s parameters that are ${JSON.stringify(parameters)}`, 'stricter', target =>
      outputsOf(target).map(output => ({ ...output, parameters })),
    ),
  ),
  wrong('an output’s parameter that is an object', 'stricter', target =>
    outputsOf(target, { any: {} }),
  ),
]

export const points: readonly Point[] = [
  ...refusals('outputs', MISTAKES),
  {
    name: 'every output of the metadata is answered, each once',
    source: oip(
      'Inference Request JSON Object',
      '"if not specified all outputs … will be returned"',
    ),
    level: 'required',
    expected: 'the names of the metadata’s outputs',
    notApplicable: inJson,
    check: async target => {
      const { outputs } = await infer(target)
      assert.deepEqual(
        outputs.map(({ name }) => name).sort(),
        target.metadata.outputs.map(({ name }) => name).sort(),
      )
    },
  },
  {
    name: 'outputs have the datatype and shape that the metadata says',
    source: oip('Model Metadata Response JSON Object', '"datatype", "shape"'),
    level: 'required',
    expected: 'the metadata’s datatype and dimensions, but for those of −1',
    notApplicable: inJson,
    check: async target => {
      for (const { name, datatype, shape } of (await infer(target)).outputs) {
        const known = target.metadata.outputs.find(output => output.name === name)
        assert.ok(known !== undefined, `the metadata has no output "${name}"`)
        assert.equal(
          datatype,
          known.datatype,
          `output "${name}" is ${datatype}, the metadata says ${known.datatype}`,
        )
        const fits =
          shape.length === known.shape.length &&
          known.shape.every((dimension, i) => dimension === -1 || dimension === shape[i])
        assert.ok(
          fits,
          `output "${name}" is of shape [${shape}], the metadata says [${known.shape}]`,
        )
      }
    },
  },
  {
    name: 'outputs come in the order of the metadata unless asked otherwise',
    source: silent('clients read outputs[0]'),
    level: 'stricter',
    expected: 'the metadata’s order',
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
    expected: '200 with the example’s outputs',
    notApplicable: inJson,
    check: async target =>
      assertSame(target, await infer(target, ask(target, [])), await infer(target)),
  },
  {
    name: 'all outputs may be asked for by name',
    source: OUTPUT,
    level: 'required',
    expected: '200 with the example’s outputs',
    notApplicable: inJson,
    check: async target =>
      assertSame(target, await infer(target, ask(target, outputsOf(target))), await infer(target)),
  },
  {
    name: 'each output may be asked for alone, and nothing else comes',
    source: OUTPUT,
    level: 'required',
    expected: 'one output, the same as among others',
    notApplicable: all(inJson, severalOutputs),
    check: async target => {
      const response = await infer(target)
      for (const output of response.outputs) {
        assertSame(target, await infer(target, ask(target, [{ name: output.name }])), {
          ...response,
          outputs: [output],
        })
      }
    },
  },
  {
    name: 'outputs come in the order asked for',
    source: silent('clients read outputs[0]'),
    level: 'stricter',
    expected: 'the order asked for',
    notApplicable: all(inJson, severalOutputs),
    check: async target => {
      const asked = outputsOf(target).toReversed()
      const { outputs } = await infer(target, ask(target, asked))
      assert.deepEqual(
        outputs.map(({ name }) => name),
        asked.map(({ name }) => name),
      )
    },
  },
  {
    name: 'an unknown field or parameter of an output is ignored',
    source: oip('Parameters'),
    level: 'stricter',
    expected: '200 with the example’s outputs',
    notApplicable: inJson,
    check: async target => {
      const outputs = outputsOf(target, { any: 'x', other: -1.5 }).map(output => ({
        ...output,
        extra: [1],
        datatype: 'FP32',
      }))
      assertSame(target, await infer(target, ask(target, outputs)), await infer(target))
    },
  },
  {
    name: 'the response names the model',
    source: oip('Inference Response JSON Object', '"model_name"'),
    level: 'required',
    expected: '"model_name" that is the model’s',
    notApplicable: inJson,
    check: async target => assert.equal((await infer(target)).json.model_name, target.model),
  },
  {
    name: 'the response names the version',
    source: oip('Inference Response JSON Object', '"the specific model version used", optional'),
    level: 'stricter',
    expected: '"model_version" that is the version’s',
    notApplicable: all(inJson, versioned),
    check: async target => assert.equal((await infer(target)).json.model_version, target.version),
  },
  {
    name: 'without versions the response has no model_version',
    source: oip('Inference Response JSON Object', '"should not provide this field"'),
    level: 'stricter',
    expected: 'no "model_version"',
    notApplicable: all(inJson, unversioned),
    check: async target => {
      const { json } = await infer(target)
      assert.ok(
        !('model_version' in json),
        `model_version is ${JSON.stringify(json.model_version)}`,
      )
    },
  },
  {
    name: 'the response comes as application/json',
    source: oip('Inference Request Examples'),
    level: 'required',
    expected: 'Content-Type: application/json',
    notApplicable: inJson,
    check: async target =>
      assert.match(
        (await post(target, exampleRequest(target))).headers['content-type'] ?? '',
        /^application\/json\b/i,
      ),
  },
  {
    name: 'the length of a response counts bytes, not letters',
    source: rfc(9110, '8.6'),
    level: 'required',
    expected: 'the whole JSON',
    notApplicable: inJson,
    check: async target =>
      assert.equal(
        readResponse(await post(target, { id: 'é🌸', ...exampleRequest(target) })).json.id,
        'é🌸',
      ),
  },
  {
    name: 'the response is JSON that any parser reads: no bare NaN, no null in tensor data',
    source: rfc(8259, '6'),
    level: 'required',
    expected: 'numbers, strings and booleans',
    notApplicable: inJson,
    check: async target => {
      const { outputs } = jsonOf(await post(target, exampleRequest(target))) as {
        outputs: { name: string; data: unknown[] }[]
      }
      for (const { name, data } of outputs) {
        assert.ok(!data.flat(Number.POSITIVE_INFINITY).includes(null), `null in output "${name}"`)
      }
    },
  },
  {
    name: 'the same request gets the same answer',
    source: silent('a model is a function'),
    level: 'stricter',
    expected: 'the same outputs three times',
    notApplicable: inJson,
    check: async target => {
      const first = await infer(target)
      for (let i = 0; i < 3; i++) assertSame({ deterministic: true }, await infer(target), first)
    },
  },
  {
    name: 'requests sent at once each get their own answer',
    source: oip('Inference Response JSON Object', '"id"'),
    level: 'required',
    expected: 'each its own "id" and the example’s outputs, but for 429 or 503',
    notApplicable: inJson,
    check: async target => {
      const expected = await infer(target)
      const ids = Array.from({ length: 40 }, (_, i) => `request ${i}`)
      const replies = await Promise.all(
        ids.map(id => post(target, { id, ...exampleRequest(target) })),
      )
      const taken = replies
        .map((reply, i) => ({ reply, id: ids[i] }))
        .filter(({ reply: { status } }) => status !== 429 && status !== 503)
      assert.ok(taken.length > 0, 'all of them were refused')
      for (const { reply, id } of taken) {
        const response = readResponse(reply)
        assert.equal(response.json.id, id)
        assertSame(target, response, expected)
      }
    },
  },
  {
    name: 'a mistake sent at once with good requests spoils none of them',
    source: silent('callers do not know each other'),
    level: 'stricter',
    expected: '400 for each mistake, 200 for the others',
    notApplicable: inJson,
    check: async target => {
      const replies = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          post(target, i % 4 === 0 ? { inputs: [] } : exampleRequest(target)),
        ),
      )
      assert.deepEqual(
        replies.map(({ status }) => status),
        replies.map((_, i) => (i % 4 === 0 ? 400 : 200)),
      )
    },
  },
]
