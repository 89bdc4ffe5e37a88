import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askWebhooks, hasGo, isAsked } from './admission.ts'
import { type Project, theProject } from './agreement.ts'
import { checkAll } from './check.ts'
import { kindOf } from './objects.ts'
import { readSchemas } from './schemas.ts'
import { type Bundle, findBundles, type Manifest, parse, read } from './sources.ts'

/* That each mistake of mistakes.yaml is noticed, in every manifest of its kind. */

/** What is done, the field, its value (null: none), and what the check says; in one bundle, if it is given. */
type Mistake = readonly [what: string, at: string, value: unknown, says: string, only?: string]
type TextMistake = readonly [file: string, what: string, from: string, to: string, says: string]

const [{ any, canary, texts, ...MISTAKES }] = parse(
  read('scripts/manifests/mistakes.yaml'),
  'mistakes.yaml',
) as [Record<string, readonly Mistake[]> & { texts: readonly TextMistake[] }]

/** Folders, as --schemas takes them, with colons between; without them, what only a schema notices is skipped. */
const schemas = readSchemas((process.env.SCHEMAS ?? '').split(':').filter(folder => folder !== ''))
const project = theProject(findBundles())
const NO_SCHEMA = 'there is no schema; SCHEMAS names folders of them'
const base = project.bundles.find(({ name }) => name === 'knative/base') as Bundle

/** Makes the mistake in a copy. */
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

/** A manifest with a mistake; its bundle beside the one that the rest is compared with. */
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
const originals = [
  // A part is noticed in the whole that it is built into.
  ...project.bundles.filter(({ whole }) => whole),
].flatMap(bundle => bundle.objects.map(object => ({ bundle, object })))

const kinds = Map.groupBy(originals, ({ object }) => kindOf(object).replace(/^Cluster(?=Serv)/, ''))
const casesOf = (kind: string, mistake: Mistake) =>
  (kinds.get(kind) ?? [])
    .filter(({ bundle }) => mistake[4] === undefined || mistake[4] === bundle.name)
    .map(({ bundle, object }) => caseOf(bundle, object, mistake))
const cases = [...kinds.keys()].map(kind => ({
  kind,
  mistakes: (MISTAKES[kind] ?? []).map(mistake => ({ mistake, all: casesOf(kind, mistake) })),
}))
const canaryCases = canary?.map(mistake =>
  caseOf(canaries, canaries.objects[0], mistake),
) as readonly Case[]

/** What Serving and KServe say of all manifests, asked at once. */
const asked = hasGo
  ? [
      ...originals.map(({ object }) => object),
      ...canaries.objects,
      ...[
        ...cases.flatMap(({ mistakes }) => mistakes.flatMap(({ all }) => all)),
        ...canaryCases,
      ].map(({ object }) => object),
    ].filter(isAsked)
  : []
const admitted = new Map(askWebhooks(asked).map((said, i) => [asked[i], said]))

const problemsOf = (of: Project) => checkAll(of, schemas).map(problem => problem.join(': '))

/** Fails if neither our checks nor the webhooks notice it. @returns why it cannot be told */
function missed({ mistake, object, project }: Case): string | undefined {
  const said = [...problemsOf(project), ...(admitted.get(object) ?? [])].join('\n')
  if (new RegExp(mistake[3]).test(said)) return undefined
  if (isAsked(object) && !hasGo) return 'only Serving and KServe may notice it, and there is no Go'
  assert.fail(`expected ${mistake[3]}, got:\n${said}`)
}

test('nothing is wrong with the manifests as they are', () => {
  assert.deepEqual(problemsOf(project), [])
  const added = { ...project, bundles: [...project.bundles, canaries] }
  assert.deepEqual(problemsOf(added), [])
  for (const { object } of originals) assert.deepEqual(admitted.get(object) ?? [], [])
  assert.deepEqual(admitted.get(canaries.objects[0]) ?? [], [])
})

for (const { kind, mistakes } of cases) {
  describe(`that a ${kind}`, () => {
    for (const { mistake, all } of mistakes) {
      test(`${mistake[0]} is noticed`, t => {
        assert.ok(all.length > 0)
        const untold = all.map(missed).find(why => why !== undefined)
        if (untold !== undefined) t.skip(untold)
      })
    }
    test('has three mistakes', () => assert.ok(mistakes.length >= 3, `${mistakes.length}`))

    for (const mistake of any as readonly Mistake[]) {
      test(`${mistake[0]} is noticed`, t => {
        const all = (kinds.get(kind) ?? []).filter(
          ({ object }) =>
            schemas.of(object.apiVersion, object.kind) !== undefined &&
            (!mistake[1].startsWith('spec/') || object.spec !== undefined),
        )
        if (all.length === 0) t.skip(NO_SCHEMA)
        for (const { bundle, object } of all) missed(caseOf(bundle, object, mistake))
      })
    }
  })
}

describe('that a canary of KServe’s Standard mode', () => {
  for (const made of canaryCases) {
    test(`${made.mistake[0]} is noticed`, t => {
      const untold = missed(made)
      if (untold !== undefined) t.skip(untold)
    })
  }
})

describe('in a file that is no manifest', () => {
  for (const [file, what, from, to, says] of texts) {
    test(`that ${file} says ${what} is noticed`, () => {
      const before = project.text(file) as string
      const wrong = before.replace(new RegExp(from, 'm'), to)
      assert.notEqual(wrong, before)
      const text = (path: string) => (path === file ? wrong : project.text(path))
      assert.match(problemsOf({ ...project, text }).join('\n'), new RegExp(says))
    })
  }

  test('a key of func.yaml that func does not know is noticed', {
    skip: schemas.func === undefined && NO_SCHEMA,
  }, () => {
    const text = (path: string) =>
      path === 'func.yaml' ? `${project.text(path)}port: 8080\n` : project.text(path)
    assert.match(problemsOf({ ...project, text }).join('\n'), /unknown field "port"/)
  })
})
