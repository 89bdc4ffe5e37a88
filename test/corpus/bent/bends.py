import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from cases import NEWEST_OPSET, ONNX

# These attributes do not affect rows: types, sizes that must fit a weight, and seeds.
LEFT_ALONE = {
    "to", "dtype", "output_dtype", "stash_type", "seed", "saturate", "hidden_size", "equation", "output_datatype",
    "softmax_precision", "sample_size", "round_mode", "value_int", "value_float", "value_string",
}

STRINGS = {
    "mode": {
        "Pad": ["constant", "reflect", "edge", "wrap"],
        "Resize": ["nearest", "linear", "cubic"],
        "Upsample": ["nearest", "linear"],
        "DepthToSpace": ["DCR", "CRD"],
        "GridSample": ["linear", "nearest", "cubic", "bilinear", "bicubic"],
        "RoiAlign": ["avg", "max"],
        "TfIdfVectorizer": ["TF", "IDF", "TFIDF"],
    },
    "direction": ["forward", "reverse", "bidirectional", "LEFT", "RIGHT"],
    "reduction": ["none", "add", "mul", "min", "max", "mean", "sum"],
    "auto_pad": ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"],
    "coordinate_transformation_mode": ["half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"],
    "nearest_mode": ["floor", "ceil"],
    "keep_aspect_ratio_policy": ["stretch", "not_larger", "not_smaller"],
    "padding_mode": ["zeros", "border", "reflection"],
    "case_change_action": ["NONE", "LOWER", "UPPER"],
    "norm": ["MAX", "L1", "L2"],
    "aggregate_function": ["SUM", "AVERAGE", "MIN", "MAX"],
    "post_transform": ["NONE", "SOFTMAX", "LOGISTIC"],
}

# ONNX Runtime has no kernels for operator versions that were replaced before this opset.
FIRST_OPSET = 7

KIND = defs.OpSchema.AttrType
AS_ATTRIBUTE = {KIND.INT: int, KIND.INTS: int, KIND.FLOAT: float, KIND.FLOATS: float}
LISTS = {KIND.INTS, KIND.FLOATS}


def schema_of(node, model):
    domain = "" if node.domain in ONNX else node.domain
    for opset in model.opset_import:
        if ("" if opset.domain in ONNX else opset.domain) == domain:
            try:
                return defs.get_schema(node.op_type, opset.version, domain)
            except defs.SchemaError:
                return None
    return None


def attribute_bends(model):
    """One attribute of one node has another value or is missing."""
    for at, node in enumerate(model.graph.node):
        schema = schema_of(node, model)
        if schema is None or node.op_type == "Constant":
            continue
        for name in sorted(schema.attributes):
            if name in LEFT_ALONE:
                continue
            present = next((attribute for attribute in node.attribute if attribute.name == name), None)
            for value in bent_values(node, name, schema.attributes[name].type, present):
                yield bend_attribute(model, at, name, value)


def bent_values(node, name, kind, present):
    values = [] if present is None else [None]
    if kind == KIND.INT:
        values += [0, 1, -1, 2]
    elif kind == KIND.INTS:
        values += bent_lists(list(present.ints) if present else [])
    elif kind == KIND.STRING and name in STRINGS:
        known = STRINGS[name]
        values += known.get(node.op_type, []) if isinstance(known, dict) else known
    return values


def bent_lists(present):
    lists = [[0], [1], [-1], [0, 1], [1, 0], [1, 0, 2], [0, 2, 1], [2, 1, 0], [0, 1, 3, 2]]
    if present:
        lists += [
            present[::-1],
            [0] * len(present),
            [0, *present[1:]],
            [1, *present[1:]],
            [present[0] + 1, *present[1:]],
        ]
    return [bent for bent in lists if bent != present]


def bend_attribute(model, at, name, value):
    bent = onnx.ModelProto()
    bent.CopyFrom(model)
    node = bent.graph.node[at]
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))
    place = "" if len(bent.graph.node) == 1 else f"{node.op_type}[{at}]."
    return f"{place}{name}={'default' if value is None else str(value).replace(' ', '')}", bent


def constant_bends(model):
    """One small integer constant (a shape, axes, indices or pads) has another value."""
    places = [("initializer", at, tensor) for at, tensor in enumerate(model.graph.initializer)]
    for at, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            places += [("node", at, held.t) for held in node.attribute if held.name == "value"]
    for where, at, tensor in places:
        array = numpy_helper.to_array(tensor)
        if array.dtype not in (np.int32, np.int64) or not 0 < array.size <= 16:
            continue
        for values in bent_arrays(array):
            yield bend_constant(model, where, at, values)


def bent_arrays(array):
    flat = array.reshape(-1)
    for first in (0, 1, -1, 2, np.iinfo(np.int32).max):
        bent = flat.copy()
        bent[0] = first
        yield bent.reshape(array.shape)
    for bent in (flat[::-1], np.zeros_like(flat), flat + 1, -flat, np.full_like(flat, -1)):
        yield bent.reshape(array.shape)
    if array.ndim == 1 and array.size > 1:
        yield flat[1:]
        yield flat[:1]
    if array.ndim == 1:
        yield np.concatenate([flat[:0] + 0, np.array([0], array.dtype), flat])


def bend_constant(model, where, at, values):
    bent = onnx.ModelProto()
    bent.CopyFrom(model)
    if where == "initializer":
        tensor, name = bent.graph.initializer[at], bent.graph.initializer[at].name
    else:
        node = bent.graph.node[at]
        tensor, name = next(held.t for held in node.attribute if held.name == "value"), node.output[0]
    kept = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values)))
    tensor.name = kept
    return f"{name}:={str(values.tolist()).replace(' ', '')}", bent


def opset_bends(model, recorded, as_array):
    """Yields (name, (model, inputs that became attributes)) for each other version of the model's operators."""
    for domain, version in sorted(other_versions(model)):
        bent = onnx.ModelProto()
        bent.CopyFrom(model)
        for opset in bent.opset_import:
            if ("" if opset.domain in ONNX else opset.domain) == domain:
                opset.version = version
        moved = set()
        for node, before in zip(bent.graph.node, model.graph.node):
            old, new = schema_of(node, bent), schema_of(before, model)
            if old is None or new is None or old.since_version == new.since_version:
                continue
            moved |= move_inputs(node, old, new, {name: as_array(value) for name, value in recorded.items()})
            kept = [attribute for attribute in node.attribute if attribute.name in old.attributes]
            del node.attribute[:]
            node.attribute.extend(kept)
            # Up to opset 6, broadcasting is off unless this attribute turns it on.
            if "broadcast" in old.attributes and "broadcast" not in new.attributes:
                node.attribute.append(helper.make_attribute("broadcast", 1))
        yield f"opset={version}", (bent, frozenset(moved))


def other_versions(model):
    """The last opset of each version of each operator, except the versions that the model uses."""
    own = {("" if opset.domain in ONNX else opset.domain): opset.version for opset in model.opset_import}
    found = set()
    for node in model.graph.node:
        domain = "" if node.domain in ONNX else node.domain
        versions = sorted(HISTORY.get((domain, node.op_type), []))
        for at, since in enumerate(versions):
            last = versions[at + 1] - 1 if at + 1 < len(versions) else max(since, own.get(domain, since))
            if domain == "" and last > NEWEST_OPSET:
                continue
            if domain == "" and last < FIRST_OPSET:
                continue
            if domain in own and not since <= own[domain] <= last:
                found.add((domain, last))
    return found


def history():
    versions = {}
    for schema in defs.get_all_schemas_with_history():
        versions.setdefault((schema.domain, schema.name), set()).add(schema.since_version)
    return versions


HISTORY = history()


def move_inputs(node, old, new, recorded):
    """Converts inputs to attributes with the recorded values if the older operator has attributes, such as the axes of
    Squeeze before opset 13. Returns their names.
    """
    attributes = {name.lower(): name for name in old.attributes}
    older_inputs = {given.name.lower() for given in old.inputs}
    moved = set()
    for at, name in enumerate(node.input):
        formal = new.inputs[min(at, len(new.inputs) - 1)].name.lower()
        if formal in older_inputs or formal not in attributes or name not in recorded:
            continue
        value = recorded[name]
        kind = old.attributes[attributes[formal]].type
        if kind not in AS_ATTRIBUTE or (value.size == 0 and kind not in LISTS):
            continue
        plain = [AS_ATTRIBUTE[kind](element) for element in value.reshape(-1).tolist()]
        held = plain if kind in LISTS else plain[0]
        node.attribute.append(helper.make_attribute(attributes[formal], held, attr_type=int(kind)))
        node.input[at] = ""
        moved.add(name)
    while len(node.input) > 0 and node.input[-1] == "":
        node.input.pop()
    return moved
