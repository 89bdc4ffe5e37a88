import type { ModelTypes, Transform } from './contract.ts'
import type { DataOf, JsonSchema } from './json-schema.ts'

/** A transform whose data has the type given by the schema `input`. */
export type TransformOf<Model extends ModelTypes, Schema> = Omit<
  Transform<Model, DataOf<Schema>>,
  'input'
> & { readonly input?: Schema }

/**
 * Gives a transform its types and returns it unchanged. The model defines the types of the tensors,
 * and the schema defines the type of the data.
 *
 *     export default defineTransform<Model>()({ preprocess: …, postprocess: … })
 *
 * This function is called twice because TypeScript cannot infer only some type parameters of a
 * call: the first call names the model, and the second call infers the type of the schema. The
 * alternative `export default { … } satisfies Transform<Model>` gives the tensors their types, but
 * leaves the data unknown.
 */
export const defineTransform =
  <Model extends ModelTypes = ModelTypes>() =>
  <const Schema extends JsonSchema = true>(
    transform: TransformOf<Model, Schema>,
  ): Transform<Model, DataOf<Schema>> =>
    transform as Transform<Model, DataOf<Schema>>
