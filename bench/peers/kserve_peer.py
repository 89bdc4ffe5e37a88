"""A custom predictor on the KServe Python SDK. The log line per request is off, because it slows the server down."""

import logging
import os

import uvicorn


class LoopbackConfig(uvicorn.Config):
    """The SDK always listens on all interfaces; a benchmark needs only loopback."""

    def __init__(self, app, **options):
        super().__init__(app, **{**options, "host": "127.0.0.1"})


uvicorn.Config = LoopbackConfig

import model  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402
from kserve.utils.utils import generate_uuid  # noqa: E402


def types(specs):
    return [{"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.shape]} for spec in specs]


class Classifier(Model):
    def load(self):
        self.specs = model.load()
        self.ready = True
        return True

    def get_input_types(self):
        return types(self.specs[0])

    def get_output_types(self):
        return types(self.specs[1])

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        arrays = model.run({tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        outputs = [
            InferOutput(spec.name, list(array.shape), spec.datatype, array.ravel().tolist())
            for spec, array in zip(self.specs[1], arrays)
        ]
        return InferResponse(payload.id or generate_uuid(), self.name, outputs)


if __name__ == "__main__":
    classifier = Classifier(model.NAME)
    classifier.load()
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
    server.start([classifier])
