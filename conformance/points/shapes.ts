import assert from 'node:assert/strict'
import { assertEchoed, assertRefused, infer, inferBinary } from '../answer.ts'
import {
  all,
  batched,
  binary,
  echoes,
  fixedDimension,
  inJson,
  notEmpty,
  ranked,
  scalarInput,
  variable,
} from '../applies.ts'
import { raw } from '../json.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Applicable, Point, Target } from '../point.ts'
import {
  elementCount,
  exampleInput,
  exampleRequest,
  type InferenceRequest,
  post,
  reshaped,
  rowsOf,
  withInput,
} from '../request.ts'
import { oip, silent } from '../sources.ts'

const SHAPE = oip('Request Input', '"shape"')

const wrong = (
  mistake: string,
  level: Point['level'],
  request: (target: Target) => InferenceRequest,
  applies: Applicable = all(),
): Mistake => ({
  mistake,
  source: SHAPE,
  level,
  notApplicable: all(inJson, notEmpty, applies),
  send: target => post(target, request(target)),
})

const shaped =
  (shape: (shape: readonly number[]) => unknown, data?: unknown) =>
  (target: Target): InferenceRequest =>
    withInput(target, {
      shape: shape(exampleInput(target).shape),
      ...(data !== undefined && { data }),
    })

const first = (json: string) => (shape: readonly number[]) => raw(`[${[json, ...shape.slice(1)]}]`)

/** The element count of the first input overflows to 0 in 64 bits. */
function wrapping(target: Target): InferenceRequest {
  const { shape } = exampleInput(target)
  const at = target.metadata.inputs[0]?.shape.indexOf(-1) as number
  const others = BigInt(elementCount(shape.toSpliced(at, 1)))
  return withInput(target, {
    shape: shape.map((dimension, i) => (i === at ? 2n ** 64n / (others & -others) : dimension)),
    data: [],
  })
}

const scaled =
  (times: bigint, data?: readonly unknown[]) =>
  (target: Target): InferenceRequest => {
    const at = target.metadata.inputs[0]?.shape.indexOf(-1)
    const shape = exampleInput(target).shape.map((dimension, i) =>
      i === at ? times * BigInt(dimension) : dimension,
    )
    return withInput(target, { shape, ...(data && { data }) })
  }

const MISTAKES: Mistake[] = [
  wrong(
    'a shape with one dimension too many',
    'required',
    shaped(shape => [...shape, 1]),
  ),
  wrong(
    'a shape with an additional leading 1',
    'required',
    shaped(shape => [1, ...shape]),
  ),
  wrong(
    'a shape with one dimension too few',
    'required',
    shaped(shape => [elementCount(shape), ...shape.slice(2)].slice(0, shape.length - 1)),
    ranked(1),
  ),
  wrong(
    'the shape [] for an input that is not a scalar',
    'required',
    shaped(() => []),
    ranked(1),
  ),
  wrong(
    'a wrong size for a fixed dimension',
    'required',
    target => {
      const at = target.metadata.inputs[0]?.shape.findIndex(dimension => dimension !== -1)
      const input = exampleInput(target)
      return withInput(
        target,
        reshaped(
          input,
          input.shape.map((dimension, i) => (i === at ? dimension + 1 : dimension)),
        ),
      )
    },
    fixedDimension,
  ),
  wrong(
    'size 0 for a fixed dimension',
    'required',
    target => {
      const at = target.metadata.inputs[0]?.shape.findIndex(dimension => dimension !== -1)
      return withInput(target, {
        shape: exampleInput(target).shape.map((dimension, i) => (i === at ? 0 : dimension)),
        data: [],
      })
    },
    fixedDimension,
  ),
  wrong(
    'dimensions in reverse order',
    'required',
    shaped(shape => shape.toReversed()),
    all(ranked(2), target => {
      const known = target.metadata.inputs[0]?.shape ?? []
      const reversed = exampleInput(target).shape.toReversed()
      return known.every((dimension, i) => dimension === -1 || dimension === reversed[i])
        ? 'the reversed shape is valid, too'
        : undefined
    }),
  ),
  wrong('a negative dimension', 'required', shaped(first('-1')), ranked(1)),
  wrong('a dimension of −2^63', 'required', shaped(first('-9223372036854775808')), ranked(1)),
  wrong(
    'two negative dimensions whose product is correct',
    'required',
    shaped(shape => shape.map((dimension, i) => (i < 2 ? -dimension : dimension))),
    ranked(2),
  ),
  wrong('a fractional dimension', 'required', shaped(first('1.5')), ranked(1)),
  wrong('a dimension of 1e400', 'required', shaped(first('1e400')), ranked(1)),
  wrong(
    'a dimension above the maximum of INT64',
    'required',
    shaped(first('9223372036854775808')),
    ranked(1),
  ),
  wrong(
    'a dimension above the maximum of UINT64',
    'required',
    shaped(first('18446744073709551617')),
    ranked(1),
  ),
  wrong('a dimension of 1000 digits', 'required', shaped(first('9'.repeat(1000))), ranked(1)),
  wrong('a huge dimension', 'required', scaled(2n ** 40n), variable),
  wrong(
    'a dimension that is correct only modulo 2^32',
    'required',
    scaled(2n ** 32n + 1n),
    variable,
  ),
  wrong('a huge dimension without data', 'required', scaled(2n ** 40n, []), variable),
  wrong('a shape whose element count overflows to 0 in 64 bits', 'required', wrapping, variable),
  wrong(
    'an input without a shape',
    'required',
    shaped(() => undefined),
  ),
  ...[null, '[1]', 1, {}, true].map(shape =>
    wrong(
      `a shape that is ${JSON.stringify(shape)}`,
      'required',
      shaped(() => shape),
    ),
  ),
  wrong(
    'a dimension that is a string',
    'stricter',
    shaped(shape => shape.map(String)),
    ranked(1),
  ),
  wrong('a dimension that is null', 'required', shaped(first('null')), ranked(1)),
  wrong('a dimension that is true', 'stricter', shaped(first('true')), ranked(1)),
  wrong(
    'a dimension that is an array',
    'required',
    shaped(shape => [shape]),
    ranked(1),
  ),
  wrong(
    'a shape of 10,000 dimensions',
    'required',
    shaped(shape => [...Array(10_000).fill(1), ...shape]),
  ),
]

export const points: readonly Point[] = [
  ...refusals('invalid shapes', MISTAKES),
  {
    name: 'an empty batch gets outputs without rows',
    source: silent('Triton accepts shape [0, 4] with data []'),
    level: 'stricter',
    expected: 'outputs without rows',
    notApplicable: all(inJson, batched),
    check: async target => {
      const { outputs } = await infer(target, {
        inputs: exampleRequest(target).inputs.map(input => rowsOf(input, 0)),
      })
      assert.deepEqual(
        outputs.map(({ shape }) => shape[0]),
        outputs.map(() => 0),
      )
    },
  },
  {
    name: 'an empty batch may be binary, with a binary_data_size of 0',
    source: silent('Triton accepts an empty batch'),
    level: 'stricter',
    expected: 'outputs without rows',
    notApplicable: all(binary, inJson, batched),
    check: async target => {
      const { outputs } = await inferBinary(
        target,
        exampleRequest(target).inputs.map(input => rowsOf(input, 0)),
      )
      assert.deepEqual(
        outputs.map(({ shape }) => shape[0]),
        outputs.map(() => 0),
      )
    },
  },
  ...[2, 3, 1000].map(
    (times): Point => ({
      name: `a request with ${times} times the rows gets outputs with ${times} times the rows`,
      source: oip('Response Output', '"the full shape of the entire batch"'),
      // The metadata does not state the maximum batch size.
      level: times === 1000 ? 'stricter' : 'required',
      expected: `${times} times the rows in every output`,
      notApplicable: all(inJson, batched),
      check: async target => {
        const { outputs } = await infer(target, {
          inputs: exampleRequest(target).inputs.map(input => rowsOf(input, times)),
        })
        const single = await infer(target)
        assert.deepEqual(
          outputs.map(({ shape }) => shape[0]),
          single.outputs.map(({ shape }) => (shape[0] as number) * times),
        )
      },
    }),
  ),
  {
    name: 'a scalar has the shape [] and one element',
    source: SHAPE,
    level: 'required',
    expected: '200',
    notApplicable: all(inJson, scalarInput),
    check: async target => {
      assert.deepEqual([exampleInput(target).shape, exampleInput(target).data.length], [[], 1])
      await infer(target)
    },
  },
  {
    name: 'every variable dimension accepts another size',
    source: oip(
      'Model Metadata Response JSON Object',
      '"variable-size dimensions are specified as -1"; a model may have limits of its own',
    ),
    level: 'stricter',
    expected: '200',
    notApplicable: all(inJson, variable, target =>
      target.metadata.inputs.length > 1
        ? 'the dimensions of several inputs may depend on each other'
        : undefined,
    ),
    check: async target => {
      const sizes = target.metadata.inputs[0]?.shape as number[]
      const input = exampleInput(target)
      await infer(target, {
        inputs: [
          reshaped(
            input,
            input.shape.map((dimension, i) => (sizes[i] === -1 ? dimension + 2 : dimension)),
          ),
        ],
      })
    },
  },
  {
    name: 'a shape comes back unchanged',
    source: oip('Response Output'),
    level: 'required',
    expected: 'the shape and data of the request',
    notApplicable: all(inJson, echoes),
    check: async target => assertEchoed(await infer(target), exampleInput(target)),
  },
  {
    name: 'inputs with incompatible shapes are rejected, not broadcast',
    source: silent('an error is better than a wrong result'),
    level: 'stricter',
    expected: '400 with {"error"}',
    notApplicable: target =>
      target.mismatched === undefined ? 'the suite has no incompatible inputs' : undefined,
    check: async target => {
      for (const inputs of target.mismatched ?? [])
        assertRefused(await post(target, { inputs }), 400)
    },
  },
]
