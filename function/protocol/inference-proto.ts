import { parseProto } from './protobuf-schema.ts'

/**
 * The gRPC service of the Open Inference Protocol and Triton, with their names and numbers, but
 * without the parts for several models. `npm run docs:write` generates docs/inference.proto from
 * it.
 */
export const INFERENCE_PROTO = `// The gRPC service of onnx-function: the Open Inference Protocol, with those of Triton's
// additions that apply to one model. Numbers and names are those of the published
// files, so that clients generated from any of these files work:
//   OIP     kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto
//   Triton  triton-inference-server/common, protobuf/grpc_service.proto and model_config.proto
//   KServe  kserve/kserve, python/kserve/kserve/protocol/grpc/grpc_predict_v2.proto
// Anything without a comment is the same in all three.
syntax = "proto3";

package inference;

service GRPCInferenceService {
  rpc ServerLive(ServerLiveRequest) returns (ServerLiveResponse);
  rpc ServerReady(ServerReadyRequest) returns (ServerReadyResponse);
  rpc ModelReady(ModelReadyRequest) returns (ModelReadyResponse);
  rpc ServerMetadata(ServerMetadataRequest) returns (ServerMetadataResponse);
  rpc ModelMetadata(ModelMetadataRequest) returns (ModelMetadataResponse);
  rpc ModelInfer(ModelInferRequest) returns (ModelInferResponse);
  // Triton. MLServer's method of this name returns a different message.
  rpc ModelStreamInfer(stream ModelInferRequest) returns (stream ModelStreamInferResponse);
  // Triton.
  rpc ModelConfig(ModelConfigRequest) returns (ModelConfigResponse);
  // Triton.
  rpc ModelStatistics(ModelStatisticsRequest) returns (ModelStatisticsResponse);
  // Triton, MLServer.
  rpc RepositoryIndex(RepositoryIndexRequest) returns (RepositoryIndexResponse);
}

message ServerLiveRequest {}

message ServerLiveResponse {
  bool live = 1;
}

message ServerReadyRequest {}

message ServerReadyResponse {
  bool ready = 1;
}

message ModelReadyRequest {
  string name = 1;
  string version = 2;
}

message ModelReadyResponse {
  bool ready = 1;
}

message ServerMetadataRequest {}

message ServerMetadataResponse {
  string name = 1;
  string version = 2;
  repeated string extensions = 3;
}

message ModelMetadataRequest {
  string name = 1;
  string version = 2;
}

// In OIP, field 6 is properties; in MLServer, it is parameters. This server sends neither.
message ModelMetadataResponse {
  message TensorMetadata {
    string name = 1;
    string datatype = 2;
    // -1 is a variable dimension.
    repeated int64 shape = 3;
  }
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
}

message InferParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    // OIP, Triton.
    double double_param = 4;
    // OIP, Triton.
    uint64 uint64_param = 5;
  }
}

// A tensor uses the field for its datatype. FP16 has no field and is sent as raw contents.
message InferTensorContents {
  repeated bool bool_contents = 1;
  // INT8, INT16, INT32.
  repeated int32 int_contents = 2;
  repeated int64 int64_contents = 3;
  // UINT8, UINT16, UINT32.
  repeated uint32 uint_contents = 4;
  repeated uint64 uint64_contents = 5;
  repeated float fp32_contents = 6;
  repeated double fp64_contents = 7;
  repeated bytes bytes_contents = 8;
}

message ModelInferRequest {
  message InferInputTensor {
    string name = 1;
    string datatype = 2;
    repeated int64 shape = 3;
    map<string, InferParameter> parameters = 4;
    InferTensorContents contents = 5;
  }
  message InferRequestedOutputTensor {
    string name = 1;
    map<string, InferParameter> parameters = 2;
  }
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferInputTensor inputs = 5;
  repeated InferRequestedOutputTensor outputs = 6;
  // The bytes of each input, as in binary tensor data. If present, no input may have contents.
  repeated bytes raw_input_contents = 7;
}

message ModelInferResponse {
  message InferOutputTensor {
    string name = 1;
    string datatype = 2;
    repeated int64 shape = 3;
    map<string, InferParameter> parameters = 4;
    InferTensorContents contents = 5;
  }
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferOutputTensor outputs = 5;
  // Present if the request has raw contents, or if an output is FP16.
  repeated bytes raw_output_contents = 6;
}

// Triton.
message ModelStreamInferResponse {
  // Empty if the request succeeded.
  string error_message = 1;
  ModelInferResponse infer_response = 2;
}

// Triton.
message ModelConfigRequest {
  string name = 1;
  string version = 2;
}

// Triton.
message ModelConfigResponse {
  ModelConfig config = 1;
}

// Triton.
message ModelStatisticsRequest {
  string name = 1;
  string version = 2;
}

// Triton.
message StatisticDuration {
  uint64 count = 1;
  uint64 ns = 2;
}

// Triton.
message InferStatistics {
  StatisticDuration success = 1;
  StatisticDuration fail = 2;
  StatisticDuration queue = 3;
  StatisticDuration compute_input = 4;
  StatisticDuration compute_infer = 5;
  StatisticDuration compute_output = 6;
  StatisticDuration cache_hit = 7;
  StatisticDuration cache_miss = 8;
}

// Triton.
message InferBatchStatistics {
  uint64 batch_size = 1;
  StatisticDuration compute_input = 2;
  StatisticDuration compute_infer = 3;
  StatisticDuration compute_output = 4;
}

// Triton. This server never sends memory_usage = 8 or response_stats = 9.
message ModelStatistics {
  string name = 1;
  string version = 2;
  // The time of the last inference, in milliseconds since 1970.
  uint64 last_inference = 3;
  uint64 inference_count = 4;
  uint64 execution_count = 5;
  InferStatistics inference_stats = 6;
  repeated InferBatchStatistics batch_stats = 7;
}

// Triton.
message ModelStatisticsResponse {
  repeated ModelStatistics model_stats = 1;
}

// Triton, MLServer.
message RepositoryIndexRequest {
  string repository_name = 1;
  // Whether to list only models that are ready.
  bool ready = 2;
}

// Triton, MLServer.
message RepositoryIndexResponse {
  message ModelIndex {
    string name = 1;
    string version = 2;
    string state = 3;
    string reason = 4;
  }
  repeated ModelIndex models = 1;
}

// The types below are the part of Triton's model_config.proto that applies here.
enum DataType {
  TYPE_INVALID = 0;
  TYPE_BOOL = 1;
  TYPE_UINT8 = 2;
  TYPE_UINT16 = 3;
  TYPE_UINT32 = 4;
  TYPE_UINT64 = 5;
  TYPE_INT8 = 6;
  TYPE_INT16 = 7;
  TYPE_INT32 = 8;
  TYPE_INT64 = 9;
  TYPE_FP16 = 10;
  TYPE_FP32 = 11;
  TYPE_FP64 = 12;
  TYPE_STRING = 13;
}

message ModelInstanceGroup {
  enum Kind {
    KIND_AUTO = 0;
    KIND_GPU = 1;
    KIND_CPU = 2;
    KIND_MODEL = 3;
  }
  string name = 1;
  int32 count = 2;
  Kind kind = 4;
}

message ModelInput {
  string name = 1;
  DataType data_type = 2;
  // The shape, without the row dimension if max_batch_size is above 0.
  repeated int64 dims = 4;
}

message ModelOutput {
  string name = 1;
  DataType data_type = 2;
  repeated int64 dims = 3;
}

message ModelVersionPolicy {
  message Latest {
    uint32 num_versions = 1;
  }
  oneof policy_choice {
    Latest latest = 1;
  }
}

message ModelDynamicBatching {}

message ModelTransactionPolicy {
  bool decoupled = 1;
}

message ModelConfig {
  string name = 1;
  string platform = 2;
  ModelVersionPolicy version_policy = 3;
  // MAX_BATCH_ROWS if requests have rows, otherwise 0.
  int32 max_batch_size = 4;
  repeated ModelInput input = 5;
  repeated ModelOutput output = 6;
  repeated ModelInstanceGroup instance_group = 7;
  string default_model_filename = 8;
  oneof scheduling_choice {
    // Present if requests may share a run.
    ModelDynamicBatching dynamic_batching = 11;
  }
  string backend = 17;
  ModelTransactionPolicy model_transaction_policy = 19;
}
`

/** Triton's file name, because clients of reflection request it. */
export const INFERENCE = parseProto('grpc_service.proto', INFERENCE_PROTO)

/** Tensor data stays bytes until its shape fits the model. */
INFERENCE.message('InferTensorContents').lazy = true
