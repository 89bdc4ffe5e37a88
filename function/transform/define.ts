import type { ModelTypes, Transform } from './contract.ts'
import type { DataOf, JsonSchema } from './json-schema.ts'

/** A transform whose data has the type of the schema `input`. */
export type TransformOf<Model extends ModelTypes, Schema> = Omit<
  Transform<Model, DataOf<Schema>>,
  'input'
> & { readonly input?: Schema }

/**
 * Gives a transform its types and returns it unchanged. The types of the tensors come from the
 * model, and the type of the data from the schema.
 *
 *     export default defineTransform<Model>()({ preprocess: …, postprocess: … })
 *
 * There are two calls, because TypeScript infers all type parameters of a call or none: the first
 * call names the model, and the second infers the schema's type. With `export default { … } satisfies
 * Transform<Model>`, the type of the data would be unknown.
 */
export const defineTransform =
  <Model extends ModelTypes = ModelTypes>() =>
  <const Schema extends JsonSchema = true>(
    transform: TransformOf<Model, Schema>,
  ): Transform<Model, DataOf<Schema>> =>
    transform as Transform<Model, DataOf<Schema>>
