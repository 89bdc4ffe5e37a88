"""Removes the weights from a model, and keeps everything that the prover reads."""

from onnx import AttributeProto, TensorProto

# Larger values become external data in a missing file: the prover does not open external data.
MOST_BYTES = 1_024

# Trees and support vectors are weights in attributes. Only their first values are kept.
MOST_NUMBERS = 8
WHOLE = {"classlabels_int64s", "classlabels_ints", "cats_int64s"}

VALUES = ["raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"]
BYTES_EACH = {"raw_data": 1, "float_data": 4, "int32_data": 4}


def strip(model):
    model.doc_string = ""
    del model.metadata_props[:]
    _strip_graph(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.value_info[:]
        _strip_nodes(function.node)
    return model


def _strip_graph(graph):
    graph.doc_string = ""
    # The prover reads only the types of inputs and outputs.
    del graph.value_info[:]
    for value in [*graph.input, *graph.output]:
        del value.metadata_props[:]
    for tensor in graph.initializer:
        _strip_tensor(tensor)
    _strip_nodes(graph.node)


def _strip_nodes(nodes):
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _strip_tensor(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                _strip_graph(attribute.g)
            elif node.domain == "ai.onnx.ml" and attribute.name not in WHOLE:
                _shorten(attribute)


def _shorten(attribute):
    del attribute.floats[MOST_NUMBERS:]
    del attribute.ints[MOST_NUMBERS:]
    # The prover's rules read all strings (vocabularies and class labels) except the modes of tree nodes.
    if attribute.name == "nodes_modes":
        del attribute.strings[MOST_NUMBERS:]


def _strip_tensor(tensor):
    size = max(BYTES_EACH.get(field, 8) * len(getattr(tensor, field)) for field in VALUES)
    if size <= MOST_BYTES:
        return
    for field in VALUES:
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="left-out")
