import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DESCRIPTOR } from '../../function/grpc/protos.ts'
import { decodeMessage, type Message } from '../../function/protocol/protobuf-decode.ts'
import { type Server, startServer } from '../server.ts'
import { type Client, connectGrpc } from './client.ts'

let server: Server
let client: Client
before(async () => {
  server = await startServer()
  client = connectGrpc(server.port)
})
after(async () => {
  await client.close()
  await server.stop()
})

const SERVICES = [
  'inference.GRPCInferenceService',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]

async function reflect(requests: readonly Message[], version = 'v1'): Promise<readonly Message[]> {
  const method = `grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
  const { status, messages } = await client.call(method, requests)
  assert.equal(status, 0)
  return messages
}

const describe = ([response]: readonly Message[]): Message => {
  const [bytes] = (response as Message).file_descriptor_response.file_descriptor_proto
  return decodeMessage(DESCRIPTOR.message('FileDescriptorProto'), bytes)
}

for (const version of ['v1', 'v1alpha']) {
  test(`reflection ${version} lists the services and answers several requests in one stream`, async () => {
    const asked = { host: 'here', list_services: '' }
    const [one, other] = await reflect([asked, asked], version)
    assert.deepEqual(
      one?.list_services_response.service.map(({ name }: Message) => name),
      SERVICES,
    )
    assert.deepEqual([other?.valid_host, other?.original_request.host], ['here', 'here'])
  })
}

test('describes a file if a request contains its name, or the name of any symbol in the file', async () => {
  for (const asked of [
    { file_by_filename: 'grpc_service.proto' },
    { file_containing_symbol: 'inference.GRPCInferenceService' },
    { file_containing_symbol: 'inference.GRPCInferenceService.ModelInfer' },
    { file_containing_symbol: 'inference.ModelInferRequest.InferInputTensor' },
    { file_containing_symbol: 'inference.ModelInferRequest.id' },
    { file_containing_symbol: 'inference.DataType' },
  ])
    assert.equal(describe(await reflect([asked])).name, 'grpc_service.proto')
  for (const name of SERVICES)
    assert.ok(describe(await reflect([{ file_containing_symbol: name }])).service.length === 1)
})

test('describes messages, fields, methods and enums as descriptor.proto defines them', async () => {
  const file = describe(await reflect([{ file_by_filename: 'grpc_service.proto' }]))
  const find = (of: Message[], name: string) => of.find(one => one.name === name) as Message
  const request = find(file.message_type, 'ModelInferRequest')
  const plain = ({ name, number, label, type, type_name, json_name }: Message) => [
    name,
    number,
    label,
    type,
    type_name,
    json_name,
  ]
  assert.deepEqual(request.field.map(plain).slice(-4), [
    ['parameters', 4, 3, 11, '.inference.ModelInferRequest.ParametersEntry', 'parameters'],
    ['inputs', 5, 3, 11, '.inference.ModelInferRequest.InferInputTensor', 'inputs'],
    ['outputs', 6, 3, 11, '.inference.ModelInferRequest.InferRequestedOutputTensor', 'outputs'],
    ['raw_input_contents', 7, 3, 12, '', 'rawInputContents'],
  ])
  assert.equal(find(request.nested_type, 'ParametersEntry').options.map_entry, true)
  const parameter = find(file.message_type, 'InferParameter')
  assert.deepEqual(
    [parameter.oneof_decl[0].name, parameter.field.map(({ oneof_index }: Message) => oneof_index)],
    ['parameter_choice', [0, 0, 0, 0, 0]],
  )
  const stream = find(file.service[0].method, 'ModelStreamInfer')
  assert.deepEqual(
    [stream.input_type, stream.client_streaming, stream.server_streaming],
    ['.inference.ModelInferRequest', true, true],
  )
  assert.deepEqual(
    find(file.enum_type, 'DataType').value.map(({ number }: Message) => number),
    Array.from({ length: 14 }, (_, i) => i),
  )
})

test('answers a request for an unknown name with NOT_FOUND in the stream', async () => {
  const answers = await reflect([
    { file_by_filename: 'x.proto' },
    { file_containing_symbol: 'x.Y' },
    { file_containing_extension: { containing_type: 'x.Y', extension_number: 1 } },
    {},
  ])
  assert.deepEqual(
    answers.map(({ error_response }) => [error_response.error_code, error_response.error_message]),
    [
      [5, 'file x.proto is unknown'],
      [5, 'symbol x.Y is unknown'],
      [5, 'this server has no extensions'],
      [12, 'this reflection request is unknown'],
    ],
  )
  const [extensions] = await reflect([{ all_extension_numbers_of_type: 'x.Y' }])
  assert.deepEqual(extensions?.all_extension_numbers_response.base_type_name, 'x.Y')
})
