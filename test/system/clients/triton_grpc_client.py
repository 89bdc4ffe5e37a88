"""Runs tritonclient[grpc] and gRPC's own health and reflection clients against the server at each address: iris, identity-int64, identity-fp16, identity-bytes."""

import asyncio
import queue
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from observe import Observations

IRIS, INT64, FP16, BYTES = (url.removeprefix("http://") for url in sys.argv[1:5])
MODEL = "iris-classifier"
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

seen = Observations()
client = triton.InferenceServerClient(IRIS)


def given(array, datatype="FP32", name="input"):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return [tensor]


def classes(result):
    return [element.decode() for element in result.as_numpy("predicted_class")]


def round_trip(address, model, array, datatype):
    return triton.InferenceServerClient(address).infer(model, given(array, datatype, "x")).as_numpy("y")


seen.see("is_server_live", client.is_server_live)
seen.see("is_server_ready", client.is_server_ready)
seen.see("is_model_ready", lambda: client.is_model_ready(MODEL))
seen.see("is_model_ready of a version", lambda: client.is_model_ready(MODEL, "v1.0.0"))
seen.see("is_model_ready of another model", lambda: client.is_model_ready("other"))
seen.see("get_server_metadata", lambda: client.get_server_metadata().name)
seen.see("get_model_metadata", lambda: client.get_model_metadata(MODEL, as_json=True))
seen.see("get_model_config", lambda: client.get_model_config(MODEL, as_json=True)["config"]["input"])
seen.see("get_model_repository_index", lambda: client.get_model_repository_index(as_json=True))
seen.see("infer", lambda: classes(client.infer(MODEL, given(ROW))))
seen.see("infer of two rows", lambda: classes(client.infer(MODEL, given(np.repeat(ROW, 2, 0)))))
seen.see("infer of a version", lambda: classes(client.infer(MODEL, given(ROW), model_version="v1.0.0")))
seen.see("infer, request_id", lambda: client.infer(MODEL, given(ROW), request_id="seven").get_response().id)
seen.see("infer, priority and timeout", lambda: classes(client.infer(MODEL, given(ROW), priority=1, timeout=5_000_000)))
seen.see("infer, one output", lambda: [output.name for output in client.infer(MODEL, given(ROW), outputs=[triton.InferRequestedOutput("predicted_class")]).get_response().outputs])
for algorithm in ("gzip", "deflate"):
    seen.see(f"infer, {algorithm} in both directions", lambda: classes(client.infer(MODEL, given(np.repeat(ROW, 100, 0)), compression_algorithm=algorithm))[-1])
seen.see("infer, 4.8 MB", lambda: sorted(set(classes(client.infer(MODEL, given(np.repeat(ROW, 300_000, 0)))))))


def asynchronous():
    answers = queue.Queue()
    client.async_infer(MODEL, given(ROW), callback=lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=10)
    return classes(result) if error is None else str(error)


def stream():
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for name, request_id in ((MODEL, "1"), ("other", "2"), (MODEL, "3")):
        client.async_stream_infer(name, given(ROW), request_id=request_id, enable_empty_final_response=True)
    received = [answers.get(timeout=10) for _ in range(3)]
    client.stop_stream()
    return [str(error) if error is not None else [result.get_response().id, result.get_response().parameters["triton_final_response"].bool_param] for result, error in received]


async def aio():
    async with triton_aio.InferenceServerClient(IRIS) as other:
        return classes(await other.infer(MODEL, given(ROW)))


seen.see("async_infer", asynchronous)
seen.see("async_stream_infer", stream)
seen.see("aio", lambda: asyncio.run(aio()))
seen.see("get_inference_statistics", lambda: int(client.get_inference_statistics(MODEL).model_stats[0].inference_stats.success.count) > 10)
seen.see("INT64", lambda: round_trip(INT64, "identity-int64", np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64), "INT64"))
seen.see("FP16", lambda: round_trip(FP16, "identity-fp16", np.array([1.5, -0.25], np.float16), "FP16"))
seen.see("BYTES", lambda: round_trip(BYTES, "identity-bytes", np.array(["naïve", "日本語", ""], np.object_), "BYTES"))
seen.see("error: another model", lambda: client.infer("other", given(ROW)))
seen.see("error: a wrong shape", lambda: client.infer(MODEL, given(ROW[:, :3])))
seen.see("not supported: load_model", lambda: client.load_model(MODEL))
seen.see("not supported: unload_model", lambda: client.unload_model(MODEL))
seen.see("not supported: get_trace_settings", client.get_trace_settings)
seen.see("not supported: get_log_settings", client.get_log_settings)
seen.see("not supported: get_system_shared_memory_status", client.get_system_shared_memory_status)
seen.see("not supported: get_cuda_shared_memory_status", client.get_cuda_shared_memory_status)

channel = grpc.insecure_channel(IRIS)
health = health_pb2_grpc.HealthStub(channel)
seen.see("health: Check", lambda: health.Check(health_pb2.HealthCheckRequest(service=MODEL)).status)
seen.see("health: Watch", lambda: next(health.Watch(health_pb2.HealthCheckRequest())).status)
reflection = ProtoReflectionDescriptorDatabase(channel)
seen.see("reflection: services", reflection.get_services)
seen.see("reflection: a message", lambda: [field.name for field in DescriptorPool(reflection).FindMessageTypeByName("inference.InferParameter").fields])

seen.tell("tritonclient", "grpcio", "grpcio-health-checking", "grpcio-reflection")
