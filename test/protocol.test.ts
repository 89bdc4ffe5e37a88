import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parseJson } from './protocol/json.ts'
import type { Target, Tensor, Value } from './protocol/point.ts'
import { aboutTensors, points } from './protocol/points.ts'
import { readTarget } from './protocol/target.ts'
import { type Server, startServer, testModel } from './server.ts'

/** Every point of the Open Inference Protocol, on models that between them make each applicable. */

const DATATYPES = ['bool', 'uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64', 'fp16', 'fp32', 'fp64', 'bytes']

/** Of one input and of several, with versions and without, and such as fail. */
const ALL_POINTS = ['two-in-two-out', 'failing', 'not-utf8']

const POINTS_ABOUT_TENSORS = [
  ...DATATYPES.map(datatype => `identity-${datatype}`),
  'same-dimension',
  'fixed',
  'middle',
  'no-batch',
  'scalar',
  'vector-sum',
  'fp16-out',
  'specials',
  'big-int-out',
]

/** Small enough to be passed at once, large enough for an id of 1 MB. */
const MAX_BODY_BYTES = 4 * 2 ** 20

interface Case {
  readonly name: string
  readonly inputs: readonly Tensor[]
  readonly outputs?: readonly { readonly datatype: string; readonly data?: unknown }[]
}

interface Cases {
  readonly cases: readonly Case[]
  readonly fails?: readonly Case[]
  readonly refused?: readonly Case[]
}

function readCases(model: string): Cases {
  const file = `${testModel(model)}/cases.json`
  return existsSync(file) ? (parseJson(readFileSync(file, 'utf8')) as Cases) : { cases: [] }
}

/** As points want values: INT64 and UINT64 are bigints, and what is not finite a number. */
const readInputs = ({ inputs }: Case): readonly Tensor[] =>
  inputs.map(({ name, datatype, shape, data }) => ({ name, datatype, shape, data: data.map(element => readValue(datatype, element)) }))

function readValue(datatype: string, element: Value): Value {
  if (datatype === 'INT64' || datatype === 'UINT64') return BigInt(element)
  return datatype.startsWith('FP') ? Number(element) : element
}

/** A case whose outputs JSON cannot say. */
const isUnsayable = ({ outputs }: Case) => outputs?.some(({ datatype, data }) => datatype === 'BYTES' && data === undefined) === true

async function startTarget(model: string | undefined): Promise<{ server: Server; target: Target }> {
  const { cases, fails = [], refused = [] } = model === undefined ? { cases: [] } : readCases(model)
  const server = await startServer({ MAX_BODY_BYTES: String(MAX_BODY_BYTES), ...(model && { MODEL_DIR: testModel(model) }) })
  const example = cases.find(({ name }) => name.startsWith('one ')) ?? cases[0]
  const failing = [...fails, ...cases.filter(isUnsayable)].map(readInputs)
  const mismatched = refused.filter(({ inputs }) => inputs.length > 1).map(readInputs)
  const target = await readTarget({
    url: server.url,
    model: server.service.model.name,
    version: server.service.model.version,
    example: example && readInputs(example),
    ...(model === undefined && { limits: { maxBodyBytes: MAX_BODY_BYTES } }),
    ...(failing.length > 0 && { failing }),
    ...(mismatched.length > 0 && { mismatched }),
  })
  return { server, target }
}

const appliedTo = new Map<string, number>(points.map(({ name }) => [name, 0]))

test('every point has a name of its own', () => assert.equal(appliedTo.size, points.length))

for (const model of [undefined, ...ALL_POINTS, ...POINTS_ABOUT_TENSORS]) {
  const { server, target } = await startTarget(model)
  const asked = POINTS_ABOUT_TENSORS.includes(model ?? '') ? aboutTensors : points
  for (const { name, level, source, notApplicable, check } of asked) {
    if (notApplicable?.(target) !== undefined) continue
    appliedTo.set(name, (appliedTo.get(name) as number) + 1)
    await test(`${model ?? 'iris'}: ${name} [${level}; ${source}]`, () => check(target))
  }
  await server.stop()
}

test('every point applies to at least one of the models', () =>
  assert.deepEqual(
    [...appliedTo].filter(([, models]) => models === 0).map(([name]) => name),
    [],
  ))
