"""The KServe Python SDK's custom predictor; with gRPC if GRPC_PORT is set, and without its log line per request, which would slow it down."""

import logging
import os

import uvicorn


class LoopbackConfig(uvicorn.Config):
    """The SDK listens on all interfaces and has no option for it; a benchmark needs only the loopback."""

    def __init__(self, app, **options):
        super().__init__(app, **{**options, "host": "127.0.0.1"})


uvicorn.Config = LoopbackConfig

import model  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402
from kserve.utils.utils import generate_uuid  # noqa: E402


class Iris(Model):
    def load(self):
        model.load()
        self.ready = True
        return True

    def get_input_types(self):
        return [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]

    def get_output_types(self):
        return [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "predicted_class", "datatype": "BYTES", "shape": [-1]},
        ]

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        probabilities, labels = model.run(payload.inputs[0].as_numpy())
        outputs = [
            InferOutput("probabilities", list(probabilities.shape), "FP32", probabilities.ravel().tolist()),
            InferOutput("predicted_class", list(labels.shape), "BYTES", labels.tolist()),
        ]
        return InferResponse(payload.id or generate_uuid(), self.name, outputs)


if __name__ == "__main__":
    iris = Iris(model.NAME)
    iris.load()
    grpc_port = os.environ.get("GRPC_PORT")
    server = ModelServer(
        http_port=model.PORT,
        enable_grpc=grpc_port is not None,
        grpc_port=int(grpc_port or 0),
        enable_latency_logging=False,
        workers=1,
    )
    for name in ("kserve.trace", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([iris])
