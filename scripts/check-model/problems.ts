import type { Config } from '../../function/config/config.ts'
import { LARGE_MODEL_BYTES } from '../../function/inference/execution.ts'
import { DATATYPES, hasJson } from '../../function/protocol/datatypes.ts'
import { elementCount, type TensorMetadata } from '../../function/protocol/tensor.ts'
import type { Served } from './measure.ts'
import type { Checked, Problem } from './report.ts'
import { mebibytes } from './show.ts'

/** What is wrong with a model that was tried, the worst first. */
export function problemsOf(checked: Checked, config: Config): Problem[] {
  const { missing, unservable, served } = checked.found
  const lacking = missing.map(({ operator: { domain, name, count }, reason }) =>
    error(
      `ONNX Runtime for Node lacks the operator ${domain}.${name} (${count} in the graph): ${reason}. ${lackingFix(domain)}`,
    ),
  )
  // Of operators that are missing ONNX Runtime complains too, of the first.
  if (unservable !== undefined && lacking.length > 0) return lacking
  const found = [
    ...lacking,
    ...(unservable === undefined ? [] : [error(withFix(unservable, checked))]),
  ]
  if (served !== undefined) found.push(...servedProblems(checked, served, config))
  return LEVELS.flatMap(level => found.filter(problem => problem.level === level))
}

const LEVELS: readonly Problem['level'][] = ['error', 'warning', 'hint']
const error = (text: string): Problem => ({ level: 'error', text })
const warning = (text: string): Problem => ({ level: 'warning', text })
const hint = (text: string): Problem => ({ level: 'hint', text })

const lackingFix = (domain: string) =>
  /training/.test(domain)
    ? 'Export the model for inference, not for training'
    : domain === 'ai.onnx' || domain.startsWith('ai.onnx.')
      ? 'Export with another opset version, or with an operator that this one has'
      : 'Custom operators need a library that ONNX Runtime for Node cannot load: express it with the operators of ONNX'

/** What the server says when it does not start, and what to do about it. */
function withFix(reason: string, { onnx }: Checked): string {
  for (const [says, fix] of FIXES)
    if (says.test(reason)) return `${reason.replace(/\.$/, '')}. ${fix}`
  const odd = [...onnx.inputs, ...onnx.outputs].find(({ name }) =>
    reason.includes(`the datatype of "${name}"`),
  )
  return odd === undefined ? reason : `${reason}. It is ${odd.type}: cast it to float in the graph`
}

const FIXES: readonly (readonly [RegExp, string])[] = [
  [
    /Unsupported model IR version/,
    'Set an older one and save it again: model.ir_version = 10; onnx.save(model, …)',
  ],
  [
    /Could not find an implementation/,
    'The operator has no CPU kernel for these types: export with other types, or another opset version',
  ],
  [/under development and support for this is limited/, 'Export with an older opset version'],
  [/is no tensor, and requests carry only tensors/, 'Convert the model with tensor inputs'],
  [/sample/, 'Give model.json a sample that the model takes'],
]

function servedProblems(
  { folder, folderBytes, onnx }: Checked,
  served: Served,
  { maxBodyBytes }: Config,
): Problem[] {
  const { signature, leftOut, lost, exampleFails, refused, rowsFail } = served
  const found: Problem[] = []
  for (const { name, why } of leftOut) {
    const type = onnx.outputs.find(output => output.name === name)?.type ?? 'no tensor'
    found.push(error(`output "${name}" is ${type}, no tensor: callers will not have it: ${why}`))
  }
  for (const { name, reason } of lost)
    found.push(error(`output "${name}" cannot be returned: ${reason}. ${lostFix(reason)}`))
  for (const name of served.notText)
    found.push(
      error(
        `output "${name}" is not always UTF-8, as ONNX strings must be: such requests are answered 500. Return numbers, or text in UTF-8`,
      ),
    )
  if (refused !== undefined)
    found.push(error(`the server refuses a request of the model's own example: ${refused}`))
  if (exampleFails !== undefined)
    found.push(
      warning(
        `made-up inputs of zeros fail, so there is no warm-up and no example: ${exampleFails}. Give model.json a sample`,
      ),
    )
  if (rowsFail !== undefined)
    found.push(
      warning(
        `the graph says that it takes any number of rows, but 32 fail: ${rowsFail}. Export it with a batch dimension that holds throughout`,
      ),
    )
  for (const { name, datatype } of signature.outputs.filter(isNotJson))
    found.push(
      warning(
        `output "${name}" is ${datatype}, which JSON cannot say: ask for it as binary tensor data, or cast it to FP32 in the graph`,
      ),
    )
  for (const { name, datatype } of signature.inputs.filter(isNotJson))
    found.push(
      warning(
        `input "${name}" is ${datatype}, which JSON cannot say: send it as binary tensor data, or cast it to FP32 in the graph`,
      ),
    )
  for (const { name, anyRank } of signature.inputs)
    if (anyRank)
      found.push(
        hint(
          `input "${name}" has no shape in the graph, so any is taken, and a wrong one fails in the run: export it with a shape`,
        ),
      )
  for (const { name, shape } of signature.inputs)
    if (shape.length > 1 && shape[0] === 1)
      found.push(
        hint(
          `input "${name}" is fixed to 1 row ([${shape}]): export it with a variable first dimension, and requests can be joined`,
        ),
      )
  const bytes = signature.inputs.reduce(
    (sum, { datatype, shape }) =>
      sum + DATATYPES[datatype].bytes * elementCount(shape.map(Math.abs)),
    0,
  )
  if (bytes > maxBodyBytes)
    found.push(
      warning(
        `one request has ${mebibytes(bytes)} at least, above MAX_BODY_BYTES (${mebibytes(maxBodyBytes)}): set it higher`,
      ),
    )
  else if (bytes > LARGE_REQUEST_BYTES)
    found.push(
      hint(
        `one request has ${mebibytes(bytes)} at least, and as JSON several times that: send binary tensor data`,
      ),
    )
  if (served.byValues !== undefined)
    found.push(
      hint(
        `values of a request decide how long its run takes or how much it returns, so the model runs in worker threads: ${served.byValues}`,
      ),
    )
  if (folderBytes > LARGE_MODEL_BYTES)
    found.push(
      hint(
        `the model is large (${mebibytes(folderBytes)}): it is loaded off the main thread, each worker thread holds a copy, and it wakes more slowly; give the container memory for ${mebibytes(served.processBytes)} and more, or quantize it`,
      ),
    )
  if (folder.sample === undefined && exampleFails === undefined)
    found.push(
      hint(
        'model.json has no sample, so the example and the warm-up are zeros: one good input there makes both real',
      ),
    )
  return found
}

const isNotJson = ({ datatype }: TensorMetadata) => !hasJson(datatype)

/** Where one request is that large, reading it as JSON shows. */
const LARGE_REQUEST_BYTES = 100 * 1_024

const lostFix = (reason: string) =>
  /UTF-8/.test(reason)
    ? 'Return numbers, or text in UTF-8'
    : 'Give model.json a sample for which it can'
