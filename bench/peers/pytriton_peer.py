"""PyTriton: the Triton server in front of a Python function. It joins waiting requests, by design."""

import os
import socket

import model
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig


@batch
def infer(input):
    probabilities, labels = model.run(input)
    return {"probabilities": probabilities, "predicted_class": np.char.encode(labels.astype(str), "utf-8").reshape(-1, 1)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    model.load()
    config = TritonConfig(
        http_port=model.PORT,
        http_address="127.0.0.1",
        grpc_port=int(os.environ.get("GRPC_PORT") or free_port()),
        grpc_address="127.0.0.1",
        allow_metrics=False,
    )
    # As in Triton itself: PyTriton would hide statistics, the repository and log settings.
    with Triton(config=config, security_config=TritonSecurityConfig(restricted_endpoints=[])) as triton:
        triton.bind(
            model.NAME,
            infer,
            [Tensor(name="input", dtype=np.float32, shape=(4,))],
            [
                Tensor(name="probabilities", dtype=np.float32, shape=(3,)),
                Tensor(name="predicted_class", dtype=np.bytes_, shape=(1,)),
            ],
            config=ModelConfig(max_batch_size=1024, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
