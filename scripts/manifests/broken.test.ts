import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Project, theProject } from './agreement.ts'
import { checkAll } from './check.ts'
import {
  CANARY_MISTAKES,
  MISTAKES,
  type Mistake,
  SCHEMA_MISTAKES,
  TEXT_MISTAKES,
  withMistake,
} from './mistakes.ts'
import { kindOf } from './rules.ts'
import { readSchemas } from './schemas.ts'
import { type Bundle, findBundles, type Manifest, parse } from './sources.ts'

/** Folders, as --schemas takes them, with colons between; without them, what only a schema notices is skipped. */
const schemas = readSchemas((process.env.SCHEMAS ?? '').split(':').filter(folder => folder !== ''))
const project = theProject(findBundles())
const NO_SCHEMA = 'there is no schema; SCHEMAS names folders of them'

const problems = async (of: Project) =>
  (await checkAll(of, schemas)).map(problem => problem.join(': ')).join('\n')

const base = project.bundles.find(({ name }) => name === 'knative/base') as Bundle

/** A bundle with one object changed, and of the others only the one that the rest is compared with. */
const broken = (bundle: Bundle, object: Manifest, mistake: Mistake): Project => ({
  ...project,
  bundles: [
    base,
    {
      ...bundle,
      objects: bundle.objects.map(other =>
        other === object ? withMistake(object, mistake) : other,
      ),
    },
  ],
})

test('nothing is wrong with the manifests as they are', async () => {
  assert.equal(await problems(project), '')
})

// A part is noticed in the whole that it is built into.
for (const bundle of project.bundles.filter(({ whole }) => whole)) {
  for (const object of bundle.objects) {
    describe(`${bundle.name}: that the ${object.kind} ${object.metadata.name}`, () => {
      const mistakes = MISTAKES[kindOf(object).replace(/^Cluster(?=ServingRuntime)/, '')] ?? []
      for (const mistake of mistakes) {
        test(`${mistake.what} is noticed`, async () => {
          assert.match(await problems(broken(bundle, object, mistake)), mistake.says)
        })
      }
      test('has a kind for which there are three mistakes', () => {
        assert.ok(mistakes.length >= 3, `mistakes.ts has ${mistakes.length} for ${kindOf(object)}`)
      })
      const skip = schemas.of(object.apiVersion, object.kind) === undefined && NO_SCHEMA
      for (const mistake of SCHEMA_MISTAKES) {
        if (mistake.at.startsWith('spec/') && object.spec === undefined) continue
        test(`${mistake.what} is noticed`, { skip }, async () => {
          assert.match(await problems(broken(bundle, object, mistake)), mistake.says)
        })
      }
    })
  }
}

describe('that a canary of KServe’s Standard mode', () => {
  const [canary, account] = parse(
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
  )
  const added = (object: Manifest): Project => ({
    ...project,
    bundles: [
      ...project.bundles,
      { name: 'canary', whole: true, objects: [object, account], beside: [] },
    ],
  })

  test('is taken as it should be', async () => assert.equal(await problems(added(canary)), ''))
  for (const mistake of CANARY_MISTAKES) {
    test(`${mistake.what} is noticed`, async () => {
      assert.match(await problems(added(withMistake(canary, mistake))), mistake.says)
    })
  }
})

describe('in a file that is no manifest', () => {
  for (const { file, what, from, to, says } of TEXT_MISTAKES) {
    const before = project.text(file)
    test(`that ${file} says ${what} is noticed`, {
      skip: before === undefined && `there is no ${file}`,
    }, async () => {
      assert.match(before as string, from)
      const text = (path: string) =>
        path === file ? before?.replace(from, to) : project.text(path)
      assert.match(await problems({ ...project, text }), says)
    })
  }

  test('a key of func.yaml that func does not know is noticed', {
    skip: schemas.func === undefined && NO_SCHEMA,
  }, async () => {
    const text = (path: string) =>
      path === 'func.yaml' ? `${project.text(path)}port: 8080\n` : project.text(path)
    assert.match(await problems({ ...project, text }), /unknown field "port"/)
  })
})
