import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { unreadable } from './file-kind.ts'

/**
 * An input in model.json's sample: nested JSON data or, for large inputs, a shape with one value
 * for all elements or a file of elements.
 */
export type SampleInput = unknown

export interface ShapedInput {
  readonly shape: readonly number[]
  readonly fill?: unknown
  /** Binary tensor data: little-endian, in row-major order. */
  readonly bytes?: Uint8Array
}

/** JSON data is never an object, so an object specifies a shape. */
export const isShaped = (input: SampleInput): input is ShapedInput =>
  typeof input === 'object' && input !== null && !Array.isArray(input)

/**
 * Reads the files that a sample names.
 * @param path model.json's path; file paths are relative to its folder
 * @throws {Error} if an input is invalid or a file cannot be read
 */
export function readSample(
  sample: Readonly<Record<string, unknown>> | undefined,
  path: string,
): Readonly<Record<string, SampleInput>> | undefined {
  if (sample === undefined) return undefined
  const inputs = Object.entries(sample).map(([name, input]): [string, SampleInput] => [
    name,
    isShaped(input) ? readShaped(name, input as never, path) : input,
  ])
  return Object.fromEntries(inputs)
}

function readShaped(
  name: string,
  {
    shape,
    fill,
    file,
  }: { readonly shape?: unknown; readonly fill?: unknown; readonly file?: unknown },
  path: string,
): ShapedInput {
  const wrong = (text: string) => new Error(`${path}: the sample's "${name}" ${text}`)
  if (!isShape(shape))
    throw wrong('has no valid shape; a shape must be an array of non-negative integers')
  if ((fill === undefined) === (file === undefined))
    throw wrong(
      'has a shape, so it must also have either fill (one value for all elements) or file',
    )
  if (file === undefined) return { shape, fill }
  if (typeof file !== 'string')
    throw wrong('has a file that is not a string; the file must be a path')
  try {
    return { shape, bytes: readFileSync(join(dirname(path), file)) }
  } catch (error) {
    throw wrong(`is in ${file}, which ${unreadable(error)}`)
  }
}

const isShape = (shape: unknown): shape is number[] =>
  Array.isArray(shape) && shape.every(size => Number.isSafeInteger(size) && size >= 0)
