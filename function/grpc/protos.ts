import { INFERENCE } from '../protocol/inference-proto.ts'
import { parseProto } from '../protocol/protobuf-schema.ts'

/** grpc/health/v1/health.proto of grpc/grpc-proto, without the method List. */
export const HEALTH = parseProto(
  'grpc/health/v1/health.proto',
  `syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest {
  string service = 1;
}
message HealthCheckResponse {
  enum ServingStatus {
    UNKNOWN = 0;
    SERVING = 1;
    NOT_SERVING = 2;
    SERVICE_UNKNOWN = 3;
  }
  ServingStatus status = 1;
}
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}`,
)

/** grpc/reflection/v1/reflection.proto of grpc/grpc-proto. v1alpha differs only in its name. */
const reflection = (version: string) =>
  parseProto(
    `grpc/reflection/${version}/reflection.proto`,
    `syntax = "proto3";
package grpc.reflection.${version};
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
message ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}
message ExtensionRequest {
  string containing_type = 1;
  int32 extension_number = 2;
}
message ServerReflectionResponse {
  string valid_host = 1;
  ServerReflectionRequest original_request = 2;
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ExtensionNumberResponse all_extension_numbers_response = 5;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
}
message FileDescriptorResponse {
  repeated bytes file_descriptor_proto = 1;
}
message ExtensionNumberResponse {
  string base_type_name = 1;
  repeated int32 extension_number = 2;
}
message ListServiceResponse {
  repeated ServiceResponse service = 1;
}
message ServiceResponse {
  string name = 1;
}
message ErrorResponse {
  int32 error_code = 1;
  string error_message = 2;
}`,
  )

export const REFLECTION = reflection('v1')
export const REFLECTION_ALPHA = reflection('v1alpha')

export const FILES = [INFERENCE, HEALTH, REFLECTION, REFLECTION_ALPHA]

/** Only the parts that describe the files above. */
export const DESCRIPTOR = parseProto(
  'google/protobuf/descriptor.proto',
  `syntax = "proto3";
package google.protobuf;
message FileDescriptorProto {
  string name = 1;
  string package = 2;
  repeated DescriptorProto message_type = 4;
  repeated EnumDescriptorProto enum_type = 5;
  repeated ServiceDescriptorProto service = 6;
  string syntax = 12;
}
message DescriptorProto {
  string name = 1;
  repeated FieldDescriptorProto field = 2;
  repeated DescriptorProto nested_type = 3;
  repeated EnumDescriptorProto enum_type = 4;
  MessageOptions options = 7;
  repeated OneofDescriptorProto oneof_decl = 8;
}
message FieldDescriptorProto {
  string name = 1;
  int32 number = 3;
  int32 label = 4;
  int32 type = 5;
  string type_name = 6;
  oneof within {
    int32 oneof_index = 9;
  }
  string json_name = 10;
}
message OneofDescriptorProto {
  string name = 1;
}
message EnumDescriptorProto {
  string name = 1;
  repeated EnumValueDescriptorProto value = 2;
}
message EnumValueDescriptorProto {
  string name = 1;
  oneof given {
    int32 number = 2;
  }
}
message ServiceDescriptorProto {
  string name = 1;
  repeated MethodDescriptorProto method = 2;
}
message MethodDescriptorProto {
  string name = 1;
  string input_type = 2;
  string output_type = 3;
  bool client_streaming = 5;
  bool server_streaming = 6;
}
message MessageOptions {
  bool map_entry = 7;
}`,
)
