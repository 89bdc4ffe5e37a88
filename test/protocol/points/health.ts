import assert from 'node:assert/strict'
import { jsonOf } from '../answer.ts'
import { all, versioned } from '../applies.ts'
import { DATATYPES } from '../datatypes.ts'
import type { JsonTensor, Point, Target } from '../point.ts'
import { get, modelPath } from '../request.ts'
import { oip, silent } from '../sources.ts'

async function ok(target: Target, path: string): Promise<Record<string, unknown>> {
  const reply = await get(target, path)
  assert.equal(reply.status, 200)
  return jsonOf(reply)
}

function checkTensors(tensors: unknown): void {
  assert.ok(Array.isArray(tensors))
  for (const { name, datatype, shape } of tensors as JsonTensor[]) {
    assert.equal(typeof name, 'string')
    assert.ok(datatype === 'BF16' || Object.hasOwn(DATATYPES, datatype), `datatype ${datatype}`)
    assert.ok(Array.isArray(shape) && shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= -1), `shape ${shape}`)
  }
}

async function checkMetadata(target: Target, path: string): Promise<void> {
  const { name, versions, platform, inputs, outputs } = await ok(target, path)
  assert.equal(name, target.model)
  assert.equal(typeof platform, 'string')
  if (versions !== undefined) assert.ok(Array.isArray(versions) && versions.every(version => typeof version === 'string'))
  checkTensors(inputs)
  checkTensors(outputs)
}

const PLATFORM = /^[a-z0-9]+_[a-z0-9_]+$/

export const points: Point[] = [
  {
    name: 'a live server says so with 200',
    source: oip('Server Live'),
    level: 'required',
    check: async target => assert.equal((await get(target, '/v2/health/live')).status, 200),
  },
  {
    name: 'the body of liveness is {"live": true}',
    source: oip('Server Live Response JSON Object'),
    level: 'stricter',
    check: async target => assert.equal((await ok(target, '/v2/health/live')).live, true),
  },
  {
    name: 'a ready server says so with 200',
    source: oip('Server Ready'),
    level: 'required',
    check: async target => assert.equal((await get(target, '/v2/health/ready')).status, 200),
  },
  {
    name: 'the body of readiness has "live", and "ready" too',
    source: `${oip('Server Ready Response JSON Object')}, whose "live" reads like a slip`,
    level: 'stricter',
    check: async target => {
      const { live, ready } = await ok(target, '/v2/health/ready')
      assert.deepEqual([live, ready], [true, true])
    },
  },
  {
    name: 'a ready model says so with 200',
    source: oip('Model Ready'),
    level: 'required',
    check: async target => assert.equal((await get(target, `${modelPath(target)}/ready`)).status, 200),
  },
  {
    name: 'the body of model readiness is {"name", "ready"}',
    source: oip('Model Ready Response JSON Object'),
    level: 'stricter',
    check: async target => {
      const { name, ready } = await ok(target, `${modelPath(target)}/ready`)
      assert.deepEqual([name, ready], [target.model, true])
    },
  },
  {
    name: 'server metadata has name, version and extensions',
    source: oip('Server Metadata Response JSON Object'),
    level: 'required',
    check: async target => {
      const { name, version, extensions } = await ok(target, '/v2')
      assert.deepEqual([typeof name, typeof version], ['string', 'string'])
      assert.ok(Array.isArray(extensions) && extensions.every(extension => typeof extension === 'string'))
    },
  },
  {
    name: 'model metadata has name, platform, inputs and outputs',
    source: oip('Model Metadata Response JSON Object'),
    level: 'required',
    check: target => checkMetadata(target, modelPath(target)),
  },
  {
    name: 'model metadata is the same without the version in the path',
    source: silent('a server of one version chooses that one'),
    level: 'stricter',
    notApplicable: versioned,
    check: async target =>
      assert.deepEqual(await ok(target, modelPath(target, { versioned: false })), await ok(target, modelPath(target, { versioned: true }))),
  },
  {
    name: 'model metadata lists the version that can be asked for',
    source: oip('Model Metadata Response JSON Object'),
    level: 'required',
    notApplicable: versioned,
    check: async target => {
      const { versions } = await ok(target, modelPath(target))
      assert.ok((versions as string[]).includes(target.version as string))
    },
  },
  {
    name: 'a platform is written <project>_<format>',
    source: oip('Platforms'),
    level: 'stricter',
    notApplicable: all(),
    check: async target => assert.match((await ok(target, modelPath(target))).platform as string, PLATFORM),
  },
]
