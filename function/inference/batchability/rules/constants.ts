import type { Attribute, TensorProto } from '../../onnx-file.ts'
import { each, type Rule, type Rules, since } from '../rule.ts'
import { fixed } from '../size.ts'
import { dependsOnRows, Stop, UNKNOWN, type Value } from '../value.ts'

/*
 * Constants, and operators that are accepted only with constant inputs: with batched inputs, the
 * result depends on all rows, or there is no rule yet. Random operators have no rule.
 */

/** Enough for every shape. */
const MOST_ELEMENTS = 1_024

/** A weight or constant. The integers of a small tensor are known. */
export function tensorValue({ dims, values }: TensorProto): Value {
  const sizes = dims.map(fixed)
  if (values === undefined || values.length > MOST_ELEMENTS) return { dims: sizes }
  return {
    dims: sizes,
    elements: values.map(value => (Number.isInteger(value) ? fixed(value) : undefined)),
  }
}

const constant: Rule = step => {
  const [attribute] = step.node.attributes.values()
  return [attribute === undefined ? UNKNOWN : attributeValue(attribute)]
}

function attributeValue({ name, tensor, number, numbers, texts }: Attribute): Value {
  if (tensor !== undefined) return tensorValue(tensor)
  const base = { name, type: 0 }
  if (number !== undefined) return tensorValue({ ...base, dims: [], values: [number] })
  if (numbers !== undefined)
    return tensorValue({ ...base, dims: [numbers.length], values: numbers })
  if (texts !== undefined) return { dims: [fixed(texts.length)] }
  return name === 'value_string' ? { dims: [] } : UNKNOWN
}

const onlyConstants: Rule = step => {
  if (step.inputs.some(dependsOnRows))
    throw new Stop(
      'the operator uses all rows at the same time, or there is no rule for batched inputs',
    )
  return step.node.outputs.map(() => UNKNOWN)
}

const DETERMINISTIC = [
  ...[
    'AffineGrid',
    'BlackmanWindow',
    'CenterCropPad',
    'Col2Im',
    'Compress',
    'Det',
    'DFT',
    'EyeLike',
  ],
  ...[
    'HammingWindow',
    'HannWindow',
    'MelWeightMatrix',
    'NonMaxSuppression',
    'NonZero',
    'ScatterND',
  ],
  ...['STFT', 'Unique', 'BitCast', 'RoiAlign', 'StringSplit'],
]

export const CONSTANTS: Rules = {
  Constant: [since(7, constant)],
  ...each(DETERMINISTIC, since(7, onlyConstants)),
}
