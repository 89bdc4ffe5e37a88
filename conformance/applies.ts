import { DATATYPES } from './datatypes.ts'
import type { Applicable, JsonTensor, Target } from './point.ts'
import { elementCount } from './request.ts'

/**
 * Each condition returns the reason why a point does not apply to a target, or undefined if the
 * point applies.
 */

export const all =
  (...conditions: readonly Applicable[]): Applicable =>
  target => {
    for (const condition of conditions) {
      const reason = condition(target)
      if (reason !== undefined) return reason
    }
    return undefined
  }

const unless =
  (holds: (target: Target) => boolean, reason: string): Applicable =>
  target =>
    holds(target) ? undefined : reason

const tensorsOf = ({ metadata }: Target): readonly JsonTensor[] => [
  ...metadata.inputs,
  ...metadata.outputs,
]

export const inJson = unless(
  target =>
    tensorsOf(target).every(
      ({ datatype }) => Object.hasOwn(DATATYPES, datatype) && datatype !== 'FP16',
    ),
  'a datatype of the model has no JSON form',
)

export const versioned = unless(({ version }) => version !== undefined, 'the model has no versions')
export const unversioned = unless(({ version }) => version === undefined, 'the model has versions')

export const severalInputs = unless(
  ({ metadata }) => metadata.inputs.length > 1,
  'the model has one input',
)
export const oneInput = unless(
  ({ metadata }) => metadata.inputs.length === 1,
  'the model has several inputs',
)
export const severalOutputs = unless(
  ({ metadata }) => metadata.outputs.length > 1,
  'the model has one output',
)

export const ranked = (least: number) =>
  unless(
    ({ metadata }) => (metadata.inputs[0]?.shape.length ?? 0) >= least,
    `the first input has fewer than ${least} dimensions`,
  )

export const scalarInput = unless(
  ({ metadata }) => metadata.inputs[0]?.shape.length === 0,
  'the first input is not a scalar',
)

export const variable = unless(
  ({ metadata }) => metadata.inputs[0]?.shape.includes(-1) === true,
  'the first input has no variable dimension',
)

export const fixedDimension = unless(
  ({ metadata }) => metadata.inputs[0]?.shape.some(dimension => dimension !== -1) === true,
  'the first input has no fixed dimension',
)

/** The first dimension of every input and output must be variable and equal the number of rows. */
export const batched = unless(
  target => target.rows,
  'the first dimension is not the number of rows in every tensor',
)

export const notEmpty = unless(
  ({ example }) => example.inputs.every(({ shape }) => elementCount(shape) > 0),
  'the example has no elements',
)

export const takes = (datatype: string) =>
  unless(
    ({ metadata }) => metadata.inputs[0]?.datatype === datatype,
    `the first input does not have datatype ${datatype}`,
  )

export const takesOneOf = (datatypes: readonly string[]) =>
  unless(
    ({ metadata }) => datatypes.includes(metadata.inputs[0]?.datatype ?? ''),
    `the datatype of the first input is not one of ${datatypes.join(', ')}`,
  )

export const gives = (datatype: string) =>
  unless(
    ({ metadata }) => metadata.outputs.some(output => output.datatype === datatype),
    `no output has datatype ${datatype}`,
  )

export const echoes = unless(
  target => target.echoes,
  'the model does not return its input, so the suite cannot compare values',
)

/** The model must return one vector of this datatype unchanged. */
export const echoesVectorsOf = (datatype: string) =>
  all(
    takes(datatype),
    echoes,
    unless(
      ({ metadata }) => String(metadata.inputs[0]?.shape) === '-1',
      'the input is not a vector of variable length',
    ),
  )

/** Some servers call the extension binary_tensor_data, and others call it binary_data. */
export const binary = unless(
  ({ extensions }) =>
    extensions.includes('binary_tensor_data') || extensions.includes('binary_data'),
  'the server does not advertise the binary tensor data extension',
)

export const advertises = (extension: string) =>
  unless(
    ({ extensions }) => extensions.includes(extension),
    `the server does not advertise the ${extension} extension`,
  )

export const limited = unless(
  ({ limits }) => limits !== undefined,
  'the suite does not know the maximum body size',
)
