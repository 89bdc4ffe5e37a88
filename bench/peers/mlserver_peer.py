"""MLServer with a custom runtime around ONNX Runtime, because MLServer includes none. It runs in one process, without debug mode or metrics."""

import asyncio
import os
import socket

import model
import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor


INPUTS, OUTPUTS = model.load()


def encode(spec, array):
    if spec.datatype == "BYTES":
        return StringCodec.encode_output(spec.name, array.tolist(), use_bytes=False)
    return NumpyCodec.encode_output(spec.name, np.asarray(array))


def metadata(specs):
    return [MetadataTensor(name=spec.name, datatype=spec.datatype, shape=[-1, *spec.shape]) for spec in specs]


class Classifier(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        arrays = model.run({tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs})
        outputs = [encode(spec, array) for spec, array in zip(OUTPUTS, arrays)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main():
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=model.PORT,
        grpc_port=int(os.environ.get("GRPC_PORT") or free_port()),
        metrics_endpoint=None,
        parallel_workers=0,
    )
    classifier = ModelSettings(
        name=model.NAME,
        implementation=Classifier,
        platform="onnx_onnxv1",
        inputs=metadata(INPUTS),
        outputs=metadata(OUTPUTS),
    )
    await MLServer(settings).start([classifier])


if __name__ == "__main__":
    asyncio.run(main())
