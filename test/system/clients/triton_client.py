"""Runs tritonclient[http], NVIDIA's own client, against the server at each URL: iris, identity-int64, identity-fp16, identity-bytes."""

import sys

import numpy as np
import tritonclient.http as triton
from observe import Observations

IRIS, INT64, FP16, BYTES = (url.removeprefix("http://") for url in sys.argv[1:5])
MODEL = "iris-classifier"
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

seen = Observations()
client = triton.InferenceServerClient(IRIS)


def given(array, datatype="FP32", name="input", binary=True):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return [tensor]


def wanted(binary, *names):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def classes(result):
    return [element.decode() if isinstance(element, bytes) else element for element in result.as_numpy("predicted_class")]


def round_trip(url, model, array, datatype, binary):
    result = triton.InferenceServerClient(url).infer(
        model, given(array, datatype, "x", binary), outputs=wanted(binary, "y")
    )
    return result.as_numpy("y")


seen.see("is_server_live", client.is_server_live)
seen.see("is_server_ready", client.is_server_ready)
seen.see("is_model_ready", lambda: client.is_model_ready(MODEL))
seen.see("is_model_ready of a version", lambda: client.is_model_ready(MODEL, "v1.0.0"))
seen.see("is_model_ready of another model", lambda: client.is_model_ready("other"))
seen.see("get_server_metadata", lambda: client.get_server_metadata()["extensions"])
seen.see("get_model_metadata", lambda: client.get_model_metadata(MODEL))

for given_binary in (True, False):
    for wanted_binary in (True, False):
        outputs = wanted(wanted_binary, "predicted_class", "probabilities")
        seen.see(
            f"infer, inputs {'binary' if given_binary else 'JSON'}, outputs {'binary' if wanted_binary else 'JSON'}",
            lambda: classes(client.infer(MODEL, given(ROW, binary=given_binary), outputs=outputs)),
        )
seen.see("infer, all outputs", lambda: classes(client.infer(MODEL, given(ROW))))
seen.see("infer of two rows", lambda: classes(client.infer(MODEL, given(np.repeat(ROW, 2, 0)))))
seen.see("infer of a version", lambda: classes(client.infer(MODEL, given(ROW), model_version="v1.0.0")))
seen.see("infer, request_id", lambda: client.infer(MODEL, given(ROW), request_id="seven").get_response()["id"])
seen.see("infer, priority and timeout", lambda: classes(client.infer(MODEL, given(ROW), priority=1, timeout=5_000_000)))
for algorithm in ("gzip", "deflate"):
    seen.see(
        f"infer, {algorithm} in both directions",
        lambda: classes(
            client.infer(
                MODEL,
                given(np.repeat(ROW, 100, 0)),
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
        )[-1],
    )
seen.see("async_infer", lambda: classes(client.async_infer(MODEL, given(ROW)).get_result()))

INTEGERS = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
for binary in (True, False):
    seen.see(f"INT64, {'binary' if binary else 'JSON'}", lambda: round_trip(INT64, "identity-int64", INTEGERS, "INT64", binary))
seen.see("FP16, binary", lambda: round_trip(FP16, "identity-fp16", np.array([1.5, -0.25], np.float16), "FP16", True))
TEXTS = np.array(["naïve", "日本語", ""], np.object_)
seen.see("BYTES, binary", lambda: round_trip(BYTES, "identity-bytes", TEXTS, "BYTES", True))
seen.see("BYTES, JSON", lambda: round_trip(BYTES, "identity-bytes", TEXTS, "BYTES", False))

seen.see("error: another model", lambda: client.infer("other", given(ROW)))
seen.see("error: a wrong shape", lambda: client.infer(MODEL, given(ROW[:, :3])))
seen.see("error: an unknown output", lambda: client.infer(MODEL, given(ROW), outputs=wanted(True, "other")))
seen.see("error: metadata of another model", lambda: client.get_model_metadata("other"))

# Features of Triton that are not part of the Open Inference Protocol.
seen.see("get_model_config", lambda: {key: client.get_model_config(MODEL)[key] for key in ("max_batch_size", "input")})
seen.see("get_inference_statistics", lambda: client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"] > 0)
seen.see("get_inference_statistics of all", lambda: client.get_inference_statistics()["model_stats"][0]["name"])
seen.see("get_model_repository_index", client.get_model_repository_index)
seen.see("not supported: load_model", lambda: client.load_model(MODEL))
seen.see("not supported: unload_model", lambda: client.unload_model(MODEL))
seen.see("not supported: get_trace_settings", client.get_trace_settings)
seen.see("not supported: get_log_settings", client.get_log_settings)
seen.see("not supported: get_system_shared_memory_status", client.get_system_shared_memory_status)
seen.see("not supported: register_system_shared_memory", lambda: client.register_system_shared_memory("region", "/region", 16))
seen.see("not supported: get_cuda_shared_memory_status", client.get_cuda_shared_memory_status)


def from_shared_memory():
    tensor = triton.InferInput("input", [1, 4], "FP32")
    tensor.set_shared_memory("region", 16)
    return client.infer(MODEL, [tensor])


def into_shared_memory():
    output = triton.InferRequestedOutput("probabilities")
    output.set_shared_memory("region", 12)
    return client.infer(MODEL, given(ROW), outputs=[output]).get_response()["outputs"][0]["shape"]


def with_class_count():
    return client.infer(MODEL, given(ROW), outputs=[triton.InferRequestedOutput("probabilities", class_count=2)]).as_numpy(
        "probabilities"
    ).shape


seen.see("not supported: an input in shared memory", from_shared_memory)
seen.see("not supported: an output in shared memory", into_shared_memory)
seen.see("infer, class_count", with_class_count)
seen.see("not supported: sequence_id", lambda: classes(client.infer(MODEL, given(ROW), sequence_id=5, sequence_start=True)))

seen.tell("tritonclient")
