import assert from 'node:assert/strict'
import { assertStatus, jsonOf } from '../answer.ts'
import { versioned } from '../applies.ts'
import { DATATYPES } from '../datatypes.ts'
import type { JsonTensor, Point, Target } from '../point.ts'
import { get, modelPath } from '../request.ts'
import { oip, silent } from '../sources.ts'

async function ok(target: Target, path: string): Promise<Record<string, unknown>> {
  const reply = await get(target, path)
  assertStatus(reply, 200)
  return jsonOf(reply)
}

function checkTensors(field: string, tensors: unknown): void {
  assert.ok(Array.isArray(tensors), `${field} is ${JSON.stringify(tensors)}`)
  for (const tensor of tensors as JsonTensor[]) {
    assert.equal(
      typeof tensor?.name,
      'string',
      `a name in "${field}" is ${JSON.stringify(tensor?.name)}, not a string`,
    )
    const { name, datatype, shape } = tensor
    assert.ok(
      datatype === 'BF16' || Object.hasOwn(DATATYPES, datatype),
      `${field} "${name}" has the datatype ${JSON.stringify(datatype)}`,
    )
    const isShape =
      Array.isArray(shape) &&
      shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= -1)
    assert.ok(isShape, `${field} "${name}" has the shape ${JSON.stringify(shape)}`)
  }
}

const names = (tensors: unknown) =>
  Array.isArray(tensors) ? (tensors as JsonTensor[]).map(tensor => tensor?.name) : []

export const points: Point[] = [
  {
    name: 'the liveness route of a live server returns 200',
    source: oip('Server Live'),
    level: 'required',
    expected: '200',
    check: async target => assertStatus(await get(target, '/v2/health/live'), 200),
  },
  {
    name: 'the liveness response is {"live": true}',
    source: oip('Server Live Response JSON Objet', 'the YAML defines no body'),
    level: 'stricter',
    expected: '{"live":true}',
    check: async target => assert.equal((await ok(target, '/v2/health/live')).live, true),
  },
  {
    name: 'the readiness route of a ready server returns 200',
    source: oip('Server Ready'),
    level: 'required',
    expected: '200',
    check: async target => assertStatus(await get(target, '/v2/health/ready'), 200),
  },
  {
    name: 'the readiness response has both "live" and "ready"',
    source: oip(
      'Server Ready Response JSON Object',
      'its "live" is probably a mistake; the YAML defines no body',
    ),
    level: 'stricter',
    expected: '{"live":true,"ready":true}',
    check: async target => {
      const { live, ready } = await ok(target, '/v2/health/ready')
      assert.deepEqual({ live, ready }, { live: true, ready: true })
    },
  },
  {
    name: 'the readiness route of a ready model returns 200',
    source: oip('Model Ready'),
    level: 'required',
    expected: '200',
    check: async target => assertStatus(await get(target, `${modelPath(target)}/ready`), 200),
  },
  {
    name: 'the model readiness response has "name" and "ready"',
    source: oip('Model Ready Response JSON Object', 'the YAML defines no body'),
    level: 'stricter',
    expected: '{"name":"<model>","ready":true}',
    check: async target => {
      const { name, ready } = await ok(target, `${modelPath(target)}/ready`)
      assert.deepEqual({ name, ready }, { name: target.model, ready: true })
    },
  },
  {
    name: 'server metadata has name, version and extensions',
    source: oip('Server Metadata Response JSON Object'),
    level: 'required',
    expected: '{"name":…,"version":…,"extensions":[…]}',
    check: async target => {
      const { name, version, extensions } = await ok(target, '/v2')
      assert.deepEqual(
        { name: typeof name, version: typeof version },
        { name: 'string', version: 'string' },
      )
      const areStrings =
        Array.isArray(extensions) && extensions.every(extension => typeof extension === 'string')
      assert.ok(areStrings, `extensions are ${JSON.stringify(extensions)}`)
    },
  },
  {
    name: 'model metadata has name, platform, inputs and outputs',
    source: oip('Model Metadata Response JSON Object'),
    level: 'required',
    expected: '{"name":"<model>","platform":…,"inputs":[…],"outputs":[…]}',
    check: async target => {
      const { name, versions, platform, inputs, outputs } = await ok(target, modelPath(target))
      assert.deepEqual(
        { name, platform: typeof platform },
        { name: target.model, platform: 'string' },
      )
      if (versions !== undefined) {
        const areStrings =
          Array.isArray(versions) && versions.every(version => typeof version === 'string')
        assert.ok(areStrings, `versions are ${JSON.stringify(versions)}`)
      }
      checkTensors('inputs', inputs)
      checkTensors('outputs', outputs)
    },
  },
  {
    name: 'model metadata lists the model’s inputs and outputs',
    source: oip(
      'Model Metadata Response JSON Object',
      '"the inputs required", "the outputs produced"',
    ),
    level: 'required',
    expected: 'the names of the example’s inputs and of its response’s outputs',
    check: async target => {
      const { inputs, outputs } = await ok(target, modelPath(target))
      const missing = [
        ...target.example.inputs
          .filter(({ name }) => !names(inputs).includes(name))
          .map(({ name }) => `input "${name}"`),
        ...target.metadata.outputs
          .filter(({ name }) => !names(outputs).includes(name))
          .map(({ name }) => `output "${name}"`),
      ]
      assert.equal(missing.length, 0, `the metadata does not list ${missing.join(', ')}`)
    },
  },
  {
    name: 'model metadata is the same without the version in the path',
    source: silent('a server with one version uses that version'),
    level: 'stricter',
    expected: 'the same object',
    notApplicable: versioned,
    check: async target =>
      assert.deepEqual(
        await ok(target, modelPath(target, { versioned: false })),
        await ok(target, modelPath(target, { versioned: true })),
      ),
  },
  {
    name: 'model metadata lists the version that a request can select',
    source: oip('Model Metadata Response JSON Object', '"may be explicitly requested"'),
    level: 'required',
    expected: '"versions" that contain <version>',
    notApplicable: versioned,
    check: async target => {
      const { versions } = await ok(target, modelPath(target))
      assert.ok(
        Array.isArray(versions) && versions.includes(target.version),
        `versions are ${JSON.stringify(versions)}`,
      )
    },
  },
  {
    name: 'the platform has the form <project>_<format>',
    source: oip('Platforms'),
    level: 'stricter',
    expected: 'a name such as onnx_onnxv1',
    check: async target =>
      assert.match(
        String((await ok(target, modelPath(target))).platform),
        /^[a-z0-9]+_[a-z0-9_]+$/,
      ),
  },
  {
    name: 'metadata has Content-Type application/json',
    source: 'open_inference_rest.yaml, content',
    level: 'required',
    expected: 'Content-Type: application/json',
    check: async target => {
      for (const path of ['/v2', modelPath(target)])
        assert.match(
          (await get(target, path)).headers['content-type'] ?? '',
          /^application\/json\b/i,
        )
    },
  },
]
