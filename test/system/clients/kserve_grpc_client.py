"""Runs KServe's InferenceGRPCClient against the server at each address: iris, identity-int64, identity-fp16, identity-bytes."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from observe import Observations

IRIS, INT64, FP16, BYTES = (url.removeprefix("http://") for url in sys.argv[1:5])
MODEL = "iris-classifier"
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

seen = Observations()


def given(array, datatype="FP32", name="input", raw=True):
    tensor = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    tensor.set_data_from_numpy(array, binary_data=raw)
    return tensor


def typed(data, shape, datatype="FP32", name="input"):
    return InferInput(name=name, shape=shape, datatype=datatype, data=data)


async def main():
    async def see(name, look):
        try:
            value = await look()
            seen.see(name, lambda: value)
        except Exception as error:
            details = getattr(error, "details", lambda: str(error))()
            code = getattr(error, "code", lambda: None)()
            seen[name] = {"error": f"{code}: {details}"}

    async def infer(client, model, tensor, output):
        request = InferRequest(model_name=model, infer_inputs=[tensor], request_id="seven")
        return (await client.infer(request)).get_output_by_name(output)

    async with InferenceGRPCClient(IRIS) as client:
        await see("is_server_live", client.is_server_live)
        await see("is_server_ready", client.is_server_ready)
        await see("is_model_ready", lambda: client.is_model_ready(MODEL))
        await see("is_model_ready of another model", lambda: client.is_model_ready("other"))

        async def classes(tensor):
            output = await infer(client, MODEL, tensor, "predicted_class")
            return [element.decode() if isinstance(element, bytes) else element for element in output.as_numpy()]

        async def data():
            # The same assertion as in KServe's own test.
            return (await infer(client, MODEL, typed(ROW.flatten().tolist(), [1, 4]), "probabilities")).data[0] > 0.9

        await see("infer, raw", lambda: classes(given(ROW)))
        await see("infer, typed", lambda: classes(typed(ROW.flatten().tolist(), [1, 4])))
        await see("infer, typed: its data", data)
        await see("error: a wrong shape", lambda: infer(client, MODEL, given(ROW[:, :3]), "probabilities"))
        await see("error: another model", lambda: infer(client, "other", given(ROW), "probabilities"))

    async def round_trip(address, model, tensor):
        async with InferenceGRPCClient(address) as client:
            return (await infer(client, model, tensor, "y")).as_numpy()

    largest = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
    await see("INT64, raw", lambda: round_trip(INT64, "identity-int64", given(largest, "INT64", "x")))
    await see("INT64, typed", lambda: round_trip(INT64, "identity-int64", typed(largest.tolist(), [3], "INT64", "x")))
    await see("FP16, raw", lambda: round_trip(FP16, "identity-fp16", given(np.array([1.5, -0.25], np.float16), "FP16", "x")))


asyncio.run(main())
seen.tell("kserve", "grpcio")
