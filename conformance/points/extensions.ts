import assert from 'node:assert/strict'
import {
  assertError,
  assertSame,
  assertStatus,
  infer,
  jsonOf,
  parsed,
  type Response,
} from '../answer.ts'
import {
  advertises,
  all,
  batched,
  inJson,
  notEmpty,
  severalOutputs,
  versioned,
} from '../applies.ts'
import { INTEGERS } from '../datatypes.ts'
import type { Applicable, Point, Target, Tensor } from '../point.ts'
import {
  elementCount,
  exampleRequest,
  get,
  type InferenceRequest,
  modelPath,
  outputsOf,
} from '../request.ts'
import { tritonExtension } from '../sources.ts'

/*
 * Triton's extensions that other servers advertise too, except binary tensor data. No point loads
 * or unloads a model, or changes a setting.
 */

// Classification

const NUMBERS = [...INTEGERS, 'FP32', 'FP64']

const numeric = ({ metadata }: Target) =>
  metadata.outputs.find(({ datatype }) => NUMBERS.includes(datatype))

const classifies = (...others: readonly Applicable[]) =>
  all(
    advertises('classification'),
    inJson,
    notEmpty,
    batched,
    target => (numeric(target) ? undefined : 'the model has no numeric output'),
    ...others,
  )

const CLASSIFICATION = tritonExtension('classification')

/** The example's first numeric output, both as numbers and as `count` classes. */
async function classified(target: Target, count: (classes: number) => number) {
  const name = numeric(target)?.name
  const plain = await infer(target)
  const output = plain.outputs.find(other => other.name === name) as Tensor
  const classes = elementCount(output.shape.slice(1))
  const outputs = outputsOf(target).map(other =>
    other.name === name ? { ...other, parameters: { classification: count(classes) } } : other,
  )
  const response = await infer(target, { ...exampleRequest(target), outputs })
  return {
    plain,
    output,
    classes,
    count: count(classes),
    response,
    asClasses: response.outputs.find(other => other.name === name) as Tensor,
  }
}

function readClass(text: unknown): { value: number; index: number } {
  const [, value, index] = /^([^:]+):(\d+)(?::.*)?$/s.exec(String(text)) ?? []
  assert.ok(
    value !== undefined && index !== undefined && !Number.isNaN(Number(value)),
    `${JSON.stringify(text)} is not of the form "value:index"`,
  )
  return { value: Number(value), index: Number(index) }
}

/** Servers write only a few digits; equal values may have any order. */
function assertHighest({
  output,
  classes,
  count,
  asClasses,
}: Awaited<ReturnType<typeof classified>>): void {
  assert.equal(asClasses.datatype, 'BYTES', `the output has datatype ${asClasses.datatype}`)
  assert.equal(
    asClasses.data.length,
    (output.data.length / classes) * count,
    `the output has ${asClasses.data.length} classes`,
  )
  asClasses.data.map(readClass).forEach(({ value, index }, i) => {
    const row = Array.from({ length: classes }, (_, of) =>
      Number(output.data[Math.floor(i / count) * classes + of]),
    )
    const expected = row.toSorted((one, other) => other - one)[i % count] as number
    for (const [what, number] of [
      ['is reported as', value],
      ['is', row[index] ?? Number.NaN],
    ] as const)
      assert.ok(
        Math.abs(number - expected) <= 1e-5 + 1e-4 * Math.abs(expected),
        `class ${index} ${what} ${number}, not ${expected}`,
      )
  })
}

const classification: readonly Point[] = [
  {
    name: 'classification 1 gives the highest value of each row and its index',
    source: CLASSIFICATION,
    level: 'required',
    expected: '["<value>:<index>"] in BYTES',
    notApplicable: classifies(),
    check: async target => assertHighest(await classified(target, () => 1)),
  },
  {
    name: 'classification of all classes lists them from highest to lowest',
    source: CLASSIFICATION,
    level: 'required',
    expected: 'each class once',
    notApplicable: classifies(),
    check: async target => {
      const answer = await classified(target, classes => classes)
      assertHighest(answer)
      const first = answer.asClasses.data
        .slice(0, answer.classes)
        .map(text => readClass(text).index)
      assert.equal(new Set(first).size, answer.classes, `the classes ${first}`)
    },
  },
  {
    name: 'classes have the shape [rows, classes]',
    source: tritonExtension('classification', '"with shape [ batch-size, <count> ]"'),
    level: 'stricter',
    expected: 'the example’s rows and the requested number of classes',
    notApplicable: classifies(),
    check: async target => {
      const { output, asClasses } = await classified(target, () => 1)
      assert.deepEqual(asClasses.shape, [output.shape[0], 1])
    },
  },
  {
    name: 'classification of one output does not change other outputs',
    source: CLASSIFICATION,
    level: 'required',
    expected: 'unchanged tensors in the other outputs',
    notApplicable: classifies(severalOutputs),
    check: async target => {
      const { plain, response, output } = await classified(target, () => 1)
      const others = ({ outputs, ...rest }: Response) => ({
        ...rest,
        outputs: outputs.filter(({ name }) => name !== output.name),
      })
      assertSame(target, others(response), others(plain))
    },
  },
]

// Statistics, configuration, repository, logging

type Json = Readonly<Record<string, unknown>>

async function object(target: Target, path: string): Promise<Json> {
  const reply = await get(target, path)
  assertStatus(reply, 200)
  return jsonOf(reply)
}

const isCount = (value: unknown) =>
  (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) ||
  typeof value === 'bigint'

const DURATIONS = ['success', 'fail', 'queue', 'compute_input', 'compute_infer', 'compute_output']

/**
 * Triton's versions are numbers. Other servers may number theirs in the statistics, because
 * Triton's perf_analyzer reads only numbers.
 */
const isNumbered = (version: string | undefined) => /^\d+$/.test(version ?? '')

/** The statistics of the model, or of the requested version if it has versions. */
async function statisticsOf(target: Target, path = `${modelPath(target)}/stats`): Promise<Json> {
  const { model_stats: stats } = await object(target, path)
  assert.ok(Array.isArray(stats), `model_stats is ${JSON.stringify(stats)}`)
  const own = (stats as Json[]).find(
    ({ name, version }) =>
      name === target.model &&
      (!isNumbered(target.version) || version === undefined || version === target.version),
  )
  assert.ok(
    own !== undefined,
    `the statistics do not include the model: ${JSON.stringify((stats as Json[]).map(({ name, version }) => ({ name, version })))}`,
  )
  return own
}

const STATISTICS = tritonExtension('statistics', 'Statistics Response JSON Object')
const hasStatistics = advertises('statistics')

const statistics: readonly Point[] = [
  {
    name: 'statistics count inferences, executions and durations',
    source: STATISTICS,
    level: 'required',
    expected: 'inference_count, execution_count, last_inference, inference_stats of {"count","ns"}',
    notApplicable: hasStatistics,
    check: async target => {
      const stats = await statisticsOf(target)
      for (const name of ['inference_count', 'execution_count', 'last_inference'])
        assert.ok(isCount(stats[name]), `${name} is ${JSON.stringify(stats[name])}`)
      const durations = (stats.inference_stats ?? {}) as Record<
        string,
        { count?: unknown; ns?: unknown } | undefined
      >
      for (const name of DURATIONS)
        assert.ok(
          isCount(durations[name]?.count) && isCount(durations[name]?.ns),
          `${name} is ${JSON.stringify(durations[name])}`,
        )
      assert.ok(
        Array.isArray(stats.batch_stats),
        `batch_stats is ${JSON.stringify(stats.batch_stats)}`,
      )
    },
  },
  {
    name: 'the statistics of all models include this model',
    source: tritonExtension('statistics', '"all versions of all models"'),
    level: 'required',
    expected: 'model_stats that include the model',
    notApplicable: hasStatistics,
    check: async target => void (await statisticsOf(target, '/v2/models/stats')),
  },
  {
    name: 'three requests with one row each count as three inferences',
    source: tritonExtension('statistics', '"cumulative count of successful inference requests"'),
    level: 'required',
    expected: 'inference_count and success.count increased by 3',
    notApplicable: all(hasStatistics, inJson, batched, target =>
      target.example.inputs[0]?.shape[0] === 1 ? undefined : 'the example has more than one row',
    ),
    check: async target => {
      const counts = async () => {
        const { inference_count: inferences, inference_stats: durations } =
          await statisticsOf(target)
        return [
          Number(inferences),
          Number((durations as { success: { count: number } }).success.count),
        ] as const
      }
      const before = await counts()
      for (let times = 0; times < 3; times++) await infer(target)
      const after = await counts()
      assert.deepEqual(
        after.map((count, i) => count - (before[i] as number)),
        [3, 3],
      )
    },
  },
  {
    name: 'a request for the statistics of an unknown model gets an error with {"error"}',
    source: tritonExtension('statistics', 'Statistics Response JSON Error Object'),
    level: 'required',
    expected: 'an error status with {"error"}',
    notApplicable: hasStatistics,
    check: async target => assertError(await get(target, '/v2/models/no-such-model/stats')),
  },
]

const CONFIGURATION = tritonExtension('model_configuration')
const hasConfiguration = advertises('model_configuration')

const configuration: readonly Point[] = [
  {
    name: 'the model’s configuration contains the names of the model, its inputs and its outputs',
    source: CONFIGURATION,
    level: 'required',
    expected: '{"name":"<model>","input":[{"name":…}],"output":[{"name":…}],…}',
    notApplicable: hasConfiguration,
    check: async target => {
      const { name, input, output } = (await object(
        target,
        `${modelPath(target)}/config`,
      )) as Record<string, { name: string }[]>
      const named = (tensors: { name: string }[] | undefined) =>
        (tensors ?? []).map(tensor => tensor.name).sort()
      assert.deepEqual(
        { name, inputs: named(input), outputs: named(output) },
        {
          name: target.model,
          inputs: named(target.metadata.inputs as never),
          outputs: named(target.metadata.outputs as never),
        },
      )
    },
  },
  {
    name: 'the model’s configuration is the same without the version in the path',
    source: tritonExtension('model_configuration', '"the highest-numbered version of the model"'),
    level: 'stricter',
    expected: 'the same object',
    notApplicable: all(hasConfiguration, versioned),
    check: async target =>
      assert.deepEqual(
        await object(target, `${modelPath(target, { versioned: false })}/config`),
        await object(target, `${modelPath(target, { versioned: true })}/config`),
      ),
  },
  {
    name: 'a request for the configuration of an unknown model gets an error with {"error"}',
    source: CONFIGURATION,
    level: 'required',
    expected: 'an error status with {"error"}',
    notApplicable: hasConfiguration,
    check: async target => assertError(await get(target, '/v2/models/no-such-model/config')),
  },
]

/** @param body the extension requires one */
async function repositoryIndex(target: Target, body: string): Promise<readonly Json[]> {
  const reply = await target.send({
    path: '/v2/repository/index',
    headers: { 'content-type': 'application/json' },
    body,
  })
  assertStatus(reply, 200)
  const models = parsed(reply, reply.body)
  assert.ok(Array.isArray(models), `the index is not an array: ${JSON.stringify(models)}`)
  return models
}

const hasRepository = advertises('model_repository')

const repository: readonly Point[] = [
  {
    name: 'the repository index lists the name and state of each model',
    source: tritonExtension('model_repository', 'Index'),
    level: 'required',
    expected: '[{"name":…,"state":…},…]',
    notApplicable: hasRepository,
    check: async target => {
      for (const model of await repositoryIndex(target, '{}'))
        assert.ok(
          typeof model?.name === 'string' && typeof model.state === 'string',
          `an entry of the index is ${JSON.stringify(model)}`,
        )
    },
  },
  {
    name: 'the repository index of ready models includes this model',
    // A server may have loaded the model from outside a repository.
    source: tritonExtension(
      'model_repository',
      'Index: "every model available in a model repository"',
    ),
    level: 'stricter',
    expected: 'an index that includes the model',
    notApplicable: hasRepository,
    check: async target => {
      const names = (await repositoryIndex(target, '{"ready":true}')).map(({ name }) => name)
      assert.ok(
        names.includes(target.model),
        `the index does not include the model: ${JSON.stringify(names)}`,
      )
    },
  },
]

const logSettings = (
  name: string,
  level: Point['level'],
  note: string,
  settings: readonly string[],
): Point => ({
  name,
  source: tritonExtension('logging', note),
  level,
  expected: `{${settings.map(setting => `"${setting}":<boolean>`)},…}`,
  notApplicable: advertises('logging'),
  check: async target => {
    const told = await object(target, '/v2/logging')
    for (const setting of settings)
      assert.ok(
        typeof told[setting] === 'boolean',
        `${setting} is ${JSON.stringify(told[setting])}`,
      )
  },
})

const logging: readonly Point[] = [
  logSettings('the log settings include log_info', 'required', 'Log Setting Response JSON Object', [
    'log_info',
  ]),
  logSettings(
    'the log settings have the names that the extension’s document defines',
    'stricter',
    'Log Setting Response JSON Object; Triton itself uses log_warning and log_error',
    ['log_warnings', 'log_errors'],
  ),
]

// Parameters

const changesNothing = (
  name: string,
  extension: 'parameters' | 'schedule_policy',
  note: string,
  request: InferenceRequest,
): Point => ({
  name,
  source: tritonExtension(extension, note),
  level: 'required',
  expected: 'the example’s outputs',
  notApplicable: all(advertises(extension), inJson),
  check: async target =>
    assertSame(
      target,
      await infer(target, { ...exampleRequest(target), ...request }),
      await infer(target),
    ),
})

const parameters: readonly Point[] = [
  changesNothing('a custom parameter is accepted', 'parameters', '"custom parameters"', {
    parameters: { my_custom_parameter: 42 },
  }),
  changesNothing(
    'priority 0 gives the same outputs as no priority',
    'schedule_policy',
    '"the default priority level"',
    { parameters: { priority: 0 } },
  ),
  changesNothing(
    'the highest priority and a timeout of ten minutes do not change the outputs',
    'schedule_policy',
    '"priority", "timeout"',
    {
      parameters: { priority: 1, timeout: 600_000_000 },
    },
  ),
]

/** The extensions with points above or in binary.ts. */
const KNOWN = [
  'binary_tensor_data',
  'binary_data',
  'classification',
  'statistics',
  'model_configuration',
  'model_repository',
  'logging',
  'parameters',
  'schedule_policy',
]

export const unasked = (extensions: readonly string[]): readonly string[] =>
  extensions.filter(extension => !KNOWN.includes(extension))

export const points: readonly Point[] = [
  ...classification,
  ...statistics,
  ...configuration,
  ...repository,
  ...logging,
  ...parameters,
]
