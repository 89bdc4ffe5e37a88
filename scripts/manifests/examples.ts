import { globSync } from 'node:fs'
import { KNATIVE_SERVICE, kindOf, typesOf } from './objects.ts'
import { type Bundle, type Manifest, PROJECT } from './sources.ts'

export const EXAMPLE_FUNCTIONS = globSync('examples/*/func.yaml', { cwd: PROJECT })

/** Undefined if the file is missing. */
type Text = (path: string) => string | undefined

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

/**
 * An example's function must receive the event type that its README sends, and other services the
 * type of its transform's replies, which the author chooses.
 */
export function checkTypesOfExample(
  trigger: Manifest,
  { beside }: Bundle,
  { example, text }: { readonly example: string; readonly text: Text },
): string[] {
  const transform = text(`${example}/model/transform.ts`) ?? ''
  const sent = /ce-type: (\S+?)'/.exec(text(`${example}/README.md`) ?? '')?.[1]
  const isForFunction = beside.some(
    object =>
      kindOf(object) === KNATIVE_SERVICE &&
      object.metadata.name === trigger.spec.subscriber?.ref?.name,
  )
  return typesOf(trigger).flatMap(type => {
    const isReply = transform.includes(`'${type}'`)
    if (!isForFunction)
      return when(!isReply, `spec.filters: the transform of ${example} does not reply with ${type}`)
    return [
      ...when(
        type !== sent,
        `spec.filters: no sender uses the type ${type}; the README sends ${sent}`,
      ),
      ...when(isReply, `spec.filters: ${type} is the type of the function's own replies`),
    ]
  })
}
