import type { Message } from '../protocol/protobuf-decode.ts'
import { encodeMessage } from '../protocol/protobuf-encode.ts'
import {
  camel,
  EnumType,
  type Field,
  MessageType,
  type ProtoFile,
  type Scalar,
  type Service,
} from '../protocol/protobuf-schema.ts'
import { DESCRIPTOR } from './protos.ts'

/* Encodes .proto files as descriptor.proto, for clients of reflection. */

const TYPE_NUMBERS: Readonly<Record<Scalar, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
}
const MESSAGE_NUMBER = 11
const ENUM_NUMBER = 14

const OPTIONAL = 1
const REPEATED = 3

export function describeFile(file: ProtoFile): Uint8Array {
  const { name, package: packageName, types, services } = file
  const description = {
    name,
    package: packageName,
    ...describeTypes(types, 'message_type'),
    service: services.map(describeService),
    syntax: 'proto3',
  }
  const type = DESCRIPTOR.message('FileDescriptorProto')
  return Buffer.concat(encodeMessage(type, description).parts)
}

/** Returns full names. */
export function symbolsOf({ types, services }: ProtoFile): string[] {
  const ofType = (type: MessageType | EnumType): string[] => [
    type.fullName,
    ...(type instanceof MessageType
      ? [
          ...type.fields.map(({ name }) => `${type.fullName}.${name}`),
          ...type.nested.flatMap(ofType),
        ]
      : []),
  ]
  return [
    ...types.flatMap(ofType),
    ...services.flatMap(({ fullName, methods }) => [
      fullName,
      ...methods.map(({ name }) => `${fullName}.${name}`),
    ]),
  ]
}

const describeTypes = (types: readonly (MessageType | EnumType)[], messages: string): Message => ({
  [messages]: types.filter(type => type instanceof MessageType).map(describeMessage),
  enum_type: types.filter(type => type instanceof EnumType).map(describeEnum),
})

function describeMessage(type: MessageType): Message {
  const choices = [...new Set(type.fields.flatMap(({ oneof }) => oneof ?? []))]
  return {
    name: type.name,
    field: type.fields.map(field => describeField(field, choices)),
    ...describeTypes(type.nested, 'nested_type'),
    options: type.isMapEntry ? { map_entry: true } : undefined,
    oneof_decl: choices.map(name => ({ name })),
  }
}

function describeField(field: Field, choices: readonly string[]): Message {
  const { name, number, repeated, oneof, type } = field
  return {
    name,
    number,
    label: repeated ? REPEATED : OPTIONAL,
    type: typeNumber(type),
    type_name: typeof type === 'string' ? undefined : `.${type.fullName}`,
    oneof_index: oneof === undefined ? undefined : choices.indexOf(oneof),
    json_name: camel(name),
  }
}

function typeNumber(type: Field['type']): number {
  if (typeof type === 'string') return TYPE_NUMBERS[type]
  return type instanceof MessageType ? MESSAGE_NUMBER : ENUM_NUMBER
}

const describeEnum = ({ name, values }: EnumType): Message => ({
  name,
  value: [...values].map(([name, number]) => ({ name, number })),
})

const describeService = ({ fullName, methods }: Service): Message => ({
  name: fullName.slice(fullName.lastIndexOf('.') + 1),
  method: methods.map(({ name, input, output, clientStreams, serverStreams }) => ({
    name,
    input_type: `.${input.fullName}`,
    output_type: `.${output.fullName}`,
    client_streaming: clientStreams,
    server_streaming: serverStreams,
  })),
})
