"""Runs KServe's InferenceRESTClient against the server at each URL: iris, identity-int64, identity-fp16, identity-bytes."""

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from observe import Observations

IRIS, INT64, FP16, BYTES = sys.argv[1:5]
MODEL = "iris-classifier"
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

seen = Observations()


def given(array, datatype="FP32", name="input", binary=True):
    tensor = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def request(model, tensor, outputs=(), **more):
    return InferRequest(model_name=model, infer_inputs=[tensor], request_outputs=list(outputs), **more)


def wanted(binary, *names):
    return [RequestedOutput(name, {"binary_data": binary}) for name in names]


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))

    async def see(name, look):
        try:
            value = await look()
            seen.see(name, lambda: value)
        except Exception as error:
            # The message ends with the URL, whose port differs in each run.
            text = str(error).split(" for url ")[0]
            seen[name] = {"error": f"{type(error).__name__}: {text}"}

    async def classes(infer_request):
        response = await client.infer(IRIS, infer_request, model_name=MODEL)
        return [element.decode() if isinstance(element, bytes) else element for element in response.get_output_by_name("predicted_class").as_numpy()]

    async def round_trip(url, model, array, datatype, binary):
        response = await client.infer(url, request(model, given(array, datatype, "x", binary), wanted(binary, "y")), model_name=model)
        return response.get_output_by_name("y").as_numpy()

    await see("is_server_live", lambda: client.is_server_live(IRIS))
    await see("is_server_ready", lambda: client.is_server_ready(IRIS))
    await see("is_model_ready", lambda: client.is_model_ready(IRIS, MODEL))
    await see("is_model_ready of another model", lambda: client.is_model_ready(IRIS, "other"))
    for given_binary in (True, False):
        for wanted_binary in (True, False):
            await see(
                f"infer, inputs {'binary' if given_binary else 'JSON'}, outputs {'binary' if wanted_binary else 'JSON'}",
                lambda: classes(
                    request(MODEL, given(ROW, binary=given_binary), wanted(wanted_binary, "predicted_class", "probabilities"))
                ),
            )
    await see("infer, all outputs", lambda: classes(request(MODEL, given(ROW))))

    async def request_id():
        return (await client.infer(IRIS, request(MODEL, given(ROW), request_id="seven"), model_name=MODEL)).id

    await see("infer, request_id", request_id)

    async def from_dict():
        tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": ROW.ravel().tolist()}
        return (await client.infer(IRIS, {"inputs": [tensor]}, model_name=MODEL)).model_version

    await see("infer with a dict", from_dict)
    integers = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
    for binary in (True, False):
        await see(f"INT64, {'binary' if binary else 'JSON'}", lambda: round_trip(INT64, "identity-int64", integers, "INT64", binary))
    await see("FP16, binary", lambda: round_trip(FP16, "identity-fp16", np.array([1.5, -0.25], np.float16), "FP16", True))
    texts = np.array(["naïve", "日本語", ""], np.object_)
    for binary in (True, False):
        await see(f"BYTES, {'binary' if binary else 'JSON'}", lambda: round_trip(BYTES, "identity-bytes", texts, "BYTES", binary))

    await see("error: another model", lambda: client.infer(IRIS, request("other", given(ROW)), model_name="other"))
    await see("error: a wrong shape", lambda: client.infer(IRIS, request(MODEL, given(ROW[:, :3])), model_name=MODEL))

    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    await see("v1: predict", lambda: v1.infer(IRIS, {"instances": ROW.tolist()}, model_name=MODEL))
    await see("v1: explain", lambda: v1.explain(IRIS, MODEL, {"instances": ROW.tolist()}))
    await see("v1: is_server_live", lambda: v1.is_server_live(IRIS))
    await see("v1: is_server_ready", lambda: v1.is_server_ready(IRIS))
    await see("v1: is_model_ready", lambda: v1.is_model_ready(IRIS, MODEL))
    await client.close()
    await v1.close()


asyncio.run(main())
seen.tell("kserve")
