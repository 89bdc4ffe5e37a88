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

export function problemsOf(checked: Checked, config: Config): Problem[] {
  const { missing, unservable, served } = checked.found
  const lacking = missing.map(({ operator: { domain, name, count }, reason }) =>
    error(
      `ONNX Runtime for Node lacks the operator ${domain}.${name} (${count} in the graph): ${reason}. ${lackingFix(domain)}`,
    ),
  )
  const reasons = [...lacking, ...versionProblems(checked), ...typeProblems(checked)]
  // ONNX Runtime's message repeats the first of these reasons.
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
      ? 'Export with another opset version, or with an operator of this opset'
      : 'ONNX Runtime for Node cannot load libraries of custom operators: replace it with standard ONNX operators'

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
  [/features/, 'Name each element of the last dimension once, in order'],
  [/sample/, 'Give model.json a sample that the model accepts'],
]

/**
 * By default, the package onnx writes its newest versions, which a released ONNX Runtime may not
 * support yet.
 */
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
      `the file has IR version ${irVersion} and opset ${opset}; ONNX Runtime ${ort.version} supports IR versions up to ${newest.irVersion} and opsets up to ${newest.opset}. Convert the file in Python: import onnx, onnx.version_converter; model = onnx.load("model.onnx"); ${convert}model.ir_version = ${newest.irVersion}; onnx.save(model, "model.onnx")`,
    ),
  ]
}

/** The protocol lacks some types, such as BF16, float8 and int4. */
const typeProblems = ({ onnx }: Checked): Problem[] =>
  Object.entries({ input: onnx.inputs, output: onnx.outputs }).flatMap(([kind, values]) =>
    values
      .filter(({ type }) => /^tensor\(/.test(type) && !SERVED_TYPES.has(type))
      .map(({ name, type }) =>
        error(
          `${kind} "${name}" has the type ${type}, which the Open Inference Protocol or ONNX Runtime for Node does not support: in the graph, cast it to float, or to an integer of 8 bits or more`,
        ),
      ),
  )

const SERVED_TYPES = new Set(
  Object.values(DATATYPES).map(({ onnx }) => `tensor(${elementName(onnx)})`),
)

/** Inputs that callers cannot set, and files that the image cannot read. */
function fileProblems({ folder, onnx }: Checked): Problem[] {
  const found: Problem[] = []
  const [first, ...others] = onnx.overridable
  if (first !== undefined)
    found.push(
      hint(
        `input "${first}"${others.length > 0 ? ` and ${others.length} more have` : ' has'} a value in the file, which callers cannot replace. To let callers send this input, remove it from the file's initializers`,
      ),
    )
  const files = onnx.externalFiles.map(({ location }) => join(dirname(folder.file), location))
  for (const path of [folder.file, ...files]) {
    const { mode } = statSync(path)
    if ((mode & 0o004) === 0)
      found.push(
        warning(
          `the permissions of ${basename(path)} (mode ${(mode & 0o777).toString(8)}) do not allow other users to read it, and the image runs as uid 10001: chmod a+r ${basename(path)}, or COPY --chmod=755 in the Dockerfile`,
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
    const type = onnx.outputs.find(output => output.name === name)?.type ?? 'unknown'
    found.push(
      error(
        `output "${name}" has the type ${type}, which is not a tensor, so responses do not contain it: ${why}`,
      ),
    )
  }
  for (const { name, reason } of lost)
    found.push(error(`output "${name}" cannot be returned: ${reason}. ${lostFix(reason)}`))
  for (const name of served.notText)
    found.push(
      error(
        `output "${name}" is not always UTF-8, as ONNX strings must be: such requests fail with status 500. Return numbers, or strings in UTF-8`,
      ),
    )
  if (refused !== undefined)
    found.push(error(`the server refuses a request with the model's example: ${refused}`))
  if (exampleFails !== undefined)
    found.push(
      warning(
        `the model fails on the generated inputs, which are zeros, so there is no warm-up and no example: ${exampleFails}. Add a sample to model.json`,
      ),
    )
  if (rowsFail !== undefined)
    found.push(
      warning(
        `the graph declares a variable number of rows, but a run of 32 rows fails: ${rowsFail}. Export the model with a batch dimension that every node preserves`,
      ),
    )
  for (const { name, datatype } of signature.outputs.filter(isNotJson))
    found.push(
      warning(
        `output "${name}" is ${datatype}, which JSON cannot represent: request it as binary tensor data, or cast it to FP32 in the graph`,
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
          `input "${name}" has a dimension of 0 ([${shape}]), so every request must be empty: export it with a variable dimension`,
        ),
      )
  for (const { name, anyRank } of signature.inputs)
    if (anyRank)
      found.push(
        hint(
          `input "${name}" has no shape in the graph, so the server accepts any shape, and a wrong shape fails only during the run: export it with a shape`,
        ),
      )
  for (const { name, shape } of signature.inputs)
    if (shape.length > 1 && shape[0] === 1)
      found.push(
        hint(
          `input "${name}" is fixed to 1 row ([${shape}]): export it with a variable first dimension, so that requests can be joined`,
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
        `a request has at least ${mebibytes(bytes)}, more than MAX_BODY_BYTES (${mebibytes(maxBodyBytes)}): increase MAX_BODY_BYTES`,
      ),
    )
  else if (bytes > LARGE_REQUEST_BYTES)
    found.push(
      hint(
        `a request has at least ${mebibytes(bytes)}, and several times as much in JSON: send binary tensor data`,
      ),
    )
  if (served.byValues !== undefined)
    found.push(
      hint(
        `the duration of a run or the size of its outputs depends on input values, so the model runs in worker threads: ${served.byValues}`,
      ),
    )
  if (served.sizesByValues !== undefined)
    found.push(
      hint(
        `limits on requests do not bound the memory of a run, so a single request may crash the container: ${served.sizesByValues}; limit the address space (docs/deploy.md)`,
      ),
    )
  if (folderBytes > LARGE_MODEL_BYTES)
    found.push(
      hint(
        `the model is large (${mebibytes(folderBytes)}), so it is loaded in worker threads, each of which has a copy, and startup takes longer; give the container more than ${mebibytes(served.processBytes)} of memory, or quantize the model`,
      ),
    )
  if (folder.sample === undefined && exampleFails === undefined)
    found.push(
      hint(
        'model.json has no sample, so the example and the warm-up use zeros: add a realistic input as the sample',
      ),
    )
  return found
}

const isNotJson = ({ datatype }: TensorMetadata) => !hasJson(datatype)

/** For larger requests, parsing JSON takes noticeable time. */
const LARGE_REQUEST_BYTES = 100 * 1_024

const lostFix = (reason: string) =>
  /UTF-8/.test(reason)
    ? 'Return numbers, or strings in UTF-8'
    : 'Add a sample to model.json for which the model returns this output'
