import { decodeMessage, type Message } from '../protocol/protobuf-decode.ts'
import { encodeMessage } from '../protocol/protobuf-encode.ts'
import type { Method, ProtoFile } from '../protocol/protobuf-schema.ts'
import type { Call } from './call.ts'
import { describeFile, symbolsOf } from './descriptors.ts'
import type { Handler } from './method.ts'
import { FILES } from './protos.ts'
import { NOT_FOUND, UNIMPLEMENTED } from './status.ts'

export const REFLECTION_METHODS: Readonly<Record<string, Handler>> = {
  ServerReflectionInfo: { answer: reflect },
}

async function reflect(call: Call, { input, output }: Method): Promise<void> {
  call.onTick = () => {}
  for (;;) {
    const received = await call.read()
    if (received === undefined) return
    const request = decodeMessage(input, received.message)
    const response = { original_request: request, valid_host: request.host, ...answer(request) }
    await call.send(encodeMessage(output, response).parts, received.reservation)
  }
}

function answer(request: Message): Message {
  if (request.list_services !== undefined) return { list_services_response: { service: SERVICES } }
  if (request.file_by_filename !== undefined) {
    const file = FILES.find(({ name }) => name === request.file_by_filename)
    return fileResponse(file, `file ${request.file_by_filename}`)
  }
  if (request.file_containing_symbol !== undefined) {
    const symbol = request.file_containing_symbol
    const file = FILES.find(file => symbolsOf(file).includes(symbol))
    return fileResponse(file, `symbol ${symbol}`)
  }
  if (request.all_extension_numbers_of_type !== undefined)
    return {
      all_extension_numbers_response: { base_type_name: request.all_extension_numbers_of_type },
    }
  if (request.file_containing_extension !== undefined)
    return failure(NOT_FOUND, 'this server has no extensions')
  return failure(UNIMPLEMENTED, 'this reflection request is unknown')
}

const SERVICES = FILES.flatMap(({ services }) =>
  services.map(({ fullName }) => ({ name: fullName })),
)

const fileResponse = (file: ProtoFile | undefined, what: string): Message =>
  file === undefined
    ? failure(NOT_FOUND, `${what} is unknown`)
    : { file_descriptor_response: { file_descriptor_proto: [describeFile(file)] } }

const failure = (error_code: number, error_message: string): Message => ({
  error_response: { error_code, error_message },
})
