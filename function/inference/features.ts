import { show } from '../protocol/json.ts'
import type { Signature, TensorMetadata } from '../protocol/tensor.ts'

/** The names of the elements of an input's last dimension, in order. */
export type FeatureNames = readonly string[]

/** As in model.json: the names for the only input, or by input name. */
export type Features = FeatureNames | Readonly<Record<string, FeatureNames>>

/**
 * @returns the names by input name; inputs without names are omitted
 * @throws {Error} of one line if the names do not fit the model
 */
export function featuresByInput(
  features: Features | undefined,
  { inputs }: Pick<Signature, 'inputs'>,
): Readonly<Record<string, FeatureNames>> {
  const byInput = Array.isArray(features) ? ofOnlyInput(features, inputs) : (features ?? {})
  for (const [name, names] of Object.entries(byInput)) {
    const input = inputs.find(other => other.name === name)
    if (input === undefined)
      throw wrong(`${show(name)} is not an input of the model; its inputs are ${namesOf(inputs)}`)
    const problem = problemOf(names, input)
    if (problem !== undefined) throw wrong(`input ${show(name)}: ${problem}`)
  }
  return byInput as Readonly<Record<string, FeatureNames>>
}

function ofOnlyInput(names: FeatureNames, inputs: Signature['inputs']) {
  const [input, ...others] = inputs
  if (input !== undefined && others.length === 0) return { [input.name]: names }
  throw wrong(
    `an array is for a model of one input, and this one has ${inputs.length} (${namesOf(inputs)}); give an object of input name to names`,
  )
}

function problemOf(names: FeatureNames, { shape, anyRank }: TensorMetadata): string | undefined {
  if (anyRank) return undefined
  const size = shape.at(-1)
  if (size === undefined) return 'a scalar has no last dimension to name the elements of'
  if (size === -1)
    return shape.length === 1
      ? `shape [${shape}] has only rows, and a row has no elements to name`
      : undefined
  return names.length === size
    ? undefined
    : `${names.length} names, but the last dimension of [${shape}] has ${size} elements`
}

const namesOf = (inputs: Signature['inputs']) => inputs.map(({ name }) => show(name)).join(', ')

const wrong = (problem: string) =>
  new Error(`model.json: the features do not fit the model: ${problem}`)
