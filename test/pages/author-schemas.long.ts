import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authorComponents } from '../../function/http/pages/author-schemas.ts'
import { openApi } from '../../function/http/pages/openapi.ts'
import { rowsFor } from '../../function/http/routes.ts'
import type { TensorMetadata } from '../../function/protocol/tensor.ts'
import type { DescribedTransform } from '../../function/transform/described.ts'
import { PREDICT } from '../../kserve/operations.ts'
import { Document } from './document.ts'

const BOTH = { preprocess: true, postprocess: true }
const FLOWER = {
  type: 'object',
  required: ['length'],
  properties: { length: { type: 'number', examples: [5.1] } },
} as const
const SPECIES = { type: 'object', properties: { species: { enum: ['setosa'] } } } as const

const tensor: TensorMetadata = {
  name: 'input',
  datatype: 'FP32',
  shape: [-1, 4],
  dimensionNames: ['batch', ''],
  anyRank: false,
}

/** The document of iris with a transform, on KServe's predictor. */
function documentOf(transform: DescribedTransform): Document {
  const config = { playground: true, auth: undefined, metricsPort: undefined }
  const predict = { path: '/v1/models/{model}:predict', POST: () => ({}) as never }
  return new Document(
    openApi(
      { name: 'iris', version: undefined, description: undefined },
      {
        signature: { inputs: [tensor], outputs: [tensor] },
        example: [{ ...tensor, shape: [1, 4], data: new Float32Array(4) }],
        transform,
      },
      config,
      [...rowsFor(config), { ...predict, described: PREDICT }],
    ),
  )
}

const contents = (document: Document, id = 'receive') =>
  Object.keys(document.operation(id).requestBody?.content ?? {})

const answers = (document: Document, id = 'receive') =>
  Object.keys((document.operation(id).responses[200] as { content: object }).content)

const EVENTS = ['application/cloudevents+json', 'application/cloudevents-batch+json']

test('POST /, events and V1 are described with the input and output of the transform', async () => {
  const document = documentOf({ input: FLOWER, output: SPECIES, ...BOTH })
  const { schemas } = document.json.components as { schemas: Record<string, unknown> }
  assert.deepEqual([schemas.Input, schemas.Output], [FLOWER, SPECIES])
  assert.deepEqual(contents(document), ['application/json', ...EVENTS])
  assert.deepEqual(answers(document), ['application/json', ...EVENTS])
  const examples = document
    .examples()
    .filter(({ operation }) => operation.operationId === 'receive')
  for (const example of examples) document.checkRequest(example)
  const flower = { length: 5.1 }
  const event = (id: string) => ({
    specversion: '1.0',
    id,
    source: '/example',
    type: 'com.example.inference.request',
    datacontenttype: 'application/json',
    data: flower,
  })
  assert.deepEqual(
    examples.map(({ name, body }) => [name, JSON.parse(String(body))]),
    [
      ['receive binaryMode', flower],
      ['receive request', flower],
      ['receive structuredMode', event('evt-001')],
      ['receive batchedMode', [event('evt-001'), event('evt-002')]],
    ],
  )
  const [instances] = document
    .examples()
    .filter(({ operation }) => operation.operationId === 'v1Predict')
  assert.ok(instances)
  document.checkRequest(instances)
  assert.deepEqual(JSON.parse(String(instances.body)), { instances: [flower] })
  for (const [id, answer] of [
    ['receive', { species: 'setosa' }],
    ['v1Predict', { predictions: [{ species: 'setosa' }] }],
  ] as const) {
    await document.check(Response.json(answer), document.operation(id))
    const wrong = JSON.parse(JSON.stringify(answer).replace('setosa', 'rose'))
    await assert.rejects(document.check(Response.json(wrong), document.operation(id)))
  }
})

test('a body that the schema refuses does not match the document', () => {
  const document = documentOf({ input: FLOWER, ...BOTH })
  for (const example of document.examples()) {
    if (!['receive', 'v1Predict'].includes(example.operation.operationId)) continue
    const body = Buffer.from(String(example.body).replaceAll('5.1', '"5.1"'))
    assert.throws(() => document.checkRequest({ ...example, body }), example.name)
  }
})

const TAKEN: readonly (readonly [
  what: string,
  input: DescribedTransform['input'],
  takes: string[],
])[] = [
  ['a picture', { contentMediaType: 'image/png' }, ['image/png', ...EVENTS]],
  ['any picture', { contentMediaType: 'image/*' }, ['image/*', ...EVENTS]],
  ['a table of text', { contentMediaType: 'text/csv' }, ['text/csv', ...EVENTS]],
  ['text', { type: 'string' }, ['application/json', ...EVENTS, 'text/plain']],
  [
    'anything',
    undefined,
    ['application/json', ...EVENTS, 'text/plain', 'application/octet-stream'],
  ],
  ['any JSON', true, ['application/json', ...EVENTS]],
]

for (const [what, input, takes] of TAKEN)
  test(`a transform that accepts ${what} is described by its media types`, () => {
    const document = documentOf({ ...(input !== undefined && { input }), ...BOTH })
    assert.deepEqual(contents(document), takes)
    assert.deepEqual(answers(document), ['application/json', ...EVENTS, '*/*'])
  })

test('the schemas of events and replies require data_base64 for binary data', () => {
  const { components } = documentOf({
    input: { contentMediaType: 'image/png' },
    output: { contentMediaType: 'image/png' },
    ...BOTH,
  }).json as unknown as { components: { schemas: Record<string, { required: string[] }> } }
  const { RequestEvent, ReplyEvent } = components.schemas
  assert.ok(RequestEvent?.required.includes('data_base64'))
  assert.ok(ReplyEvent?.required.includes('data_base64'))
})

test('without preprocess, the input is tensors; without postprocess, the output is tensors', () => {
  const after = documentOf({ output: SPECIES, preprocess: false, postprocess: true })
  assert.deepEqual(contents(after), ['application/json', ...EVENTS, 'application/octet-stream'])
  assert.deepEqual(answers(after), ['application/json', ...EVENTS])
  const before = documentOf({ input: FLOWER, preprocess: true, postprocess: false })
  assert.deepEqual(contents(before), ['application/json', ...EVENTS])
  assert.deepEqual(answers(before), ['application/json', ...EVENTS, 'application/octet-stream'])
})

test('the author may refuse a request with any 4xx status, or return no content', async () => {
  const document = documentOf({ input: FLOWER, ...BOTH })
  const { responses } = document.operation('receive')
  assert.deepEqual(responses['4XX'], { $ref: '#/components/responses/Refused' })
  await document.check(new Response(null, { status: 204 }), document.operation('receive'))
  assert.equal(document.operation('infer').responses['4XX'], undefined)
})

test('definitions become components, and references point to the components', () => {
  const input = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'https://example.com/order',
    type: 'object',
    properties: {
      to: { $ref: '#/$defs/postal%20address' },
      from: { $ref: 'https://example.com/order#/$defs/postal%20address' },
      street: { $ref: '#/$defs/postal%20address/properties/street' },
      same: { $ref: '#' },
      other: { $ref: '#/properties/to' },
      $ref: { type: 'string' },
      anything: true,
      nothing: false,
      away: { $ref: 'https://example.com/else', description: 'kept' },
      named: { $ref: '#name', $anchor: 'here' },
      list: { type: ['array', 'null'], prefixItems: [{ $ref: '#/$defs/a' }], items: false },
    },
    examples: [{ $ref: 'a value' }],
    $defs: {
      'postal address': { type: 'object', properties: { street: { type: 'string' } } },
      a: { anyOf: [{ $ref: '#/$defs/a~1b' }] },
      'a/b': { const: { $ref: 'a value' } },
      a_b: {},
    },
  } as const
  assert.deepEqual(authorComponents({ input, ...BOTH }), {
    Input: {
      type: 'object',
      properties: {
        to: { $ref: '#/components/schemas/InputPostal_address' },
        from: { $ref: '#/components/schemas/InputPostal_address' },
        street: { $ref: '#/components/schemas/InputPostal_address/properties/street' },
        same: { $ref: '#/components/schemas/Input' },
        other: { $ref: '#/components/schemas/Input/properties/to' },
        $ref: { type: 'string' },
        anything: {},
        nothing: { not: {} },
        away: { description: 'kept' },
        named: {},
        list: {
          type: ['array', 'null'],
          prefixItems: [{ $ref: '#/components/schemas/InputA' }],
          items: false,
        },
      },
      examples: [{ $ref: 'a value' }],
    },
    InputPostal_address: { type: 'object', properties: { street: { type: 'string' } } },
    InputA: { anyOf: [{ $ref: '#/components/schemas/InputA_b' }] },
    InputA_b: { const: { $ref: 'a value' } },
    InputA_b_: {},
  })
  for (const [, ref] of JSON.stringify(documentOf({ input, ...BOTH }).json).matchAll(
    /"\$ref":"(#[^"]*)"/g,
  ))
    documentOf({ input, ...BOTH }).resolve({ $ref: ref })
})
