#!/usr/bin/env python3
"""Writes the model transformer: an encoder with two layers over 32 steps of 8 channels, with random weights.

    python3.11 -m venv .venv && .venv/bin/pip install -r ../../test/models/requirements.txt && .venv/bin/python make_transformer.py
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEPS, CHANNELS, WIDTH, HEADS, HIDDEN, LAYERS, CLASSES = 32, 8, 48, 4, 96, 2, 4

random = np.random.default_rng(20261130)
nodes, weights = [], []


def constant(name, array):
    weights.append(numpy_helper.from_array(array, name))
    return name


def weight(name, *shape):
    return constant(name, random.normal(0, shape[0] ** -0.5, shape).astype(np.float32))


def node(kind, inputs, output, **attributes):
    nodes.append(helper.make_node(kind, inputs, [output], **attributes))
    return output


def linear(name, x, inputs, outputs):
    product = node("MatMul", [x, weight(f"{name}.weight", inputs, outputs)], f"{name}.product")
    return node("Add", [product, constant(f"{name}.bias", np.zeros(outputs, np.float32))], name)


def normalized(name, x):
    scale = constant(f"{name}.scale", np.ones(WIDTH, np.float32))
    bias = constant(f"{name}.bias", np.zeros(WIDTH, np.float32))
    return node("LayerNormalization", [x, scale, bias], name, axis=-1)


def heads(name, x, order):
    split = constant(f"{name}.shape", np.array([0, STEPS, HEADS, WIDTH // HEADS], np.int64))
    return node("Transpose", [node("Reshape", [x, split], f"{name}.split")], name, perm=order)


def attention(name, x):
    query, key, value = (linear(f"{name}.{part}", x, WIDTH, WIDTH) for part in ("query", "key", "value"))
    scores = node("MatMul", [heads(f"{name}.queries", query, [0, 2, 1, 3]), heads(f"{name}.keys", key, [0, 2, 3, 1])], f"{name}.scores")
    scaled = node("Mul", [scores, constant(f"{name}.scale", np.float32((WIDTH // HEADS) ** -0.5))], f"{name}.scaled")
    mixed = node("MatMul", [node("Softmax", [scaled], f"{name}.weights", axis=-1), heads(f"{name}.values", value, [0, 2, 1, 3])], f"{name}.mixed")
    joined = constant(f"{name}.shape", np.array([0, STEPS, WIDTH], np.int64))
    merged = node("Reshape", [node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3]), joined], f"{name}.merged")
    return linear(f"{name}.output", merged, WIDTH, WIDTH)


def layer(name, x):
    x = normalized(f"{name}.norm1", node("Add", [x, attention(f"{name}.attention", x)], f"{name}.sum1"))
    hidden = node("Relu", [linear(f"{name}.up", x, WIDTH, HIDDEN)], f"{name}.hidden")
    return normalized(f"{name}.norm2", node("Add", [x, linear(f"{name}.down", hidden, HIDDEN, WIDTH)], f"{name}.sum2"))


x = linear("embedding", "series", CHANNELS, WIDTH)
for index in range(LAYERS):
    x = layer(f"layer{index}", x)
pooled = node("ReduceMean", [x, constant("axes", np.array([1], np.int64))], "pooled", keepdims=0)
node("Softmax", [linear("classes", pooled, WIDTH, CLASSES)], "probabilities", axis=-1)

graph = helper.make_graph(
    nodes,
    "transformer",
    [helper.make_tensor_value_info("series", TensorProto.FLOAT, ["batch", STEPS, CHANNELS])],
    [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
    weights,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.checker.check_model(model, full_check=True)

sample = [[[round((step * channel % 7) / 7, 4) for channel in range(1, CHANNELS + 1)] for step in range(STEPS)]]
folder = Path(__file__).resolve().parent / "transformer"
folder.mkdir(exist_ok=True)
(folder / "model.onnx").write_bytes(model.SerializeToString())
(folder / "model.json").write_text(json.dumps({"name": "transformer", "version": "1", "sample": {"series": sample}}) + "\n")
