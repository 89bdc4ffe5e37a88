import { show } from '../protocol/json.ts'
import type { Signature, TensorMetadata } from '../protocol/tensor.ts'

/** Names of the elements in an input's last dimension, in order. */
export type FeatureNames = readonly string[]

/** model.json's value: names for the only input, or names keyed by input. */
export type Features = FeatureNames | Readonly<Record<string, FeatureNames>>

/**
 * @returns the names keyed by input, omitting inputs without names
 * @throws {Error} if the names do not match the model
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
    `an array requires a model with one input, but this model has ${inputs.length} inputs (${namesOf(inputs)}); use an object that maps input names to arrays`,
  )
}

function problemOf(names: FeatureNames, { shape, anyRank }: TensorMetadata): string | undefined {
  if (anyRank) return undefined
  const size = shape.at(-1)
  if (size === undefined) return 'the input is a scalar, which has no last dimension'
  if (size === -1)
    return shape.length === 1
      ? `shape [${shape}] has no dimension besides the rows, so there are no elements to name`
      : undefined
  return names.length === size
    ? undefined
    : `there are ${names.length} names, but the last dimension of [${shape}] has ${size} elements`
}

const namesOf = (inputs: Signature['inputs']) => inputs.map(({ name }) => show(name)).join(', ')

const wrong = (problem: string) =>
  new Error(`model.json: the features do not match the model: ${problem}`)
