import type { DescribedTransform } from '../transform/described.ts'
import { exampleOf } from '../transform/example.ts'
import { mediaTypeOf } from '../transform/schema.ts'
import type { LoadedModel } from './loaded-model.ts'
import { curlCommand, quoted } from './metadata.ts'

/**
 * Returns a shell command that calls the transform. Without a transform, the command sends an
 * inference request.
 * @param address the server's URL, for example http://localhost:8080
 * @returns undefined if there is no example, or the example is too long for a command
 */
export function tryCommand(
  address: string,
  name: string,
  loaded: Pick<LoadedModel, 'signature' | 'example'>,
  transform: DescribedTransform | undefined,
): string | undefined {
  if (transform === undefined) return curlCommand(address, name, loaded)
  const { input, preprocess } = transform
  const example = exampleOf(input ?? true)
  if (!preprocess || mediaTypeOf(input) !== undefined || example === undefined) return undefined
  return `curl ${quoted(`${address}/`)} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(example))}`
}
