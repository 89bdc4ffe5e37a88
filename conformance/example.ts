import { DATATYPES } from './datatypes.ts'
import { parseJson } from './json.ts'
import type { JsonTensor, Tensor, Value } from './point.ts'
import { elementCount } from './request.ts'

/**
 * Generates two sets of inputs of the smallest shape: one with distinct elements, and one with
 * zeros, for models that fail on distinct elements.
 */
export const madeUp = (inputs: readonly JsonTensor[]): readonly (readonly Tensor[])[] => [
  inputs.map(tensor => make(tensor, i => DIFFERENT[tensor.datatype]?.(i) ?? (i % 3) + 1)),
  inputs.map(tensor =>
    make(tensor, () => ({ BOOL: false, BYTES: '', INT64: 0n, UINT64: 0n })[tensor.datatype] ?? 0),
  ),
]

const DIFFERENT: Readonly<Record<string, (i: number) => Value>> = {
  BOOL: i => i % 2 === 0,
  BYTES: i => 'abc'.slice(0, (i % 3) + 1),
  INT64: i => BigInt((i % 3) + 1),
  UINT64: i => BigInt((i % 3) + 1),
}

function make({ name, datatype, shape }: JsonTensor, element: (i: number) => Value): Tensor {
  const smallest = shape.map(dimension => Math.abs(dimension))
  return {
    name,
    datatype,
    shape: smallest,
    data: Array.from({ length: elementCount(smallest) }, (_, i) => element(i)),
  }
}

/**
 * Reads the inputs of a JSON request. Data may be nested; non-finite numbers are strings.
 * @throws {Error} with one line about the first problem
 */
export function readExample(text: string): readonly Tensor[] {
  const { inputs } = (parseJson(text) ?? {}) as { inputs?: unknown }
  if (!Array.isArray(inputs) || inputs.length === 0) throw new Error('"inputs" is missing or empty')
  return (inputs as JsonTensor[]).map(({ name, datatype, shape, data }) => {
    if (typeof name !== 'string') throw new Error('an input has no "name"')
    if (!Object.hasOwn(DATATYPES, datatype))
      throw new Error(`input "${name}": the protocol has no datatype ${JSON.stringify(datatype)}`)
    if (!Array.isArray(shape) || !Array.isArray(data))
      throw new Error(`input "${name}" needs "shape" and "data", both arrays`)
    const elements = (data as unknown[])
      .flat(Number.POSITIVE_INFINITY)
      .map(element => readValue(datatype, element))
    if (elements.length !== elementCount(shape))
      throw new Error(
        `input "${name}": shape [${shape}] does not match ${elements.length} elements`,
      )
    return { name, datatype, shape, data: elements }
  })
}

function readValue(datatype: string, element: unknown): Value {
  if (datatype === 'INT64' || datatype === 'UINT64') return BigInt(element as number)
  return datatype.startsWith('FP') ? Number(element) : (element as Value)
}
