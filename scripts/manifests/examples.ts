import { globSync } from 'node:fs'
import { KNATIVE_SERVICE, kindOf, typesOf } from './objects.ts'
import { type Bundle, type Manifest, PROJECT } from './sources.ts'

/** The files with which func deploys examples. */
export const EXAMPLE_FUNCTIONS = globSync('examples/*/func.yaml', { cwd: PROJECT })

/** A file of the project, by its path. */
type Text = (path: string) => string | undefined

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

/**
 * Checks that an example's function receives the type that its README sends, and that other
 * services receive its transform's reply type, which the author chooses.
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
      return when(!isReply, `spec.filters: ${example}'s transform replies with no ${type}`)
    return [
      ...when(type !== sent, `spec.filters: nobody sends ${type}; the README's type is ${sent}`),
      ...when(isReply, `spec.filters: ${type} is the type of the function's own replies`),
    ]
  })
}
