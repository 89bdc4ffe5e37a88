"""PyTriton runs the Triton server in front of a Python function. Triton joins waiting requests."""

import os
import socket

import model
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig


INPUTS, OUTPUTS = model.load()
DTYPES = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.bytes_}


@batch
def infer(**inputs):
    arrays = model.run(inputs)
    return {spec.name: as_triton(spec, array) for spec, array in zip(OUTPUTS, arrays)}


def as_triton(spec, array):
    """Triton needs a second dimension after the rows, and strings as bytes."""
    if spec.datatype == "BYTES":
        array = np.char.encode(array.astype(str), "utf-8")
    return array if spec.shape else array.reshape(-1, 1)


def tensors(specs):
    return [Tensor(name=spec.name, dtype=DTYPES[spec.datatype], shape=spec.shape or (1,)) for spec in specs]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    config = TritonConfig(
        http_port=model.PORT,
        http_address="127.0.0.1",
        grpc_port=int(os.environ.get("GRPC_PORT") or free_port()),
        grpc_address="127.0.0.1",
        allow_metrics=False,
    )
    # By default, PyTriton, unlike Triton, restricts the endpoints for statistics, the repository and log settings.
    with Triton(config=config, security_config=TritonSecurityConfig(restricted_endpoints=[])) as triton:
        triton.bind(
            model.NAME,
            infer,
            tensors(INPUTS),
            tensors(OUTPUTS),
            config=ModelConfig(max_batch_size=1024, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
