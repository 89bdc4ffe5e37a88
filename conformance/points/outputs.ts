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
  wrong('an unknown output among known outputs', 'required', target => [
    ...outputsOf(target),
    { name: 'no-such-output' },
  ]),
  wrong('an output requested twice', 'stricter', target => [
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
  wrong('an output that is only its name', 'stricter', target =>
    outputsOf(target).map(({ name }) => name),
  ),
  ...[{}, 'x', 1, true].map(outputs =>
    wrong(`a request whose outputs are ${JSON.stringify(outputs)}`, 'stricter', () => outputs),
  ),
  ...[[], 'x', 1, true].map(parameters =>
    wrong(`an output whose parameters are ${JSON.stringify(parameters)}`, 'stricter', target =>
      outputsOf(target).map(output => ({ ...output, parameters })),
    ),
  ),
  wrong('an output with a parameter that is an object', 'stricter', target =>
    outputsOf(target, { any: {} }),
  ),
]

export const points: readonly Point[] = [
  ...refusals('invalid outputs', MISTAKES),
  {
    name: 'the response contains every output of the metadata once',
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
    name: 'outputs have the datatype and shape that the metadata declares',
    source: oip('Model Metadata Response JSON Object', '"datatype", "shape"'),
    level: 'required',
    expected: 'the metadata’s datatype and its dimensions other than −1',
    notApplicable: inJson,
    check: async target => {
      for (const { name, datatype, shape } of (await infer(target)).outputs) {
        const known = target.metadata.outputs.find(output => output.name === name)
        assert.ok(known !== undefined, `the metadata has no output "${name}"`)
        assert.equal(
          datatype,
          known.datatype,
          `output "${name}" has datatype ${datatype}, but the metadata declares ${known.datatype}`,
        )
        const fits =
          shape.length === known.shape.length &&
          known.shape.every((dimension, i) => dimension === -1 || dimension === shape[i])
        assert.ok(
          fits,
          `output "${name}" has shape [${shape}], but the metadata declares [${known.shape}]`,
        )
      }
    },
  },
  {
    name: 'outputs have the order of the metadata by default',
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
    name: 'an empty list of outputs requests all outputs',
    source: silent('clients send an empty list for "not specified"'),
    level: 'stricter',
    expected: '200 with the example’s outputs',
    notApplicable: inJson,
    check: async target =>
      assertSame(target, await infer(target, ask(target, [])), await infer(target)),
  },
  {
    name: 'all outputs may be requested by name',
    source: OUTPUT,
    level: 'required',
    expected: '200 with the example’s outputs',
    notApplicable: inJson,
    check: async target =>
      assertSame(target, await infer(target, ask(target, outputsOf(target))), await infer(target)),
  },
  {
    name: 'a request for one output returns only that output',
    source: OUTPUT,
    level: 'required',
    expected: 'the one output, with the same values as in a full response',
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
    name: 'outputs have the requested order',
    source: silent('clients read outputs[0]'),
    level: 'stricter',
    expected: 'the requested order',
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
    name: 'the response contains the name of the model',
    source: oip('Inference Response JSON Object', '"model_name"'),
    level: 'required',
    expected: '"model_name" with the name of the model',
    notApplicable: inJson,
    check: async target => assert.equal((await infer(target)).json.model_name, target.model),
  },
  {
    name: 'the response contains the version of the model',
    source: oip('Inference Response JSON Object', '"the specific model version used", optional'),
    level: 'stricter',
    expected: '"model_version" with the version of the model',
    notApplicable: all(inJson, versioned),
    check: async target => assert.equal((await infer(target)).json.model_version, target.version),
  },
  {
    name: 'a response for a model without versions has no model_version',
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
    name: 'the response has Content-Type application/json',
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
    name: 'the length of a response counts bytes, not characters',
    source: rfc(9110, '8.6'),
    level: 'required',
    expected: 'the complete JSON',
    notApplicable: inJson,
    check: async target =>
      assert.equal(
        readResponse(await post(target, { id: 'é🌸', ...exampleRequest(target) })).json.id,
        'é🌸',
      ),
  },
  {
    name: 'the response is JSON without bare NaN or null in tensor data',
    source: rfc(8259, '6'),
    level: 'required',
    expected: 'numbers, strings and booleans',
    notApplicable: inJson,
    check: async target => {
      const { outputs } = jsonOf(await post(target, exampleRequest(target))) as {
        outputs: { name: string; data: unknown[] }[]
      }
      for (const { name, data } of outputs) {
        assert.ok(
          !data.flat(Number.POSITIVE_INFINITY).includes(null),
          `the data of output "${name}" contains null`,
        )
      }
    },
  },
  {
    name: 'the same request gets the same outputs',
    source: silent('a model is a function of its inputs'),
    level: 'stricter',
    expected: 'the same outputs each time',
    notApplicable: inJson,
    check: async target => {
      const first = await infer(target)
      for (let i = 0; i < 3; i++) assertSame({ deterministic: true }, await infer(target), first)
    },
  },
  {
    name: 'concurrent requests each get their own response',
    source: oip('Inference Response JSON Object', '"id"'),
    level: 'required',
    expected: 'the request’s "id" and the example’s outputs, or status 429 or 503',
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
      assert.ok(taken.length > 0, 'the server refused every request with 429 or 503')
      for (const { reply, id } of taken) {
        const response = readResponse(reply)
        assert.equal(response.json.id, id)
        assertSame(target, response, expected)
      }
    },
  },
  {
    name: 'an invalid request does not affect concurrent valid requests',
    source: silent('clients are independent of each other'),
    level: 'stricter',
    expected: '400 for each invalid request, 200 for each valid request',
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
