"""Writes the same model with its rows in another dimension of its operators, or with several entries per row.

Callers still send rows in dimension 0: additional nodes move the rows before the operators, and back after them.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from cases import ONNX

PARTS = 2

# The opset of ONNX's own domain for a model that specifies only the opset of ONNX-ML.
OPSET = 13


def moved_models(model):
    """Yields (name, model) with the rows in dimension d of the inputs and dimension e of the outputs."""
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.input]
    outputs = output_shapes(model)
    if outputs is None:
        return
    tried = set()
    for d in range(max(ranks)):
        for places in ([d] * len(ranks), [d - max(ranks) + rank for rank in ranks]):
            if any(not 0 <= place < rank for place, rank in zip(places, ranks)):
                continue
            for e in (d, d - 1, d + 1, d - max(ranks)):
                backs = [e if e >= 0 else len(shape) + e for shape in outputs]
                key = (*places, *backs)
                if key in tried or not any(key):
                    continue
                tried.add(key)
                if all(0 <= back < len(shape) for back, shape in zip(backs, outputs)):
                    yield f"rows at {places} and {backs}".replace(", ", ","), moved(model, places, backs)


def moved(model, places, backs):
    bent = copy_of(model)
    front, behind = [], []
    for value, place in zip(bent.graph.input, places):
        rank = len(value.type.tensor_type.shape.dim)
        order = [place, *(i for i in range(rank) if i != place)]
        dims = [value.type.tensor_type.shape.dim[i].dim_value for i in order]
        given = name_of(value.name, place)
        front.append(helper.make_node("Transpose", [given], [value.name], perm=inverse(order)))
        elem_type = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(given, elem_type, dims))
    for value, back in zip(bent.graph.output, backs):
        rank = len(value.type.tensor_type.shape.dim)
        order = [back, *(i for i in range(rank) if i != back)]
        behind.append(helper.make_node("Transpose", [value.name], [value.name + "@rows"], perm=order))
        value.name += "@rows"
    return surrounded(bent, front, behind)


def parts_model(model):
    """A model with two entries per row, which it separates before the operators and combines after them; None if this is
    not possible.
    """
    outputs = output_shapes(model)
    if outputs is None or any(None in shape[1:] or not shape for shape in outputs):
        return None
    bent = copy_of(model)
    front, behind = [], []
    for value in bent.graph.input:
        rest = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        given = name_of(value.name, "parts")
        front.append(reshape(bent, given, value.name, [-1, *rest]))
        elem_type = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(given, elem_type, [1, PARTS, *rest]))
    for value, shape in zip(bent.graph.output, outputs):
        behind.append(reshape(bent, value.name, value.name + "@rows", [-1, PARTS, *shape[1:]]))
        value.name += "@rows"
        value.type.tensor_type.shape.dim.add()
    return surrounded(bent, front, behind)


def reshape(model, given, result, shape):
    name = result + "@shape"
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    return helper.make_node("Reshape", [given, name], [result])


def surrounded(model, front, behind):
    nodes = [*front, *model.graph.node, *behind]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if not any(opset.domain in ONNX for opset in model.opset_import):
        model.opset_import.append(helper.make_operatorsetid("", OPSET))
    return model


def output_shapes(model):
    """The sizes of each output's dimensions, with None for an unknown size; None if a rank is unknown."""
    bent = copy_of(model)
    del bent.graph.value_info[:]
    for value in bent.graph.output:
        value.type.tensor_type.ClearField("shape")
    shapes = []
    for value in shape_inference.infer_shapes(bent).graph.output:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            return None
        dims = value.type.tensor_type.shape.dim
        shapes.append([dim.dim_value if dim.HasField("dim_value") else None for dim in dims])
    return shapes


def written(name, array):
    """Yields (input name, recorded data) for each dimension in which an input may have its rows."""
    yield name, array
    for place in range(array.ndim):
        yield name_of(name, place), np.moveaxis(array, place, 0)
    pairs = array if len(array) % PARTS == 0 else np.concatenate([array] * PARTS)
    yield name_of(name, "parts"), pairs.reshape(-1, PARTS, *array.shape[1:])


def name_of(name, place):
    return f"{name}@{place}"


def inverse(order):
    return [order.index(i) for i in range(len(order))]


def copy_of(model):
    bent = onnx.ModelProto()
    bent.CopyFrom(model)
    return bent
