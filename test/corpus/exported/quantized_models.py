"""Models quantized to int8. The prover must accept static quantization in both formats, and refuse dynamic
quantization.
"""

import logging
import pathlib
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_dynamic,
    quantize_static,
)

import sklearn_models
import torch_models

logging.getLogger().setLevel(logging.ERROR)


class Calibration(CalibrationDataReader):
    def __init__(self, model):
        rng = np.random.default_rng(3)
        self.rows = iter([{each.name: _values(each, rng) for each in model.graph.input}] * 2)

    def get_next(self):
        return next(self.rows, None)


def _values(declared, rng):
    """Two rows for an input. Integers are token ids or a mask."""
    tensor = declared.type.tensor_type
    shape = [2, *(dimension.dim_value or 7 for dimension in tensor.shape.dim[1:])]
    if tensor.elem_type == onnx.TensorProto.FLOAT:
        return rng.uniform(-2, 2, shape).astype(np.float32)
    return rng.integers(1, 2, shape)


def _quantized(make, quantize):
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "source.onnx", pathlib.Path(folder) / "target.onnx"
        model = make()
        onnx.save(model, source)
        quantize(model, source, target)
        return onnx.load(target)


def _static(make, quant_format, **options):
    return _quantized(
        make,
        lambda model, source, target: quantize_static(
            source, target, Calibration(model), quant_format=quant_format, **options
        ),
    )


def _dynamic(make):
    return _quantized(make, lambda _, source, target: quantize_dynamic(source, target))


TORCH = torch_models.MODELS
MODELS = {
    "qdq-cnn": lambda: _static(TORCH["torch-cnn-script"], QuantFormat.QDQ),
    "qdq-cnn-per-channel": lambda: _static(
        TORCH["torch-cnn-dynamo"], QuantFormat.QDQ, per_channel=True
    ),
    "qdq-resnet18": lambda: _static(TORCH["torch-resnet18-dynamo"], QuantFormat.QDQ),
    "qdq-bert": lambda: _static(TORCH["torch-bert-script"], QuantFormat.QDQ),
    "qoperator-mlp": lambda: _static(TORCH["torch-mlp-script"], QuantFormat.QOperator),
    "qoperator-cnn": lambda: _static(TORCH["torch-cnn-script"], QuantFormat.QOperator),
    "qoperator-resnet18": lambda: _static(TORCH["torch-resnet18-dynamo"], QuantFormat.QOperator),
    "dynamic-mlp": lambda: _dynamic(TORCH["torch-mlp-script"]),
    "dynamic-sk-mlp": lambda: _dynamic(sklearn_models.MODELS["sk-mlp"]),
    "dynamic-bert": lambda: _dynamic(TORCH["torch-bert-script"]),
    "dynamic-lstm": lambda: _dynamic(TORCH["torch-lstm-script"]),
}
