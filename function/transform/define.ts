import type { ModelTypes, Transform } from './contract.ts'
import type { DataOf, JsonSchema } from './json-schema.ts'

/** A transform whose data has the type given by the schema `input`. */
export type TransformOf<Model extends ModelTypes, Schema> = Omit<
  Transform<Model, DataOf<Schema>>,
  'input'
> & { readonly input?: Schema }

/**
 * Types a transform and returns it unchanged: the tensors by the model, the data by the schema.
 *
 *     export default defineTransform<Model>()({ preprocess: …, postprocess: … })
 *
 * It is called twice because TypeScript infers either all type parameters of a call or none: the
 * first call names the model, the second infers the schema. The alternative `export default { … }
 * satisfies Transform<Model>` types the tensors, but leaves data unknown.
 */
export const defineTransform =
  <Model extends ModelTypes = ModelTypes>() =>
  <const Schema extends JsonSchema = true>(
    transform: TransformOf<Model, Schema>,
  ): Transform<Model, DataOf<Schema>> =>
    transform as Transform<Model, DataOf<Schema>>
