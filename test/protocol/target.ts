import assert from 'node:assert/strict'
import { assertEchoed, infer, inferBinary, jsonOf } from './answer.ts'
import { rowOf } from './datatypes.ts'
import type { JsonTensor, Target, Tensor } from './point.ts'
import { elementCount, get, modelPath, outputsOf, reshaped } from './request.ts'

/** What cannot be read from the metadata. */
export interface Known {
  readonly url: string
  readonly model: string
  readonly version?: string | undefined
  /** Inputs the model answers 200; zeros of the smallest shape unless given. */
  readonly example?: readonly Tensor[] | undefined
  readonly failing?: NonNullable<Target['failing']>
  readonly mismatched?: NonNullable<Target['mismatched']>
  readonly limits?: NonNullable<Target['limits']>
}

/** A server's model as the points see it: its metadata, an example, and whether it gives its input back. */
export async function readTarget({ example, version, ...known }: Known): Promise<Target> {
  const metadata = jsonOf(await get(known, modelPath({ ...known, version }))) as unknown as Target['metadata']
  const { extensions } = jsonOf(await get(known, '/v2')) as unknown as Target
  const target = { ...known, version, metadata, extensions, example: { inputs: example ?? metadata.inputs.map(zeros) }, echoes: false }
  return { ...target, echoes: await givesBack(target) }
}

function zeros({ name, datatype, shape }: JsonTensor): Tensor {
  const smallest = shape.map(dimension => Math.abs(dimension))
  const zero = { BOOL: false, BYTES: '', INT64: 0n, UINT64: 0n }[datatype] ?? 0
  return { name, datatype, shape: smallest, data: Array(elementCount(smallest)).fill(zero) }
}

async function givesBack(target: Target): Promise<boolean> {
  const [input, ...others] = target.example.inputs
  const [output, ...more] = target.metadata.outputs
  if (input === undefined || output === undefined || others.length > 0 || more.length > 0 || input.datatype !== output.datatype)
    return false
  // From the end: the tables begin with zeros, which many a model gives back.
  const varied = reshaped({ ...input, data: rowOf(input.datatype).values.toReversed() }, input.shape)
  try {
    const response =
      input.datatype === 'FP16'
        ? await inferBinary(target, [varied], { outputs: outputsOf(target, { binary_data: true }) })
        : await infer(target, { inputs: [varied] })
    assertEchoed(response, varied)
    return true
  } catch (error) {
    if (error instanceof assert.AssertionError) return false
    throw error
  }
}
