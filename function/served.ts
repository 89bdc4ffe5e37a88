import { Refused } from './answer.ts'
import { show } from './protocol/json.ts'

interface Served {
  readonly name: string
  readonly version: string | undefined
}

/** @throws {Refused} 404 if the request names another model or version */
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
