import { statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import ort from 'onnxruntime-node/package.json' with { type: 'json' }
import type { Config } from '../../function/config/config.ts'
import { LARGE_MODEL_BYTES } from '../../function/inference/execution.ts'
import { elementName } from '../../function/inference/onnx-types.ts'
import { DATATYPES, hasJson } from '../../function/protocol/datatypes.ts'
import { elementCount, type TensorMetadata } from '../../function/protocol/tensor.ts'
import type { Served } from './measure.ts'
import type { Problem } from './problem.ts'
import type { Checked } from './report.ts'
import { mebibytes } from './show.ts'

/** The problems of a model that was tried, the worst first. */
export function problemsOf(checked: Checked, config: Config): Problem[] {
  const { missing, unservable, served } = checked.found
  const lacking = missing.map(({ operator: { domain, name, count }, reason }) =>
    error(
      `ONNX Runtime for Node lacks the operator ${domain}.${name} (${count} in the graph): ${reason}. ${lackingFix(domain)}`,
    ),
  )
  const reasons = [...lacking, ...versionProblems(checked), ...typeProblems(checked)]
  // ONNX Runtime also reports the first of these.
  if (unservable !== undefined && reasons.length > 0) return reasons
  const found = [
    ...lacking,
    ...(unservable === undefined ? [] : [error(withFix(unservable))]),
    ...fileProblems(checked),
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

/** The server's message when it does not start, and what to do about it. */
function withFix(reason: string): string {
  const [, fix] = FIXES.find(([says]) => says.test(reason)) ?? []
  return fix === undefined ? reason : `${reason.replace(/\.$/, '')}. ${fix}`
}

const FIXES: readonly (readonly [RegExp, string])[] = [
  [
    /Could not find an implementation/,
    'The operator has no CPU kernel for these types: export with other types, or another opset version',
  ],
  [
    /official support for domain \S+ is till opset/,
    'Export with that opset version, or an older one',
  ],
  [/is not a tensor; requests can contain only tensors/, 'Convert the model with tensor inputs'],
  [/features/, 'Name each element of the last dimension once, in its order'],
  [/sample/, 'Give model.json a sample that the model accepts'],
]

/** onnx writes its newest versions by default, newer than those of a released ONNX Runtime. */
function versionProblems({ onnx, found: { newest } }: Checked): Problem[] {
  const { irVersion = 0, opsets } = onnx
  const opset = opsets['ai.onnx'] ?? 0
  const isNewOpset = opset > newest.opset
  if (!isNewOpset && !(irVersion > newest.irVersion)) return []
  const convert = isNewOpset
    ? `model = onnx.version_converter.convert_version(model, ${newest.opset}); `
    : ''
  return [
    error(
      `the file is of IR version ${irVersion} and opset ${opset}, and ONNX Runtime ${ort.version} reads those up to ${newest.irVersion} and ${newest.opset}. Save it again, in Python: import onnx, onnx.version_converter; model = onnx.load("model.onnx"); ${convert}model.ir_version = ${newest.irVersion}; onnx.save(model, "model.onnx")`,
    ),
  ]
}

/** Inputs and outputs with types that the protocol lacks: BF16, float8, int4 and the like. */
const typeProblems = ({ onnx }: Checked): Problem[] =>
  Object.entries({ input: onnx.inputs, output: onnx.outputs }).flatMap(([kind, values]) =>
    values
      .filter(({ type }) => /^tensor\(/.test(type) && !SERVED_TYPES.has(type))
      .map(({ name, type }) =>
        error(
          `${kind} "${name}" is ${type}, which the Open Inference Protocol or ONNX Runtime for Node does not have: cast it to float, or to an integer of 8 bits or more in the graph`,
        ),
      ),
  )

const SERVED_TYPES = new Set(
  Object.values(DATATYPES).map(({ onnx }) => `tensor(${elementName(onnx)})`),
)

/** Properties of the file that callers will not expect. */
function fileProblems({ folder, onnx }: Checked): Problem[] {
  const found: Problem[] = []
  const [first, ...others] = onnx.overridable
  if (first !== undefined)
    found.push(
      hint(
        `input "${first}"${others.length > 0 ? ` and ${others.length} more have` : ' has'} a value in the file: it is a constant here, and callers cannot send another. Take it out of the file's initializers where they should`,
      ),
    )
  const files = onnx.externalFiles.map(({ location }) => join(dirname(folder.file), location))
  for (const path of [folder.file, ...files]) {
    const { mode } = statSync(path)
    if ((mode & 0o004) === 0)
      found.push(
        warning(
          `${basename(path)} may be read by its owner alone (mode ${(mode & 0o777).toString(8)}), and the image runs as uid 10001: chmod a+r ${basename(path)}, or COPY --chmod=755 in the Dockerfile`,
        ),
      )
  }
  return found
}

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
        `generated inputs of zeros fail, so there is no warm-up and no example: ${exampleFails}. Add a sample to model.json`,
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
        `output "${name}" is ${datatype}, which JSON cannot represent: ask for it as binary tensor data, or cast it to FP32 in the graph`,
      ),
    )
  for (const { name, datatype } of signature.inputs.filter(isNotJson))
    found.push(
      warning(
        `input "${name}" is ${datatype}, which JSON cannot represent: send it as binary tensor data, or cast it to FP32 in the graph`,
      ),
    )
  for (const { name, shape } of signature.inputs)
    if (shape.includes(0))
      found.push(
        warning(
          `input "${name}" has a dimension of 0 ([${shape}]), so that it holds nothing, and no other request fits: export it with a variable dimension`,
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
        `input values determine how long a run takes or how much it returns, so the model runs in worker threads: ${served.byValues}`,
      ),
    )
  if (served.sizesByValues !== undefined)
    found.push(
      hint(
        `no limit on requests bounds the memory of a run, and one request may end the container: ${served.sizesByValues}; limit the address space (docs/deploy.md)`,
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

/** From this size on, parsing a request as JSON takes noticeable time. */
const LARGE_REQUEST_BYTES = 100 * 1_024

const lostFix = (reason: string) =>
  /UTF-8/.test(reason)
    ? 'Return numbers, or text in UTF-8'
    : 'Give model.json a sample for which it can'
