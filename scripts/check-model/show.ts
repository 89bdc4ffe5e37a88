import { cpus } from 'node:os'
import { relative } from 'node:path'
import ort from 'onnxruntime-node/package.json' with { type: 'json' }
import { describeBatching } from '../../function/inference/batchability/decide.ts'
import type { TensorMetadata } from '../../function/protocol/tensor.ts'
import type { Served } from './measure.ts'
import type { Report } from './report.ts'
import type { TriedTransform } from './try-transform.ts'

export function showText({
  folder,
  fileBytes = 0,
  folderBytes = 0,
  onnx,
  found,
  transform,
  problems,
}: Report): string {
  const lines: string[] = []
  const say = (...texts: string[]) => lines.push(...texts)
  if (folder !== undefined) {
    const path = relative(process.cwd(), folder.file)
    say(
      `${folder.name}${folder.version === undefined ? '' : ` ${folder.version}`}: ${path.startsWith('..') ? folder.file : path}`,
      '',
    )
    say(
      row(
        'file',
        `${size(fileBytes)}${folderBytes > fileBytes ? `, ${size(folderBytes)} with the other files of its folder` : ''}`,
      ),
    )
  }
  if (onnx !== undefined) {
    const opsets = Object.entries(onnx.opsets).map(([domain, version]) => `${domain} ${version}`)
    say(
      row(
        'opsets',
        `${opsets.join(', ')}; IR version ${onnx.irVersion}${onnx.producer === '' ? '' : `; producer: ${onnx.producer}`}`,
      ),
    )
    say(row('operators', operatorsText(onnx.operators, found)))
  }
  if (found?.served !== undefined) say(...servedText(found.served, transform !== undefined))
  if (transform !== undefined) say(...transformText(transform))
  say(
    '',
    problems.length === 0 ? 'No problems.' : 'Problems',
    ...problems.map(({ level, text }) => row(level, text)),
  )
  return `${lines.join('\n')}\n`
}

function transformText({ file, parts, example, curl, answer }: TriedTransform): string[] {
  return [
    '',
    'Transform',
    row('file', relative(process.cwd(), file)),
    ...(parts.length === 0 ? [] : [row('parts', parts.join(', '))]),
    ...(example === undefined ? [] : [row('request', curl ?? example)]),
    ...(answer === undefined ? [] : [row('response', answer)]),
  ]
}

const row = (name: string, value: string) => `  ${name.padEnd(11)} ${value}`

const MOST_OPERATORS = 12

function operatorsText(
  operators: NonNullable<Report['onnx']>['operators'],
  found: Report['found'],
): string {
  const total = operators.reduce((sum, { count }) => sum + count, 0)
  const named = operators.slice(0, MOST_OPERATORS).map(({ domain, name, count }) => {
    const full = domain === 'ai.onnx' ? name : `${domain}.${name}`
    return count === 1 ? full : `${full} ×${count}`
  })
  const more =
    operators.length > MOST_OPERATORS
      ? `, and ${operators.length - MOST_OPERATORS} other kinds`
      : ''
  const had =
    found === undefined
      ? ''
      : found.missing.length === 0
        ? `; ONNX Runtime ${ort.version} has all of them`
        : `; ONNX Runtime ${ort.version} lacks ${found.missing.length} of them`
  return `${total}: ${named.join(', ')}${more}${had}`
}

function servedText(served: Served, hasTransform: boolean): string[] {
  const {
    signature,
    features,
    request,
    place,
    threads,
    loadMs,
    warmUpMs,
    oneRowMs,
    rows32Ms,
    modelBytes,
    processBytes,
  } = served
  const ran = warmUpMs === undefined ? [] : [row('warm-up', `${ms(warmUpMs)}, the first run`)]
  if (oneRowMs !== undefined)
    ran.push(
      row(served.rows32Ms === undefined ? 'one request' : 'one row', `${ms(oneRowMs)} per run`),
    )
  if (rows32Ms !== undefined)
    ran.push(row('32 rows', `${ms(rows32Ms)} per run, ${ms(rows32Ms / 32)} per row`))
  return [
    ...[
      '',
      'Inputs',
      ...tensorsText(signature.inputs, features),
      '',
      'Outputs',
      ...tensorsText(signature.outputs),
      '',
    ],
    ...batchingText(served),
    ...(request === undefined ? [] : ['', ...requestText(request)]),
    ...[
      '',
      `On this machine (${cpuModel()}; ${threads === 1 ? 'one thread' : `${threads} threads`}; other machines differ)`,
    ],
    ...[
      row('load', ms(loadMs)),
      ...ran,
      row(
        'memory',
        `about ${mebibytes(modelBytes)} for each copy of the model, ${mebibytes(processBytes)} with Node and ONNX Runtime`,
      ),
    ],
    row('runs', placeText(place, hasTransform)),
  ]
}

function placeText(place: Served['place'], hasTransform: boolean): string {
  if (hasTransform) return 'in worker threads, with the transform'
  return place === 'main thread'
    ? 'on the main thread'
    : 'in worker threads, because a run or loading the model may take a long time'
}

/** Whether requests share runs; if not, why, at which cost, and how to fix it. */
function batchingText({ batching, oneRowMs, rows32Ms }: Served): string[] {
  const [first = '', ...rest] = describeBatching(batching)
  const lines = [`${first.toUpperCase()}${rest.join('')}.`]
  if (batching.joins) return lines
  if (oneRowMs !== undefined && rows32Ms !== undefined) {
    const times = (32 * oneRowMs) / rows32Ms
    lines.push(
      row(
        'costs',
        `32 waiting requests take ${ms(32 * oneRowMs)}; one joined run would take ${ms(rows32Ms)} (${times.toFixed(1)} times faster)`,
      ),
    )
  }
  const advice = ADVICE[batching.reason]
  if (advice !== undefined) lines.push(row('to join', advice))
  return lines
}

const ADVICE: Partial<Record<Served['batching']['reason'], string>> = {
  not_proven:
    'export the model without that node (docs/models.md), or, if you know that rows are independent, set "batch": true in model.json',
  sizes_by_values:
    'export the model with sizes that depend only on shapes, or, if you know the largest sizes, set "batch": true in model.json',
  fixed_dimension: 'export the model with a variable first dimension of every input',
}

function tensorsText(
  tensors: readonly TensorMetadata[],
  features: Served['features'] = {},
): string[] {
  const width = Math.max(...tensors.map(({ name }) => name.length))
  return tensors.flatMap(({ name, datatype, shape, dimensionNames, anyRank }) => {
    const names = dimensionNames.some(dimension => dimension !== '')
      ? `  (${dimensionNames.map((dimension, i) => (shape[i] === -1 ? dimension || '?' : shape[i])).join(', ')})`
      : ''
    const line = `  ${name.padEnd(width)}  ${datatype.padEnd(6)}  [${shape}]${anyRank ? '  (any number of dimensions)' : names}`
    const named = features[name]
    return named === undefined ? [line] : [line, `  ${' '.repeat(width)}  ${named.join(', ')}`]
  })
}

function requestText({ curl, answer }: NonNullable<Served['request']>): string[] {
  const binary =
    answer.binaryBytes === 0 ? '' : `, then ${answer.binaryBytes} bytes of binary tensor data`
  return [
    `Request${curl === undefined ? ': too long to show; its values are the sample in model.json' : ''}`,
    ...(curl === undefined ? [] : [`  ${curl}`]),
    ...['', 'Response', `  ${answer.json}${answer.cut ? ' …' : ''}${binary}`],
  ]
}

const cpuModel = () => cpus()[0]?.model.trim() ?? 'unknown processor'

function ms(value: number): string {
  const [amount, unit] = value < 1 ? [value * 1_000, 'µs'] : [value, 'ms']
  return `${amount < 10 ? amount.toFixed(1) : amount.toFixed(0)} ${unit}`
}

export const mebibytes = (bytes: number) =>
  `${Math.max(bytes / 2 ** 20, 0.1).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`

const size = (bytes: number) =>
  bytes < 2 ** 20 ? `${bytes.toLocaleString('en')} bytes` : mebibytes(bytes)

/** The report as JSON, without undefined fields. Times are in milliseconds, and sizes in bytes. */
export function showJson({
  folder,
  fileBytes,
  folderBytes,
  onnx,
  found,
  transform,
  problems,
}: Report): string {
  const served = found?.served
  const tensor = ({ name, datatype, shape }: TensorMetadata) => ({ name, datatype, shape })
  const report = {
    ok: problems.every(({ level }) => level !== 'error'),
    name: folder?.name,
    version: folder?.version,
    file: folder?.file,
    file_bytes: fileBytes,
    folder_bytes: folderBytes,
    ir_version: onnx?.irVersion,
    producer: onnx?.producer,
    opsets: onnx?.opsets,
    onnxruntime: ort.version,
    operators: onnx?.operators,
    missing_operators: found?.missing.map(({ operator: { domain, name } }) => `${domain}.${name}`),
    inputs: served?.signature.inputs.map(input => ({
      ...tensor(input),
      features: served.features[input.name],
    })),
    outputs: served?.signature.outputs.map(tensor),
    outputs_left_out: served?.leftOut.map(({ name }) => name),
    requests_are_joined: served?.batching.joins,
    joined_reason: served?.batching.reason,
    not_joined_because:
      served?.batching.joins === false ? describeBatching(served.batching) : undefined,
    not_proven_because: served?.batching.detail,
    work_depends_on_values_because: served?.byValues,
    memory_depends_on_values_because: served?.sizesByValues,
    request: served?.request?.curl,
    answer: served?.request?.answer.json,
    answer_binary_bytes: served?.request?.answer.binaryBytes,
    measured: served && {
      machine: cpuModel(),
      threads: served.threads,
      runs_on: served.place,
      load_ms: served.loadMs,
      warm_up_ms: served.warmUpMs,
      one_row_ms: served.oneRowMs,
      rows_32_ms: served.rows32Ms,
      model_bytes: served.modelBytes,
      process_bytes: served.processBytes,
    },
    transform: transform && {
      file: transform.file,
      parts: transform.parts,
      request: transform.example,
      answer: transform.answer,
    },
    problems,
  }
  return `${JSON.stringify(report, null, 2)}\n`
}
