import { Refused } from './answer.ts'
import { show } from './protocol/json.ts'

/** The model of this process. */
interface Served {
  readonly name: string
  readonly version: string | undefined
}

/**
 * Checks the model and version of a request.
 * @throws {Refused} with status 404 if the request names a different model or version
 */
export function checkServed(
  { model, version }: { readonly model?: string; readonly version?: string },
  served: Served,
): void {
  if (model !== undefined) checkName('model', model, served.name)
  if (version !== undefined) checkName(`version of model "${served.name}"`, version, served.version)
}

function checkName(what: string, asked: string, served: string | undefined): void {
  if (asked === served) return
  throw new Refused(
    'NOT_FOUND',
    `${what} ${show(asked)} is unknown; ${served === undefined ? 'the model has no versions' : `this server has "${served}"`}`,
  )
}
