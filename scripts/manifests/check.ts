/*
 * Checks every manifest of the project without a cluster:
 *
 * npm run check --prefix scripts/manifests [-- --schemas FOLDER]...
 *
 * Builds each folder with kustomize, and checks the objects against strict schemas, if available;
 * the admission code of Knative Serving, KServe and the Gateway API, if Go is available;
 * policy.yaml; and each other. Exits with 1 if there are problems.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { askWebhooks, hasGo, isAsked } from './admission.ts'
import { checkAgreement, type Problem, type Project, theProject } from './agreement.ts'
import { EXAMPLE_FUNCTIONS } from './examples.ts'
import { checkPolicy } from './policy.ts'
import { checkReferences } from './references.ts'
import { readSchemas, type Schemas } from './schemas.ts'
import { type Bundle, findBundles, type Manifest, parse } from './sources.ts'

const checkEach = (
  bundles: readonly Bundle[],
  check: (object: Manifest, bundle: Bundle) => readonly string[],
): Problem[] =>
  bundles.flatMap(bundle =>
    bundle.objects.flatMap(object =>
      check(object, bundle).map(
        (what): Problem => [`${bundle.name}: ${object.kind} ${object.metadata?.name}`, what],
      ),
    ),
  )

function checkAdmission(bundles: readonly Bundle[]): Problem[] {
  const asked = bundles.flatMap(({ objects }) => objects).filter(isAsked)
  const said = new Map(askWebhooks(asked).map((problems, i) => [asked[i], problems]))
  return checkEach(bundles, object => said.get(object) ?? [])
}

export const checkFuncSchema = ({ text }: Pick<Project, 'text'>, { func }: Schemas): Problem[] =>
  ['func.yaml', ...EXAMPLE_FUNCTIONS].flatMap(file =>
    (func?.(parse(text(file) ?? '', file)[0]) ?? []).map((what): Problem => [file, what]),
  )

/** Kinds without a schema are not reported. */
export const checkAll = (project: Project, schemas: Schemas): Problem[] => [
  ...checkEach(
    project.bundles,
    object => schemas.of(object.apiVersion, object.kind)?.(object) ?? [],
  ),
  ...checkFuncSchema(project, schemas),
  ...checkEach(project.bundles, checkPolicy),
  ...checkEach(project.bundles, checkReferences),
  ...checkAgreement(project),
]

const say = (line: string) => process.stdout.write(`${line}\n`)

function main(): void {
  const { values } = parseArgs({
    options: { schemas: { type: 'string', multiple: true, default: [] } },
  })
  const bundles = findBundles()
  // npm runs this in the package's folder; INIT_CWD is the caller's.
  const from = process.env.INIT_CWD ?? ''
  const schemas = readSchemas(values.schemas.map(folder => resolve(from, folder)))
  const problems = checkAll(theProject(bundles), schemas)
  if (hasGo) problems.push(...checkAdmission(bundles))
  const objects = bundles.flatMap(({ objects }) => objects)
  const kinds = new Set(objects.map(({ apiVersion, kind }) => `${kind} (${apiVersion})`))
  const unchecked = [...kinds].filter(known => {
    const [, kind, apiVersion] = /^(\S+) \((.*)\)$/.exec(known) ?? []
    // The Gateway API's admission code includes its CRD and schema.
    if (kind === 'HTTPRoute' && hasGo) return false
    return schemas.of(apiVersion as string, kind as string) === undefined
  })
  for (const { name, objects } of bundles)
    say(`${name}: ${objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).join(', ')}`)
  say(
    `Checked ${objects.length} objects of ${kinds.size} kinds in ${bundles.length} builds against policy.yaml and each other; ${kinds.size - unchecked.length} kinds against a strict schema`,
  )
  say(
    hasGo
      ? 'Checked with the admission code of Knative Serving, KServe and the Gateway API'
      : 'NOT checked with the admission code of Knative Serving, KServe and the Gateway API: it needs Go',
  )
  if (unchecked.length > 0 || schemas.func === undefined) {
    say(
      `NOT checked against a schema: ${[...unchecked, ...(schemas.func === undefined ? ['func.yaml'] : [])].join(', ')}`,
    )
    say('To check these, use the schemas of your cluster:')
    say(
      '  mkdir -p schemas && kubectl get crd -o yaml > schemas/crds.yaml && kubectl get --raw /openapi/v2 > schemas/openapi.json',
    )
    say('  npm run check --prefix scripts/manifests -- --schemas schemas')
    say(
      'For func.yaml, add schema/func_yaml-schema.json from github.com/knative/func to the same folder.',
    )
  }
  for (const [where, what] of problems) say(`✗ ${where}: ${what}`)
  say(problems.length === 0 ? 'no problems' : `${problems.length} problems`)
  if (problems.length > 0) process.exitCode = 1
}

if (import.meta.main) {
  try {
    main()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exitCode = 1
  }
}
