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

/** The shape with this JSON as its first dimension. */
const first = (json: string) => (shape: readonly number[]) => raw(`[${[json, ...shape.slice(1)]}]`)

/** The first input's shape, with an element count of 0 if 64 bits wrap around. */
function wrapping(target: Target): InferenceRequest {
  const { shape } = exampleInput(target)
  const at = target.metadata.inputs[0]?.shape.indexOf(-1) as number
  const others = BigInt(elementCount(shape.toSpliced(at, 1)))
  return withInput(target, {
    shape: shape.map((dimension, i) => (i === at ? 2n ** 64n / (others & -others) : dimension)),
    data: [],
  })
}

/** The first input with its variable dimension this many times as large. */
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
    'a shape of one dimension too many',
    'required',
    shaped(shape => [...shape, 1]),
  ),
  wrong(
    'a shape with a leading 1 too many',
    'required',
    shaped(shape => [1, ...shape]),
  ),
  wrong(
    'a shape of one dimension too few',
    'required',
    shaped(shape => [elementCount(shape), ...shape.slice(2)].slice(0, shape.length - 1)),
    ranked(1),
  ),
  wrong(
    'a scalar’s shape for a vector',
    'required',
    shaped(() => []),
    ranked(1),
  ),
  wrong(
    'a fixed dimension of another size',
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
    'a fixed dimension of 0',
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
    'dimensions in another order',
    'required',
    shaped(shape => shape.toReversed()),
    all(ranked(2), target => {
      const known = target.metadata.inputs[0]?.shape ?? []
      const reversed = exampleInput(target).shape.toReversed()
      return known.every((dimension, i) => dimension === -1 || dimension === reversed[i])
        ? 'the shape fits backwards too'
        : undefined
    }),
  ),
  wrong('a negative dimension', 'required', shaped(first('-1')), ranked(1)),
  wrong(
    'the largest negative dimension',
    'required',
    shaped(first('-9223372036854775808')),
    ranked(1),
  ),
  wrong(
    'two negative dimensions whose product is right',
    'required',
    shaped(shape => shape.map((dimension, i) => (i < 2 ? -dimension : dimension))),
    ranked(2),
  ),
  wrong('a fractional dimension', 'required', shaped(first('1.5')), ranked(1)),
  wrong('a dimension of 1e400', 'required', shaped(first('1e400')), ranked(1)),
  wrong(
    'a dimension larger than INT64',
    'required',
    shaped(first('9223372036854775808')),
    ranked(1),
  ),
  wrong(
    'a dimension larger than UINT64',
    'required',
    shaped(first('18446744073709551617')),
    ranked(1),
  ),
  wrong('a dimension of a thousand digits', 'required', shaped(first('9'.repeat(1000))), ranked(1)),
  wrong('a huge dimension', 'required', scaled(2n ** 40n), variable),
  wrong(
    'a dimension that wraps to the right size at 32 bits',
    'required',
    scaled(2n ** 32n + 1n),
    variable,
  ),
  wrong('a huge dimension of no data', 'required', scaled(2n ** 40n, []), variable),
  wrong('a shape whose element count wraps to 0 at 64 bits', 'required', wrapping, variable),
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
  ...refusals('shapes', MISTAKES),
  {
    name: 'an empty batch is answered with an empty batch',
    source: silent('Triton takes shape [0, 4] with data []'),
    level: 'stricter',
    expected: 'outputs of no rows',
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
    name: 'an empty batch may be binary: binary_data_size is 0',
    source: silent('Triton takes it'),
    level: 'stricter',
    expected: 'outputs of no rows',
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
      name: `${times} times the rows are answered with ${times} times the rows`,
      source: oip('Response Output', '"the full shape of the entire batch"'),
      // The metadata does not give the largest batch.
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
    name: 'a variable dimension takes another size wherever it is',
    source: oip(
      'Model Metadata Response JSON Object',
      '"variable-size dimensions are specified as -1"; a model may have limits of its own',
    ),
    level: 'stricter',
    expected: '200',
    notApplicable: all(inJson, variable, target =>
      target.metadata.inputs.length > 1
        ? 'dimensions of several inputs may have to agree'
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
    name: 'a shape comes back as it was sent',
    source: oip('Response Output'),
    level: 'required',
    expected: 'the shape and the data sent',
    notApplicable: all(inJson, echoes),
    check: async target => assertEchoed(await infer(target), exampleInput(target)),
  },
  {
    name: 'inputs that do not fit each other are refused, not broadcast',
    source: silent('a wrong answer is worse than none'),
    level: 'stricter',
    expected: '400 with {"error"}',
    notApplicable: target =>
      target.mismatched === undefined ? 'no such inputs are known' : undefined,
    check: async target => {
      for (const inputs of target.mismatched ?? [])
        assertRefused(await post(target, { inputs }), 400)
    },
  },
]
