"""MLServer with a custom runtime around ONNX Runtime, because it ships none; in one process, without debug mode and metrics."""

import asyncio
import os
import socket

import model
import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor


class Iris(MLModel):
    async def load(self) -> bool:
        model.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        probabilities, labels = model.run(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [
            NumpyCodec.encode_output("probabilities", np.asarray(probabilities)),
            StringCodec.encode_output("predicted_class", labels.tolist(), use_bytes=False),
        ]
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
    iris = ModelSettings(
        name=model.NAME,
        implementation=Iris,
        platform="onnx_onnxv1",
        inputs=[MetadataTensor(name="input", datatype="FP32", shape=[-1, 4])],
        outputs=[
            MetadataTensor(name="probabilities", datatype="FP32", shape=[-1, 3]),
            MetadataTensor(name="predicted_class", datatype="BYTES", shape=[-1, 1]),
        ],
    )
    await MLServer(settings).start([iris])


if __name__ == "__main__":
    asyncio.run(main())
