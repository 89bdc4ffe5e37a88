"""Loads ONNX's backend tests: their models, and the recorded inputs and outputs."""

import base64
import pathlib
import random
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# The datatypes of the Open Inference Protocol by the name of the numpy type. Clients cannot send other types.
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "BYTES", "str": "BYTES",
}

SENDABLE = {
    getattr(TensorProto, name)
    for name in "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FLOAT16 FLOAT DOUBLE STRING".split()
}

FILE_KINDS = ["simple", "pytorch-converted", "pytorch-operator"]

# The newest IR version and opset that ONNX Runtime 1.30 loads.
NEWEST_IR, NEWEST_OPSET = 13, 26
ONNX = {"", "ai.onnx"}

# The folder in which python.ts installs older releases of ONNX, whose tests contain models at older opsets.
OLDER = pathlib.Path(__file__).parent / ".older"


class Case:
    """A backend test: its model, the recorded inputs by name, and the recorded outputs in graph order."""

    def __init__(self, kind, name, model, recorded, outputs=(), tolerance=(1e-3, 1e-7)):
        self.kind = kind
        self.name = name
        self.model = model
        self.recorded = recorded
        self.outputs = outputs
        self.tolerance = tolerance

    @property
    def operator(self):
        nodes = self.model.graph.node
        if len(nodes) == 1:
            return "::".join(filter(None, [nodes[0].domain, nodes[0].op_type]))
        return "expanded function" if self.kind == "node" else self.kind


def all_cases():
    return [*node_cases(), *(case for kind in FILE_KINDS for case in folder_cases(kind)), *light_cases()]


def node_cases():
    """Yields ONNX's node tests. Python code generates them; some of it uses random numbers without a seed."""
    np.random.seed(0)
    random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        tests = collect_testcases(None)
    for test in sorted(tests, key=lambda test: test.name):
        given, expected = test.data_sets[0]
        recorded = dict(zip(names(test.model), given))
        yield Case("node", test.name, test.model, recorded, expected, (test.rtol, test.atol))


def older_cases():
    """Yields the tests of older releases whose models are missing in this release."""
    seen = {as_known(case.model) for case in all_cases()}
    for release in sorted(OLDER.iterdir(), reverse=True):
        for kind in ["node", *FILE_KINDS]:
            for case in folder_cases(kind, release / DATA, f"{release.name}-{kind}"):
                model = as_known(case.model)
                if model not in seen:
                    seen.add(model)
                    yield case


def as_known(model):
    """Returns the bytes of the model, at the newest opset that ONNX Runtime loads if its own is newer. Operators may
    behave differently at this opset, which the comparison with the recorded outputs detects.
    """
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.ir_version = min(older.ir_version, NEWEST_IR)
    for opset in older.opset_import:
        if opset.domain in ONNX:
            opset.version = min(opset.version, NEWEST_OPSET)
    return older.SerializeToString(deterministic=True)


def folder_cases(kind, parent=None, called=None):
    """Yields the tests that a package contains as files."""
    for folder in sorted(((parent or data_folder()) / kind).glob("test_*")):
        model = onnx.load(folder / "model.onnx")
        data = folder / "test_data_set_0"
        recorded = {}
        for i, value in enumerate(model.graph.input):
            file = data / f"input_{i}.pb"
            if file.exists() and value.type.HasField("tensor_type"):
                recorded[value.name] = onnx.load_tensor(file)
        outputs = [
            onnx.load_tensor(file) if value.type.HasField("tensor_type") else None
            for i, value in enumerate(model.graph.output)
            if (file := data / f"output_{i}.pb").exists()
        ]
        yield Case(called or kind, folder.name, model, recorded, outputs)


def light_cases():
    """Yields real image models whose graph generates the weights. The values of the image increase from 0 to 1, as in
    ONNX's own runner.
    """
    for file in sorted((data_folder() / "light").glob("*.onnx")):
        model = onnx.load(file)
        recorded = {}
        for value in model.graph.input:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if value.name not in {tensor.name for tensor in model.graph.initializer}:
                size = np.prod(shape)
                recorded[value.name] = (np.arange(size).reshape(shape) / size).astype(np.float32)
        output = onnx.load_tensor(file.with_name(f"{file.stem}_output_0.pb"))
        yield Case("light", file.stem, model, recorded, [output], (2e-3, 1e-7))


DATA = pathlib.Path("onnx", "backend", "test", "data")


def data_folder():
    return pathlib.Path(onnx.__file__).parents[1] / DATA


def names(model):
    initialised = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in initialised]


def as_array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def datatype_of(array):
    return DATATYPES.get("str" if array.dtype.name.startswith("str") else array.dtype.name)


def as_json(array):
    """Returns an array as JSON: little-endian bytes in Base64, or unchanged strings."""
    datatype = datatype_of(array)
    if datatype == "BYTES":
        data = [text(element) for element in array.reshape(-1).tolist()]
    else:
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"datatype": datatype, "shape": list(array.shape), "data": data}


def text(element):
    return element.decode() if isinstance(element, bytes) else str(element)
