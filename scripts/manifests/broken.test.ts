import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askWebhooks, hasGo, isAsked } from './admission.ts'
import { checkAgreement, type Project, theProject } from './agreement.ts'
import { checkAll, checkFuncSchema } from './check.ts'
import { kindOf } from './objects.ts'
import { readSchemas } from './schemas.ts'
import { type Bundle, findBundles, type Manifest, parse, read } from './sources.ts'

/**
 * The mistake, the field, its value (null removes the field), the check's message, and optionally
 * the bundle in which the mistake is made.
 */
type Mistake = readonly [what: string, at: string, value: unknown, says: string, only?: string]
type TextMistake = readonly [file: string, what: string, from: string, to: string, says: string]

const [{ any, canary, texts, ...MISTAKES }] = parse(
  read('scripts/manifests/mistakes.yaml'),
  'mistakes.yaml',
) as [Record<string, readonly Mistake[]> & { texts: readonly TextMistake[] }]

/**
 * SCHEMAS lists folders as for --schemas, separated by colons. Without it, some tests are skipped.
 */
const schemas = readSchemas((process.env.SCHEMAS ?? '').split(':').filter(folder => folder !== ''))
const project = theProject(findBundles())
const NO_SCHEMA = 'no schema for this kind; set SCHEMAS to folders with schemas'
const base = project.bundles.find(({ name }) => name === 'knative/base') as Bundle

function withMistake(manifest: Manifest, [, at, value]: Mistake): Manifest {
  const copy = structuredClone(manifest)
  const keys = at.replace('CONTAINER', 'spec/template/spec/containers/0').split('/')
  const last = keys.pop() as string
  let parent = copy
  for (const key of keys) {
    parent[key] ??= {}
    parent = parent[key]
  }
  if (value === null) delete parent[last]
  else parent[last] = value
  return copy
}

/** A manifest with a mistake, in a project that contains its bundle and knative/base. */
interface Case {
  readonly mistake: Mistake
  readonly object: Manifest
  readonly project: Project
}

const caseOf = (bundle: Bundle, original: Manifest, mistake: Mistake): Case => {
  const object = withMistake(original, mistake)
  const objects = bundle.objects.map(other => (other === original ? object : other))
  const bundles = bundle === base ? [] : [base]
  return { mistake, object, project: { ...project, bundles: [...bundles, { ...bundle, objects }] } }
}

const canaries: Bundle = {
  name: 'canary',
  whole: true,
  objects: parse(
    `
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris, annotations: {serving.kserve.io/deploymentMode: Standard}}
spec:
  predictor: {name: stable, minReplicas: 2, serviceAccountName: iris, automountServiceAccountToken: false, model: {modelFormat: {name: onnx}, storageUri: "s3://models/iris"}}
  canary:
  - {trafficPercent: 10, predictor: {name: next, serviceAccountName: iris, automountServiceAccountToken: false, model: {name: kserve-container, modelFormat: {name: onnx}, storageUri: "s3://models/iris-2"}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: iris}
automountServiceAccountToken: false`,
    'canary',
  ),
  beside: [],
}
// Only complete bundles: a mistake in a part is found in the bundle that includes the part.
const originals = project.bundles
  .filter(({ whole }) => whole)
  .flatMap(bundle => bundle.objects.map(object => ({ bundle, object })))
const kinds = Map.groupBy(originals, ({ object }) => kindOf(object).replace(/^Cluster(?=Serv)/, ''))

function caseIn(kind: string, mistake: Mistake): Case {
  const found = kinds
    .get(kind)
    ?.find(({ bundle }) => mistake[4] === undefined || mistake[4] === bundle.name)
  assert.ok(found, `mistakes.yaml: ${mistake[4]} has no ${kind}`)
  return caseOf(found.bundle, found.object, mistake)
}
const cases = [...kinds.keys()].map(kind => ({
  kind,
  made: (MISTAKES[kind] ?? []).map(mistake => caseIn(kind, mistake)),
}))
const canaryCases = canary?.map(mistake =>
  caseOf(canaries, canaries.objects[0], mistake),
) as readonly Case[]

/** The manifests that the webhooks validate; one call returns the errors of all. */
const asked = [
  ...originals,
  { object: canaries.objects[0] },
  ...cases.flatMap(({ made }) => made),
  ...canaryCases,
]
  .map(({ object }) => object)
  .filter(object => hasGo && isAsked(object))
const admitted = new Map(askWebhooks(asked).map((said, i) => [asked[i], said]))

const problemsOf = (of: Project) => checkAll(of, schemas).map(problem => problem.join(': '))

/** Fails if no check or webhook finds the mistake. @returns a reason to skip the test */
function missed({ mistake, object, project }: Case): string | undefined {
  const said = [...problemsOf(project), ...(admitted.get(object) ?? [])].join('\n')
  if (new RegExp(mistake[3]).test(said)) return undefined
  if (isAsked(object) && !hasGo)
    return 'the mistake may need the webhooks of Serving or KServe, and Go is not installed'
  assert.fail(`expected ${mistake[3]}, got:\n${said}`)
}

test('the manifests of the project have no problems', () => {
  assert.deepEqual(problemsOf(project), [])
  // func.yaml must be compared with all bundles, so ignore it here.
  const added = problemsOf({ ...project, bundles: [base, canaries] })
  assert.deepEqual(
    added.filter(problem => !problem.startsWith('func.yaml')),
    [],
  )
  for (const { object } of originals) assert.deepEqual(admitted.get(object) ?? [], [])
  assert.deepEqual(admitted.get(canaries.objects[0]) ?? [], [])
})

function testEach(made: readonly Case[]): void {
  for (const one of made) {
    test(one.mistake[0], t => {
      const untold = missed(one)
      if (untold !== undefined) t.skip(untold)
    })
  }
}

for (const { kind, made } of cases) {
  describe(`the checks find a ${kind} that`, () => {
    testEach(made)
    test('has one of at least three listed mistakes', () =>
      assert.ok(made.length >= 3, `${made.length}`))

    const [{ object } = { object: undefined }] = kinds.get(kind) ?? []
    const skip = schemas.of(object.apiVersion, object.kind) === undefined && NO_SCHEMA
    for (const mistake of any as readonly Mistake[]) {
      if (mistake[1].startsWith('spec/') && object.spec === undefined) continue
      test(mistake[0], { skip }, () => {
        missed(caseIn(kind, mistake))
      })
    }
  })
}

describe('the checks find a canary of KServe’s Standard mode that', () => testEach(canaryCases))

describe('the checks find a mistake in', () => {
  for (const [file, what, from, to, says] of texts) {
    test(`${file}: ${what}`, () => {
      const before = project.text(file) as string
      const wrong = before.replace(new RegExp(from, 'm'), to)
      assert.notEqual(wrong, before)
      const text = (path: string) => (path === file ? wrong : project.text(path))
      assert.match(checkAgreement({ ...project, text }).join('\n'), new RegExp(says))
    })
  }

  test('func.yaml: an unknown key', {
    skip: schemas.func === undefined && NO_SCHEMA,
  }, () => {
    const text = (path: string) =>
      path === 'func.yaml' ? `${project.text(path)}port: 8080\n` : project.text(path)
    assert.match(checkFuncSchema({ text }, schemas).join('\n'), /unknown field "port"/)
  })
})
