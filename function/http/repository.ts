import { BadRequest } from '../protocol/errors.ts'
import { isObject, parseJson, show } from '../protocol/json.ts'

/**
 * Whether an index request is only for ready models (Triton's model repository extension, "Index").
 * Clients send no body, or `{"ready": true}`.
 * @throws {BadRequest} if the body is not a JSON object, or `ready` is not a boolean
 */
export function asksOnlyReady(body: Uint8Array): boolean {
  if (body.length === 0) return false
  const { value } = parseJson(body, 'the body')
  if (!isObject(value)) throw new BadRequest(`the body is ${show(value)}; it must be a JSON object`)
  const ready = value.ready ?? false
  if (typeof ready === 'boolean') return ready
  throw new BadRequest(`ready is ${show(ready)}; it must be true or false`)
}
