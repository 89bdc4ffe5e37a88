"""Runs open-inference-grpc, the protocol's own client, against the server at each address: iris, identity-int64, identity-fp16, identity-bytes."""

import sys

import grpc
import numpy as np
from observe import Observations
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

IRIS, INT64, FP16, BYTES = (url.removeprefix("http://") for url in sys.argv[1:5])
MODEL = "iris-classifier"
ROW = [5.1, 3.5, 1.4, 0.2]

seen = Observations()


def stub(address):
    return GRPCInferenceServiceStub(grpc.insecure_channel(address))


client = stub(IRIS)


def see(name, look):
    try:
        value = look()
        seen.see(name, lambda: value)
    except grpc.RpcError as error:
        seen[name] = {"error": f"{error.code()}: {error.details()}"}


def typed(datatype, field, data, shape, name="input", model=MODEL):
    tensor = {"name": name, "datatype": datatype, "shape": shape, "contents": {field: data}}
    return protocol.ModelInferRequest(model_name=model, id="seven", inputs=[tensor])


def raw(datatype, array, name="input", model=MODEL):
    tensor = {"name": name, "datatype": datatype, "shape": array.shape}
    return protocol.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()])


def label(response):
    return [text.decode() for text in response.outputs[1].contents.bytes_contents]


def metadata():
    answer = client.ModelMetadata(protocol.ModelMetadataRequest(name=MODEL))
    return [answer.name, list(answer.versions), answer.platform, [[one.name, one.datatype, list(one.shape)] for one in answer.inputs]]


see("ServerLive", lambda: client.ServerLive(protocol.ServerLiveRequest()).live)
see("ServerReady", lambda: client.ServerReady(protocol.ServerReadyRequest()).ready)
see("ServerMetadata", lambda: client.ServerMetadata(protocol.ServerMetadataRequest()).name)
see("ModelReady", lambda: client.ModelReady(protocol.ModelReadyRequest(name=MODEL)).ready)
see("ModelReady of another model", lambda: client.ModelReady(protocol.ModelReadyRequest(name="other")).ready)
see("ModelMetadata", metadata)
see("ModelInfer, typed", lambda: label(client.ModelInfer(typed("FP32", "fp32_contents", ROW, [1, 4]))))
see("ModelInfer, id", lambda: client.ModelInfer(typed("FP32", "fp32_contents", ROW, [1, 4])).id)
see("ModelInfer, raw", lambda: round(float(np.frombuffer(client.ModelInfer(raw("FP32", np.array([ROW], np.float32))).raw_output_contents[0], np.float32)[0])))
largest = [2**63 - 1, -(2**63), 2**53 + 1]
see("INT64, typed", lambda: list(stub(INT64).ModelInfer(typed("INT64", "int64_contents", largest, [3], "x", "identity-int64")).outputs[0].contents.int64_contents))
see("FP16, raw", lambda: np.frombuffer(stub(FP16).ModelInfer(raw("FP16", np.array([1.5, -0.25], np.float16), "x", "identity-fp16")).raw_output_contents[0], np.float16))
see("BYTES, typed", lambda: list(stub(BYTES).ModelInfer(typed("BYTES", "bytes_contents", [text.encode() for text in ["naïve", "日本語", ""]], [3], "x", "identity-bytes")).outputs[0].contents.bytes_contents))
see("error: a wrong shape", lambda: client.ModelInfer(typed("FP32", "fp32_contents", ROW[:3], [1, 3])))
see("error: another model", lambda: client.ModelInfer(typed("FP32", "fp32_contents", ROW, [1, 4], model="other")))

# By default, grpcio receives at most 4 MiB, but 400,000 rows of three probabilities are 4.8 MB.
rows = raw("FP32", np.repeat(np.array([ROW], np.float32), 400_000, 0))
rows.outputs.add(name="probabilities")
see("4.8 MB, with grpcio’s default limit", lambda: client.ModelInfer(rows))
unlimited = GRPCInferenceServiceStub(grpc.insecure_channel(IRIS, [("grpc.max_receive_message_length", -1)]))
see("4.8 MB, without grpcio’s limit", lambda: len(unlimited.ModelInfer(rows).raw_output_contents[0]))

seen.tell("open-inference-grpc", "grpcio")
