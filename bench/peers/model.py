"""The shipped iris classifier, as in a typical Python server: ONNX Runtime, one thread, one run per request."""

import os
from pathlib import Path

# As in function/: set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

NAME = "iris-classifier"
PORT = int(os.environ["PORT"])

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
_session = None


def load():
    global _session
    file = Path(os.environ["MODEL_DIR"]) / "model.onnx"
    _session = onnxruntime.InferenceSession(str(file), _options, providers=["CPUExecutionProvider"])


def run(rows):
    """Probabilities as an array [n, 3], and the labels as an array of text [n]."""
    return _session.run(["probabilities", "predicted_class"], {"input": np.asarray(rows, np.float32)})
