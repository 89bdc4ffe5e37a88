import type { Transform } from './contract.ts'
import type { JsonSchema } from './json-schema.ts'

/**
 * The parts of a transform that documents, pages and check-model show: plain data, which can be
 * sent between threads.
 */
export interface DescribedTransform {
  readonly input?: JsonSchema
  readonly output?: JsonSchema
  readonly preprocess: boolean
  readonly postprocess: boolean
}

/** @throws {Error} if a schema is not plain JSON */
export function describeTransform(transform: Transform): DescribedTransform {
  const { input, output, preprocess, postprocess } = transform
  return {
    ...(input !== undefined && { input: plain(input, 'input') }),
    ...(output !== undefined && { output: plain(output, 'output') }),
    preprocess: preprocess !== undefined,
    postprocess: postprocess !== undefined,
  }
}

/** Copies a schema, so that later changes to the author's object have no effect. */
function plain(schema: JsonSchema, name: string): JsonSchema {
  try {
    return JSON.parse(JSON.stringify(schema))
  } catch (error) {
    throw new Error(
      `the schema "${name}" is not valid JSON: ${(error as Error).message.split('\n')[0]}`,
    )
  }
}
