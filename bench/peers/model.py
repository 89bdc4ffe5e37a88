"""Runs any model with FP32 inputs in ONNX Runtime, as a typical Python server does: one thread, one run per request.
"""

import os
from pathlib import Path

# As in function/: set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

NAME = os.environ.get("MODEL_NAME", "iris-classifier")
PORT = int(os.environ["PORT"])

_DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
_session = None


class Spec:
    """An input or output. `shape` is the shape of one row."""

    def __init__(self, node):
        self.name = node.name
        self.datatype = _DATATYPES[node.type]
        self.shape = tuple(node.shape[1:])


def load():
    global _session
    file = Path(os.environ["MODEL_DIR"]) / "model.onnx"
    _session = onnxruntime.InferenceSession(str(file), _options, providers=["CPUExecutionProvider"])
    return [Spec(node) for node in _session.get_inputs()], [Spec(node) for node in _session.get_outputs()]


def run(inputs):
    return _session.run(None, {name: np.asarray(rows, np.float32) for name, rows in inputs.items()})
