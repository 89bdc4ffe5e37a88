"""Writes modified copies of ONNX's backend tests to a folder, on which refute.ts tests the prover.

    python bend.py FOLDER [--only REGEX]

In each copy, dimension 0 is variable, and one property is changed: an attribute, a constant's value, the opset, or
the set of constant inputs. FOLDER/index.jsonl has one line per model, and FOLDER/KIND/CASE/inputs.json a case's
recorded inputs.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import sys
import traceback

import numpy as np
import onnx
from onnx import TensorProto, checker, numpy_helper, shape_inference

import places
from bends import attribute_bends, constant_bends, opset_bends, schema_of
from cases import NEWEST_IR, NEWEST_OPSET, ONNX, SENDABLE, Case, all_cases, as_array, as_json, datatype_of, names

# The number of changes to all cases of one operator, and the least and greatest number for one case, for each choice
# of constant inputs.
BENDS_OF_AN_OPERATOR = 300
LEAST_BENDS, MOST_BENDS = 5, 30

INDEX = "index.jsonl"

# Many runs of a case whose inputs have more elements would take too long.
LARGE = 30_000


def at_known_opset(case):
    """The case at an opset that ONNX Runtime loads; None if its operators have no such opset."""
    if any(opset.domain.startswith("ai.onnx.preview") for opset in case.model.opset_import):
        return None
    if all(opset.domain not in ONNX or opset.version <= NEWEST_OPSET for opset in case.model.opset_import):
        return case
    before = [schema_of(node, case.model) for node in case.model.graph.node]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for opset in model.opset_import:
        if opset.domain in ONNX:
            opset.version = NEWEST_OPSET
    after = [schema_of(node, model) for node in model.graph.node]
    if [known and known.since_version for known in before] == [known and known.since_version for known in after]:
        return Case(case.kind, case.name, model, case.recorded)
    older = [bent for _, (bent, moved) in opset_bends(case.model, case.recorded, as_array) if not moved]
    return Case(case.kind, case.name, older[-1], case.recorded) if older else None


def as_tensor(name, value):
    tensor = TensorProto()
    tensor.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value)))
    tensor.name = name
    return tensor


def is_tensor_case(case):
    typed = {value.name: value.type for value in case.model.graph.input}
    return all(
        typed[name].HasField("tensor_type") and case.recorded.get(name) is not None
        for name in names(case.model)
    )


def has_rows(value):
    if isinstance(value, TensorProto) and value.data_type not in SENDABLE:
        return False
    array = as_array(value)
    return datatype_of(array) is not None and array.ndim > 0 and array.size > 0


def constant_choices(case):
    """Sets of inputs that become initialisers: none, all but the first, each one, and all but one. Each set also contains
    every input without rows.
    """
    given = names(case.model)
    always = {name for name in given if not has_rows(case.recorded[name])}
    rest = [name for name in given if name not in always]
    choices = [set(), set(rest[1:])]
    choices += [{name} for name in rest]
    choices += [set(rest) - {name} for name in rest]
    seen = []
    for choice in choices:
        whole = frozenset(always | choice)
        if whole not in seen and len(whole) < len(given):
            seen.append(whole)
    return seen


def with_constants(model, case, constants):
    bent = onnx.ModelProto()
    bent.CopyFrom(model)
    kept = [value for value in bent.graph.input if value.name not in constants]
    del bent.graph.input[:]
    bent.graph.input.extend(kept)
    used = {name for node in bent.graph.node for name in node.input}
    bent.graph.initializer.extend(
        as_tensor(name, case.recorded[name]) for name in sorted(constants) if name in used
    )
    return bent


def variants(case, most):
    """Yields (labels of the changes, model). The rows are not variable yet."""
    choices = constant_choices(case)
    for place, constants in enumerate(choices):
        label = "constants=" + ",".join(sorted(constants)) if constants else ""
        model = with_constants(case.model, case, constants)
        yield [label], model
        if case.kind == "light":
            continue
        # Attributes and values change only in models in which all inputs, or only the first input, are variable.
        if place < 2:
            for bend, bent in sampled(case, [*attribute_bends(model), *constant_bends(model)], most):
                yield [label, bend], bent
            yield from elsewhere(case, model, label, most)
    if case.kind == "light":
        # Copies for every attribute of hundreds of nodes would exhaust the memory.
        return
    for bend, (older, moved) in opset_bends(case.model, case.recorded, as_array):
        for constants in choices[:2]:
            label = "constants=" + ",".join(sorted(constants)) if constants else ""
            model = with_constants(older, case, constants | moved)
            if not model.graph.input:
                continue
            yield [bend, label], model
            for attribute, bent in sampled(case, attribute_bends(model), most // 3):
                yield [bend, label, attribute], bent


def elsewhere(case, model, label, most):
    for bend, bent in places.moved_models(model):
        yield [label, bend], bent
    parts = places.parts_model(model)
    if parts is not None:
        yield [label, f"rows of {places.PARTS} entries"], parts
    for attribute, bent in sampled(case, attribute_bends(model), most // 5):
        for bend, elsewhere_bent in places.moved_models(bent):
            yield [label, attribute, bend], elsewhere_bent


def sampled(case, bends, most):
    bends = list(bends)
    return bends if len(bends) <= most else random.Random(case.name).sample(bends, most)


def with_variable_rows(model, symbol):
    """Makes dimension 0 of every input and output variable. ONNX infers the other dimensions of the outputs.

    Raises the checker's error if the result is not a valid model.
    """
    bent = onnx.ModelProto()
    bent.CopyFrom(model)
    # The code below removes initialisers from the inputs, where older versions of the format require them.
    bent.ir_version = min(max(bent.ir_version, 4), NEWEST_IR)
    initialised = {tensor.name for tensor in bent.graph.initializer}
    kept = [value for value in bent.graph.input if value.name not in initialised]
    del bent.graph.input[:]
    bent.graph.input.extend(kept)
    del bent.graph.value_info[:]
    for value in bent.graph.input:
        free_rows(value, symbol)
    declared = [len(value.type.tensor_type.shape.dim) for value in bent.graph.output]
    for value in bent.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(bent, check_type=True, strict_mode=True)
    for value, known, rank in zip(bent.graph.output, inferred.graph.output, declared):
        if value.type.HasField("tensor_type"):
            value.CopyFrom(known)
            shape = value.type.tensor_type.shape
            for _ in range(0 if known.type.tensor_type.HasField("shape") else rank):
                shape.dim.add()
            for dim in shape.dim:
                dim.ClearField("dim_param")
            free_rows(value, symbol)
    checker.check_model(bent)
    return bent


def free_rows(value, symbol):
    dims = value.type.tensor_type.shape.dim
    if len(dims) == 0:
        return
    dims[0].Clear()
    if symbol is not None:
        dims[0].dim_param = symbol


def write_inputs(file, recorded):
    tensors = {}
    for name, value in recorded.items():
        if not has_rows(value):
            continue
        array = as_array(value)
        for given, own in places.written(name, array):
            tensors[given] = as_json(own)
    file.write_text(json.dumps(tensors))


def write_case(case, most, folder):
    """Adds a line to the index as soon as each model has been written."""
    target = folder / case.kind / case.name
    target.mkdir(parents=True, exist_ok=True)
    write_inputs(target / "inputs.json", case.recorded)
    is_slow = case.kind == "light" or sum(as_array(value).size for value in case.recorded.values()) > LARGE
    seen = set()
    with open(target / INDEX, "w", buffering=1) as index:
        for labels, model in variants(case, most):
            # The name of a dimension must not count as a proof, so some models have dimensions without names.
            for symbol in ["batch", None] if len(labels) == 1 else ["batch"]:
                bytes_ = encoded(model, symbol)
                if bytes_ is None or bytes_ in seen:
                    continue
                seen.add(bytes_)
                number = f"{len(seen):03d}.onnx"
                (target / number).write_bytes(bytes_)
                line = {
                    "model": f"{case.kind}/{case.name}/{number}",
                    "operator": case.operator,
                    "bend": " ".join(filter(None, [*labels, "" if symbol else "unnamed"])),
                    "slow": is_slow,
                }
                index.write(json.dumps(line) + "\n")


def encoded(model, symbol):
    try:
        return with_variable_rows(model, symbol).SerializeToString(deterministic=True)
    except Exception:
        # The change made the model invalid. The errors of the checker and of shape inference have no common class.
        return None


def write_apart(case, most, folder):
    """Writes a case in a separate process, because some changes make ONNX's shape inference abort. Returns whether the
    process completed.
    """
    child = os.fork()
    if child == 0:
        try:
            write_case(case, most, folder)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return status == 0


def write_all(cases, folder, counts):
    shared = collections.Counter(case.operator for case in cases)

    def write(case):
        share = BENDS_OF_AN_OPERATOR // shared[case.operator]
        return write_apart(case, min(MOST_BENDS, max(LEAST_BENDS, share)), folder)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = list(pool.map(write, cases))
    counts["cases"] = len(cases)
    counts["cases that were interrupted by a crash of ONNX's shape inference"] = ended.count(False)
    with open(folder / INDEX, "w") as index:
        for case in cases:
            lines = (folder / case.kind / case.name / INDEX).read_text().splitlines(keepends=True)
            counts["models"] += len(lines)
            index.writelines(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", default="", help="a regular expression that a case's name must match")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    counts = collections.Counter()
    chosen = []
    for case in all_cases():
        if not re.search(options.only, case.name):
            continue
        known = at_known_opset(case) if is_tensor_case(case) else None
        if known is not None:
            chosen.append(known)
        else:
            newer = is_tensor_case(case)
            counts["cases newer than ONNX Runtime" if newer else "cases with inputs that are not tensors"] += 1
    write_all(chosen, options.folder, counts)
    for name, count in counts.items():
        print(f"{count} {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
