#!/usr/bin/env python3
"""Writes the tests' small models to one folder each, with their expected outputs.

    python3.11 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python generate.py

numpy calculates the expected outputs in cases.json, which must equal ONNX Runtime's. With --check, writes to a
temporary folder, and exits with 1 if a file differs, is missing or is unexpected.
"""

import argparse
import base64
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

# Set before the import; otherwise, ONNX Runtime writes a device id into the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.helper import (
    make_graph,
    make_map_type_proto,
    make_model,
    make_node,
    make_opsetid,
    make_sequence_type_proto,
    make_tensor_type_proto,
    make_tensor_value_info,
    make_value_info,
)

HERE = Path(__file__).resolve().parent
IR_VERSION = 10
OPSETS = [make_opsetid("", 21), make_opsetid("ai.onnx.ml", 3)]
MAX_FILE_BYTES = 20_000

# The numpy type and ONNX's number of each datatype.
DATATYPES = {
    "BOOL": (np.bool_, TensorProto.BOOL),
    "UINT8": (np.uint8, TensorProto.UINT8),
    "UINT16": (np.uint16, TensorProto.UINT16),
    "UINT32": (np.uint32, TensorProto.UINT32),
    "UINT64": (np.uint64, TensorProto.UINT64),
    "INT8": (np.int8, TensorProto.INT8),
    "INT16": (np.int16, TensorProto.INT16),
    "INT32": (np.int32, TensorProto.INT32),
    "INT64": (np.int64, TensorProto.INT64),
    "FP16": (np.float16, TensorProto.FLOAT16),
    "FP32": (np.float32, TensorProto.FLOAT),
    "FP64": (np.float64, TensorProto.DOUBLE),
    "BYTES": (np.object_, TensorProto.STRING),
}
DATATYPE_OF = {np.dtype(numpy_type): datatype for datatype, (numpy_type, _) in DATATYPES.items()}


@dataclass(frozen=True)
class Case:
    """Expected outputs are absent if the run must fail."""

    name: str
    inputs: dict
    outputs: dict | None = None


@dataclass(frozen=True)
class Model:

    name: str
    graph: onnx.GraphProto
    cases: list = field(default_factory=list)
    fails: list = field(default_factory=list)  # valid requests for which the run fails
    refused: list = field(default_factory=list)  # refused by the server: ONNX Runtime would return wrong outputs
    description: dict | None = None
    file: str = "model.onnx"
    beside: dict = field(default_factory=dict)


def array(datatype, *data):
    """A single argument that is a list determines the shape."""
    data = data[0] if len(data) == 1 and isinstance(data[0], list) else list(data)
    return np.array(data, DATATYPES[datatype][0])


def empty(datatype, *shape):
    return np.zeros(shape, DATATYPES[datatype][0])


def tensor(name, datatype, shape):
    """If the shape is `None`, the rank is unknown."""
    return make_tensor_value_info(name, DATATYPES[datatype][1], shape)


def constant(name, value):
    return numpy_helper.from_array(value, name)


def graph(name, nodes, inputs, outputs, constants=()):
    return make_graph(nodes, name, inputs, outputs, initializer=constants)


def unary(operator, datatype, shape):
    return graph(
        operator.lower(),
        [make_node(operator, ["x"], ["y"])],
        [tensor("x", datatype, shape)],
        [tensor("y", datatype, shape)],
    )


def x_to_y(name, x, y=None):
    return Case(name, {"x": x}, {"y": x if y is None else y})


def identities():
    """The cases include the datatype's limits."""

    def integers(datatype):
        limits = np.iinfo(DATATYPES[datatype][0])
        values = {limits.min, limits.min + 1, -1, 0, 1, 42, limits.max - 1, limits.max}
        # Beyond 2^53, a double cannot represent every integer.
        values |= {sign * (2**53 + step) for sign in (1, -1) for step in (-1, 0, 1)}
        return [array(datatype, sorted(value for value in values if limits.min <= value <= limits.max))]

    def floats(datatype):
        numpy_type = DATATYPES[datatype][0]
        limits = np.finfo(numpy_type)
        finite = [0.0, -0.0, 0.1, -2.5, limits.smallest_subnormal, -limits.smallest_subnormal, limits.tiny]
        return [
            np.array([*finite, limits.max, -limits.max], numpy_type),
            array(datatype, np.nan, np.inf, -np.inf, 1.0),
        ]

    texts = ["", "setosa", "naïve café", "日本語", "🌸", 'line\nbreak\t"quoted" \\', " ", "x" * 300]
    values = {
        "BOOL": [array("BOOL", True, False, True)],
        "BYTES": [array("BYTES", texts)],
    }
    for datatype in DATATYPES:
        if datatype not in values:
            values[datatype] = integers(datatype) if "INT" in datatype else floats(datatype)

    titles = {"BYTES": ["text"], "BOOL": ["both"]}
    # ONNX Runtime for Node accepts only text, and drops the characters after a zero byte.
    refused = {
        "BYTES": [
            Case("zero bytes within", {"x": array("BYTES", "a\0b", "\0")}),
            Case("bytes that are not UTF-8", {"x": array("BYTES", b"\xff\xfe")}),
        ]
    }
    for datatype, tensors in values.items():
        names = titles.get(datatype, ["limits", "not finite"])
        cases = [x_to_y(name, x) for name, x in zip(names, tensors)]
        cases.append(x_to_y("one element", tensors[0][1:2]))
        cases.append(x_to_y("empty", empty(datatype, 0)))
        yield Model(
            f"identity-{datatype.lower()}",
            unary("Identity", datatype, ["n"]),
            cases,
            refused=refused.get(datatype, []),
        )


def two_in_two_out():
    def case(name, a, b):
        return Case(name, {"a": a, "b": b}, {"total": a.sum(1) + b.astype(np.float32), "doubled": b * 2})

    return Model(
        "two-in-two-out",
        graph(
            "two-in-two-out",
            [
                make_node("ReduceSum", ["a", "columns"], ["row_sum"], keepdims=0),
                make_node("Cast", ["b"], ["b_float"], to=TensorProto.FLOAT),
                make_node("Add", ["row_sum", "b_float"], ["total"]),
                make_node("Add", ["b", "b"], ["doubled"]),
            ],
            [tensor("a", "FP32", ["n", 2]), tensor("b", "INT64", ["n"])],
            [tensor("total", "FP32", ["n"]), tensor("doubled", "INT64", ["n"])],
            [constant("columns", array("INT64", 1))],
        ),
        [
            case("one row", array("FP32", [[1.5, -2.25]]), array("INT64", 3)),
            case("three rows", array("FP32", [[1, 2], [3, 4], [0.5, 0.25]]), array("INT64", 10, -20, 2**53 + 1)),
            case("empty", empty("FP32", 0, 2), empty("INT64", 0)),
        ],
        refused=[Case("rows that do not match", {"a": array("FP32", [[1, 2], [3, 4]]), "b": array("INT64", 1)})],
        description={"name": "two-in-two-out", "version": "1", "sample": {"a": [[1, 2]], "b": [3]}},
    )


def fixed():
    def case(name, x):
        return x_to_y(name, x, x + np.float32(1))

    return Model(
        "fixed",
        graph(
            "fixed",
            [make_node("Add", ["x", "one"], ["y"])],
            [tensor("x", "FP32", [2, 3])],
            [tensor("y", "FP32", [2, 3])],
            [constant("one", array("FP32", 1))],
        ),
        [
            case("counting", np.arange(6, dtype=np.float32).reshape(2, 3)),
            case("negative", array("FP32", [[-1, -0.5, -0.25], [-8, -4, -2]])),
        ],
    )


def middle():
    def case(name, x):
        return Case(name, {"x": x}, {"total": x.sum(1, dtype=np.float32), "y": x})

    return Model(
        "middle",
        graph(
            "middle",
            [make_node("ReduceSum", ["x", "axis"], ["total"], keepdims=0), make_node("Identity", ["x"], ["y"])],
            [tensor("x", "FP32", [2, "n", 3])],
            [tensor("total", "FP32", [2, 3]), tensor("y", "FP32", [2, "n", 3])],
            [constant("axis", array("INT64", 1))],
        ),
        [
            case("one in the middle", np.arange(6, dtype=np.float32).reshape(2, 1, 3)),
            case("four in the middle", np.arange(24, dtype=np.float32).reshape(2, 4, 3)),
        ],
        description={"sample": {"x": [[[1, 2, 3]], [[4, 5, 6]]]}},
    )


def rows_dependent():
    def case(name, x):
        return x_to_y(name, x, x - x.mean(0, keepdims=True))

    return Model(
        "rows-dependent",
        graph(
            "rows-dependent",
            [make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1), make_node("Sub", ["x", "mean"], ["y"])],
            [tensor("x", "FP32", ["n", 3])],
            [tensor("y", "FP32", ["n", 3])],
            [constant("axis", array("INT64", 0))],
        ),
        [
            case("one row is all zeros", array("FP32", [[5, 6, 7]])),
            case("two rows", array("FP32", [[1, 2, 3], [3, 6, 9]])),
            case("four rows", array("FP32", [[1, 0, 8], [2, 0, 8], [3, 4, 8], [6, 4, 8]])),
        ],
    )


def no_batch():
    return Model(
        "no-batch",
        graph(
            "no-batch",
            [make_node("Add", ["x", "x"], ["y"])],
            [tensor("x", "FP32", [3])],
            [tensor("y", "FP32", [3])],
        ),
        [x_to_y(name, x, x * 2) for name, x in (("small", array("FP32", 1, 2, 3)), ("zeros", empty("FP32", 3)))],
    )


def vector_sum():
    def case(name, x):
        return Case(name, {"x": x}, {"sum": x.sum(dtype=np.float32)})

    return Model(
        "vector-sum",
        graph(
            "vector-sum",
            [make_node("ReduceSum", ["x"], ["sum"], keepdims=0)],
            [tensor("x", "FP32", ["n"])],
            [tensor("sum", "FP32", [])],
        ),
        [case("one", array("FP32", 4)), case("five", array("FP32", 1, 2, 3, 4, 0.5)), case("none", empty("FP32", 0))],
    )


def scalar():
    return Model(
        "scalar",
        graph(
            "scalar",
            [make_node("Add", ["x", "x"], ["y"])],
            [tensor("x", "FP32", [])],
            [tensor("y", "FP32", [])],
        ),
        [x_to_y(f"{value}", np.array(value, np.float32), np.array(2 * value, np.float32)) for value in (1.5, -0.25)],
        description={"name": "scalar"},
    )


def unknown_rank():
    return Model(
        "unknown-rank",
        unary("Identity", "FP32", None),
        [
            x_to_y("rank 0", np.array(7, np.float32)),
            x_to_y("rank 1", array("FP32", 1, 2)),
            x_to_y("rank 3", np.arange(12, dtype=np.float32).reshape(2, 3, 2)),
        ],
    )


def same_dimension():
    def case(name, a, b):
        return Case(name, {"a": a, "b": b}, {"y": a + b})

    two_rows, one_row = array("FP32", [[1, 2], [3, 4]]), array("FP32", [[10, 20]])
    return Model(
        "same-dimension",
        graph(
            "same-dimension",
            [make_node("Add", ["a", "b"], ["y"])],
            [tensor("a", "FP32", ["n", 2]), tensor("b", "FP32", ["n", 2])],
            [tensor("y", "FP32", ["n", 2])],
        ),
        [case("one row", one_row, one_row), case("two rows", two_rows, two_rows)],
        # ONNX Runtime does not compare the sizes of two dimensions with the same name: it broadcasts the inputs.
        refused=[Case("two rows and one row", {"a": two_rows, "b": one_row})],
    )


def external_data():
    weights = array("FP32", [[1, -1], [2, 0.5], [3, 0], [4, 8]])
    outside = onnx.TensorProto(name="W", data_type=TensorProto.FLOAT, dims=weights.shape)
    outside.data_location = TensorProto.EXTERNAL
    raw = weights.astype("<f4").tobytes()
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(len(raw)))):
        outside.external_data.add(key=key, value=value)

    def case(name, x):
        return x_to_y(name, x, x @ weights)

    return Model(
        "external-data",
        graph(
            "external-data",
            [make_node("MatMul", ["x", "W"], ["y"])],
            [tensor("x", "FP32", ["n", 4])],
            [tensor("y", "FP32", ["n", 2])],
            [outside],
        ),
        [
            case("one row", array("FP32", [[1, 1, 1, 1]])),
            case("four rows", np.eye(4, dtype=np.float32)),
            case("empty", empty("FP32", 0, 4)),
        ],
        description={"version": "2", "description": "Weights in weights.bin, beside the model."},
        beside={"weights.bin": raw},
    )


def zip_map_output(name):
    value = make_tensor_type_proto(TensorProto.FLOAT, [])
    return make_value_info(name, make_sequence_type_proto(make_map_type_proto(TensorProto.STRING, value)))


def zip_map_node():
    return make_node(
        "ZipMap", ["scores"], ["output_probability"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]
    )


def zipmap():
    """The server returns the ZipMap's input instead of its output."""

    def case(name, x):
        return Case(name, {"x": x}, {"output_label": x.argmax(1), "output_probability": x})

    return Model(
        "zipmap",
        graph(
            "zipmap",
            [
                make_node("ArgMax", ["x"], ["output_label"], axis=1, keepdims=0),
                make_node("Identity", ["x"], ["scores"]),
                zip_map_node(),
            ],
            [tensor("x", "FP32", ["n", 2])],
            [tensor("output_label", "INT64", ["n"]), zip_map_output("output_probability")],
        ),
        [
            case("one row", array("FP32", [[0.25, 0.75]])),
            case("three rows", array("FP32", [[1, 0], [0, 1], [0.875, 0.125]])),
        ],
    )


def only_zipmap():
    probabilities = array("FP32", [[0.25, 0.75]])
    return Model(
        "only-zipmap",
        graph(
            "only-zipmap",
            [make_node("Identity", ["x"], ["scores"]), zip_map_node()],
            [tensor("x", "FP32", ["n", 2])],
            [zip_map_output("output_probability")],
        ),
        [Case("one row", {"x": probabilities}, {"output_probability": probabilities})],
    )


def other_file_name():
    return Model(
        "other-file-name",
        unary("Neg", "FP32", ["n"]),
        [x_to_y(name, x, -x) for name, x in (("one", array("FP32", 1)), ("three", array("FP32", 1, -2, 0)))],
        file="classifier.onnx",
    )


def not_utf8():
    texts = array("BYTES", b"plain", b"\xff\xfe", "é".encode()[:1], "é".encode())

    def case(name, index):
        return Case(name, {"index": index}, {"text": texts[index], "same": index})

    return Model(
        "not-utf8",
        graph(
            "not-utf8",
            [make_node("Gather", ["texts", "index"], ["text"]), make_node("Identity", ["index"], ["same"])],
            [tensor("index", "INT64", ["n"])],
            [tensor("text", "BYTES", ["n"]), tensor("same", "INT64", ["n"])],
            [constant("texts", texts)],
        ),
        [
            case("text that is UTF-8", array("INT64", 0, 3)),
            case("bytes that are not", array("INT64", 1)),
            case("all of them", array("INT64", 0, 1, 2, 3)),
        ],
    )


def failing():
    values = array("FP32", 10, 20, 30)

    def case(name, index):
        return Case(name, {"index": index}, {"y": values[index]})

    return Model(
        "failing",
        graph(
            "failing",
            [make_node("Gather", ["values", "index"], ["y"])],
            [tensor("index", "INT64", ["n"])],
            [tensor("y", "FP32", ["n"])],
            [constant("values", values)],
        ),
        [case("one row", array("INT64", 2)), case("from either end", array("INT64", 0, 1, -1, -3))],
        fails=[
            Case("out of range", {"index": array("INT64", 3)}),
            Case("one bad row among good ones", {"index": array("INT64", 0, 1, 99, 2)}),
        ],
        description={"name": "failing", "version": "1", "sample": {"index": [0]}},
    )


def zeros_fail():
    values = array("FP32", 10, 20, 30)

    def case(name, number):
        return Case(name, {"number": number}, {"y": values[number - 4]})

    return Model(
        "zeros-fail",
        graph(
            "zeros-fail",
            [make_node("Sub", ["number", "four"], ["index"]), make_node("Gather", ["values", "index"], ["y"])],
            [tensor("number", "INT64", ["n"])],
            [tensor("y", "FP32", ["n"])],
            [constant("four", array("INT64", 4)), constant("values", values)],
        ),
        [case("one row", array("INT64", 6)), case("six rows", array("INT64", 1, 2, 3, 4, 5, 6))],
        fails=[Case("zero", {"number": array("INT64", 0)})],
    )


def slow():
    # Almost all of the time is the loop's overhead. A run uses one thread, and takes the same time for any number of
    # rows.
    rounds = 60_000
    body = make_graph(
        [
            make_node("Identity", ["go_on"], ["still_go_on"]),
            make_node("Add", ["count", "one"], ["next_count"]),
            make_node("Identity", ["rows"], ["same_rows"]),
        ],
        "round",
        [
            tensor("round", "INT64", []),
            tensor("go_on", "BOOL", []),
            tensor("count", "INT64", []),
            tensor("rows", "FP32", ["n", 2]),
        ],
        [tensor("still_go_on", "BOOL", []), tensor("next_count", "INT64", []), tensor("same_rows", "FP32", ["n", 2])],
    )
    return Model(
        "slow",
        graph(
            "slow",
            [make_node("Loop", ["rounds", "", "zero", "x"], ["count", "y"], body=body)],
            [tensor("x", "FP32", ["n", 2])],
            [tensor("y", "FP32", ["n", 2])],
            [
                constant(name, np.array(value, np.int64))
                for name, value in (("rounds", rounds), ("zero", 0), ("one", 1))
            ],
        ),
        [
            x_to_y("one row", array("FP32", [[1.5, -0.0]])),
            x_to_y("three rows", array("FP32", [[1, 2], [3, 4], [5, 6]])),
        ],
        description={"name": "slow", "version": "1", "sample": {"x": [[0, 0]]}},
    )


def specials():
    def case(name, x):
        with np.errstate(divide="ignore", invalid="ignore"):
            wide = x.astype(np.float64)
            outputs = {
                "quotient": x / np.float32(0),
                "negative_zero": x * np.float32(-0.0),
                "third": wide / np.float64(3),
                "wide_quotient": wide / np.float64(-0.0),
            }
        return Case(name, {"x": x}, outputs)

    return Model(
        "specials",
        graph(
            "specials",
            [
                make_node("Div", ["x", "zero"], ["quotient"]),
                make_node("Mul", ["x", "minus_zero"], ["negative_zero"]),
                make_node("Cast", ["x"], ["wide"], to=TensorProto.DOUBLE),
                make_node("Div", ["wide", "three"], ["third"]),
                make_node("Div", ["wide", "wide_minus_zero"], ["wide_quotient"]),
            ],
            [tensor("x", "FP32", ["n"])],
            [
                tensor("quotient", "FP32", ["n"]),
                tensor("negative_zero", "FP32", ["n"]),
                tensor("third", "FP64", ["n"]),
                tensor("wide_quotient", "FP64", ["n"]),
            ],
            [
                constant("zero", array("FP32", 0)),
                constant("minus_zero", array("FP32", -0.0)),
                constant("three", array("FP64", 3)),
                constant("wide_minus_zero", array("FP64", -0.0)),
            ],
        ),
        [case("one element", array("FP32", 1)), case("every sign", array("FP32", 2, -2, 0, -0.0, 0.1))],
    )


def fp16_out():
    def case(name, x):
        with np.errstate(over="ignore"):
            return Case(name, {"x": x}, {"half": x.astype(np.float16), "y": x})

    return Model(
        "fp16-out",
        graph(
            "fp16-out",
            [make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16), make_node("Identity", ["x"], ["y"])],
            [tensor("x", "FP32", ["n"])],
            [tensor("half", "FP16", ["n"]), tensor("y", "FP32", ["n"])],
        ),
        [
            case("one element", array("FP32", 1.5)),
            case("rounded", array("FP32", 0.1, 1 / 3, 65504, 1e6, -1e6, 6e-8, 1e-9, -0.0, 2049, 2051)),
        ],
    )


def big_int_out():
    def case(name, x):
        return Case(name, {"x": x}, {"y": x, "complement": ~x.astype(np.uint64)})

    return Model(
        "big-int-out",
        graph(
            "big-int-out",
            [
                make_node("Identity", ["x"], ["y"]),
                make_node("Cast", ["x"], ["unsigned"], to=TensorProto.UINT64),
                make_node("BitwiseNot", ["unsigned"], ["complement"]),
            ],
            [tensor("x", "INT64", ["n"])],
            [tensor("y", "INT64", ["n"]), tensor("complement", "UINT64", ["n"])],
        ),
        [
            case("zero becomes the largest", array("INT64", 0)),
            case("beyond 2^53", array("INT64", 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1, 1)),
        ],
    )


def models():
    return [
        *identities(),
        two_in_two_out(),
        fixed(),
        middle(),
        rows_dependent(),
        no_batch(),
        vector_sum(),
        scalar(),
        unknown_rank(),
        same_dimension(),
        external_data(),
        zipmap(),
        only_zipmap(),
        other_file_name(),
        not_utf8(),
        failing(),
        zeros_fail(),
        slow(),
        specials(),
        fp16_out(),
        big_int_out(),
    ]


def onnx_bytes(model):
    proto = make_model(
        model.graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="test/models/generate.py"
    )
    return proto.SerializeToString(deterministic=True)


def element(value):
    """As in the protocol's JSON; None for bytes that are not valid UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def raw_bytes(values, datatype):
    """Little-endian elements; for BYTES, each element's length before its bytes."""
    if datatype != "BYTES":
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    elements = [value.encode() if isinstance(value, str) else value for value in values.ravel()]
    return b"".join(len(value).to_bytes(4, "little") + value for value in elements)


def tensor_json(name, values):
    datatype = DATATYPE_OF[np.asarray(values).dtype]
    values = np.asarray(values)
    data = [element(value) for value in values.ravel().tolist()]
    described = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if None not in data:
        described["data"] = data
    if None in data or datatype == "FP16":
        described["data_base64"] = base64.b64encode(raw_bytes(values, datatype)).decode()
    return json.dumps(described, ensure_ascii=False, allow_nan=False)


def case_json(case):
    lines = [f'      "name": {json.dumps(case.name)}']
    for side, tensors in (("inputs", case.inputs), ("outputs", case.outputs)):
        if tensors is not None:
            listed = ",\n".join(f"        {tensor_json(*entry)}" for entry in tensors.items())
            lines.append(f'      "{side}": [\n{listed}\n      ]')
    return "    {\n" + ",\n".join(lines) + "\n    }"


def cases_json(model):
    kinds = (("cases", model.cases), ("fails", model.fails), ("refused", model.refused))
    listed = [f'  "{kind}": [\n' + ",\n".join(map(case_json, cases)) + "\n  ]" for kind, cases in kinds if cases]
    return "{\n" + ",\n".join(listed) + "\n}\n"


def same(got, expected):
    """All NaNs are equal."""
    expected = np.asarray(expected)
    if expected.dtype == np.object_:
        texts = [element(value) for value in expected.ravel().tolist()]
        return got.shape == expected.shape and got.ravel().tolist() == texts
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return np.array_equal(got, expected)
    return np.array_equal(got, expected, equal_nan=True) and np.array_equal(
        np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(expected)])
    )


def quiet_session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def refuses(attempt):
    try:
        attempt()
    except Exception:
        return True
    return False


def verify(model, folder):
    """ONNX Runtime must return numpy's outputs. Returns the number of cases."""
    path = folder / model.file
    # The checker requires a shape for every graph input; ONNX Runtime does not.
    if all(value.type.tensor_type.HasField("shape") for value in model.graph.input):
        onnx.checker.check_model(path, full_check=True)
    assert path.stat().st_size < MAX_FILE_BYTES, f"{model.name}: {path.stat().st_size} bytes"
    session = quiet_session(path)
    for case in model.cases:
        for name, expected in case.outputs.items():
            values = np.asarray(expected)
            if values.dtype == np.object_ and None in map(element, values.ravel().tolist()):
                continue  # ONNX Runtime for Python cannot return bytes that are not UTF-8
            (got,) = session.run([name], case.inputs)
            if isinstance(got, list):  # the output of a ZipMap: one dictionary per row, with the classes in order
                got = np.array([list(row.values()) for row in got], expected.dtype)
            assert same(got, expected), f"{model.name}, {case.name}: {name} is {got}, expected {expected}"
    for case in model.fails:
        assert refuses(lambda case=case: session.run(None, case.inputs)), f"{model.name}, {case.name}: did not fail"
    return len(model.cases)


def write(folder):
    cases = 0
    for model in models():
        target = folder / model.name
        target.mkdir(parents=True, exist_ok=True)
        (target / model.file).write_bytes(onnx_bytes(model))
        for file, content in model.beside.items():
            (target / file).write_bytes(content)
        if model.description is not None:
            (target / "model.json").write_text(json.dumps(model.description) + "\n")
        if model.cases:
            (target / "cases.json").write_text(cases_json(model), encoding="utf-8")
        cases += verify(model, target)

    whole = onnx_bytes(two_in_two_out())
    broken = folder / "broken" / "model.onnx"
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(whole[: len(whole) // 2])
    assert refuses(lambda: quiet_session(broken)), "broken: ONNX Runtime loads the truncated model"
    print(f"{len(models()) + 1} models, {cases} cases with the same outputs from ONNX Runtime and numpy")


def check():
    def files(folder):
        paths = [path for path in folder.glob("*/*") if path.is_file() and path.parent.name != "graphs"]
        return {path.relative_to(folder): path.read_bytes() for path in paths}

    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
        fresh = files(Path(temporary))
    committed = {file: content for file, content in files(HERE).items() if not file.parts[0].startswith((".", "_"))}
    differ = sorted(str(file) for file in fresh.keys() | committed.keys() if fresh.get(file) != committed.get(file))
    if differ:
        sys.exit(f"these files differ from the committed files: {', '.join(differ)}")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    untold = sorted({file.parts[0] for file in fresh} - {word.strip("`,") for word in readme.split()})
    untold = [name for name in untold if not name.startswith("identity-")]
    if untold:
        sys.exit(f"README.md does not name these models: {', '.join(untold)}")
    print(f"{len(fresh)} files are identical to the committed files")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare with the committed files without changing them")
    check() if arguments.parse_args().check else write(HERE)
