/*
 * Checks every manifest of the project without a cluster:
 *
 *   npm run manifests [-- --schemas FOLDER]...
 *
 * kustomize builds each folder; then come strict schemas, if there are any, the rules that admission webhooks add to them, and that
 * what is said in two places is the same in both. Exits with 1 and a line for each problem.
 */
import { parseArgs } from 'node:util'
import { checkAgreement, type Problem, type Project, theProject } from './agreement.ts'
import { kindOf, RULES } from './rules.ts'
import { readSchemas, type Schemas } from './schemas.ts'
import { type Bundle, findBundles, parse } from './sources.ts'

/** Each object against the schema of its kind. */
export const checkSchemas = (bundles: readonly Bundle[], schemas: Schemas): Problem[] =>
  bundles.flatMap(({ name, objects }) =>
    objects.flatMap(object =>
      (schemas.of(object.apiVersion, object.kind)?.(object) ?? []).map(
        (what): Problem => [`${name}: ${object.kind} ${object.metadata?.name}`, what],
      ),
    ),
  )

/** Each object against the rules for its kind. */
export const checkRules = (bundles: readonly Bundle[]): Problem[] =>
  bundles.flatMap(bundle =>
    bundle.objects.flatMap(object =>
      RULES.filter(({ kinds }) => kinds.includes(kindOf(object))).flatMap(({ check, source }) =>
        check(object, bundle).map(
          (what): Problem => [
            `${bundle.name}: ${object.kind} ${object.metadata.name}`,
            `${what} (${source})`,
          ],
        ),
      ),
    ),
  )

/** func.yaml against func's own schema. */
export const checkFuncSchema = ({ text }: Pick<Project, 'text'>, { func }: Schemas): Problem[] =>
  func === undefined
    ? []
    : func(parse(text('func.yaml') ?? '', 'func.yaml')[0]).map(
        (what): Problem => ['func.yaml', what],
      )

/** All of it; what has no schema stays unsaid here. */
export const checkAll = async (project: Project, schemas: Schemas): Promise<Problem[]> => [
  ...checkSchemas(project.bundles, schemas),
  ...checkFuncSchema(project, schemas),
  ...checkRules(project.bundles),
  ...checkAgreement(project),
]

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { schemas: { type: 'string', multiple: true, default: [] } },
  })
  const bundles = findBundles()
  const schemas = readSchemas(values.schemas)
  const problems = await checkAll(theProject(bundles), schemas)
  const objects = bundles.flatMap(({ objects }) => objects)
  const kinds = new Set(objects.map(({ apiVersion, kind }) => `${kind} (${apiVersion})`))
  const unchecked = [...kinds].filter(kind => {
    const [, name, apiVersion] = /^(\S+) \((.*)\)$/.exec(kind) ?? []
    return schemas.of(apiVersion as string, name as string) === undefined
  })
  const say = (line: string) => process.stdout.write(`${line}\n`)

  for (const { name, objects } of bundles)
    say(`${name}: ${objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).join(', ')}`)
  say(
    `${objects.length} objects of ${kinds.size} kinds in ${bundles.length} builds, against ${RULES.length} webhook rules and against each other; ${kinds.size - unchecked.length} kinds against a strict schema`,
  )
  if (unchecked.length > 0 || schemas.func === undefined) {
    say(
      `NOT checked against a schema: ${[...unchecked, ...(schemas.func === undefined ? ['func.yaml'] : [])].join(', ')}`,
    )
    say('To check those, give the schemas of your cluster:')
    say(
      '  mkdir -p schemas && kubectl get crd -o yaml > schemas/crds.yaml && kubectl get --raw /openapi/v2 > schemas/openapi.json',
    )
    say('  npm run manifests -- --schemas schemas')
    say(
      "and, for func.yaml, func's own in the same folder: schema/func_yaml-schema.json of github.com/knative/func",
    )
  }
  for (const [where, what] of problems) say(`✗ ${where}: ${what}`)
  say(problems.length === 0 ? 'no problems' : `${problems.length} problems`)
  if (problems.length > 0) process.exitCode = 1
}

if (import.meta.main) {
  main().catch(error => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  })
}
