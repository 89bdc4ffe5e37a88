import { assertSame, infer } from '../answer.ts'
import { all, batched, inJson, notEmpty, oneInput, ranked } from '../applies.ts'
import { type Mistake, refusals } from '../mistakes.ts'
import type { Applicable, Point, Target } from '../point.ts'
import { exampleInput, nested, post, reshaped, withInput } from '../request.ts'
import { oip } from '../sources.ts'

const DATA = oip('Tensor Data')

const wrong = (
  mistake: string,
  level: Point['level'],
  change: (data: readonly unknown[], shape: readonly number[]) => unknown,
  applies: Applicable = all(),
): Mistake => ({
  mistake,
  source: DATA,
  level,
  notApplicable: all(inJson, notEmpty, applies),
  send: target =>
    post(
      target,
      withInput(target, { data: change(exampleInput(target).data, exampleInput(target).shape) }),
    ),
})

/** Rows can differ in length only if there is more than one element. */
const wide: Applicable = target =>
  exampleInput(target).data.length > 1 ? undefined : 'the first input’s example has one element'

const MISTAKES: Mistake[] = [
  wrong('data with one element too few', 'required', data => data.slice(1)),
  wrong('data with one element too many', 'required', data => [...data, data[0]]),
  wrong('data with twice as many elements', 'required', data => [...data, ...data]),
  wrong('empty data', 'required', () => []),
  wrong('an input with neither data nor binary data', 'required', () => undefined),
  wrong('data that is null', 'required', () => null),
  wrong('data that is a single number', 'required', () => 1),
  wrong('data that is a string', 'required', () => '[1]'),
  wrong('data that is an object', 'required', data => ({ ...data })),
  wrong('data that is an object with a "length" field', 'required', data => ({
    ...data,
    length: data.length,
  })),
  wrong('null as the last element', 'stricter', data => [...data.slice(0, -1), null]),
  wrong(
    'ragged data with the correct number of elements',
    'stricter',
    data => [data.slice(0, 1), data.slice(1)],
    all(ranked(2), wide),
  ),
  wrong(
    'data whose rows are one element too short',
    'required',
    (data, shape) => nested(data, shape.with(-1, (shape.at(-1) as number) - 1)),
    all(ranked(2), wide),
  ),
  wrong(
    'data nested as a column instead of rows',
    'stricter',
    data => data.map(element => [element]),
    all(ranked(2), wide, target =>
      exampleInput(target).shape.at(-1) === 1 ? 'the last dimension is 1' : undefined,
    ),
  ),
  wrong(
    'data nested one level too deep',
    'stricter',
    (data, shape) => [nested(data, shape)],
    ranked(1),
  ),
  wrong(
    'a vector with every element in an array of its own',
    'stricter',
    data => data.map(element => [element]),
    all((target: Target) =>
      exampleInput(target).shape.length === 1 ? undefined : 'the first input is not a vector',
    ),
  ),
  wrong(
    'a nested element before flat elements',
    'stricter',
    data => [data.slice(0, 1), ...data.slice(1)],
    all(ranked(2), wide),
  ),
  wrong(
    'a nested element after flat elements',
    'stricter',
    data => [...data.slice(0, -1), data.slice(-1)],
    wide,
  ),
  wrong(
    'data nested one level too shallow',
    'stricter',
    (data, shape) => nested(data, [(shape[0] as number) * (shape[1] as number), ...shape.slice(2)]),
    ranked(3),
  ),
  wrong('data nested 90 levels deep', 'stricter', data => {
    let deep: unknown = data
    for (let depth = 0; depth < 90; depth++) deep = [deep]
    return deep
  }),
]

export const points: readonly Point[] = [
  ...refusals('invalid tensor data', MISTAKES),
  {
    name: 'data nested according to its shape gives the same outputs as flat data',
    source: DATA,
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(inJson, notEmpty, ranked(1)),
    check: async target => {
      const { data, shape } = exampleInput(target)
      assertSame(
        target,
        await infer(target, withInput(target, { data: nested(data, shape) })),
        await infer(target),
      )
    },
  },
  {
    name: 'nested data with several rows gives the same outputs as flat data',
    source: DATA,
    level: 'required',
    expected: 'the same outputs',
    notApplicable: all(inJson, notEmpty, ranked(2), batched, oneInput),
    check: async target => {
      const input = exampleInput(target)
      const rows = reshaped(input, [3, ...input.shape.slice(1)])
      assertSame(
        target,
        await infer(target, { inputs: [{ ...rows, data: nested(rows.data, rows.shape) }] }),
        await infer(target, { inputs: [rows] }),
      )
    },
  },
]
