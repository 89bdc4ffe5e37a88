"""Writes the models, the inputs and the expected outputs for serve.ts: python record.py FOLDER [--only REGEX]

FOLDER/KIND/NAME contains model.onnx and case.json: the inputs, the outputs and their tolerance, or why ONNX Runtime
itself fails or returns other outputs than the recorded ones.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import sys

import numpy as np
import onnxruntime

import real
from cases import SENDABLE, all_cases, as_array, as_json, as_known, datatype_of, names, older_cases

# The limits of one run, because a model that reads an input value as a size could use any amount of memory and time.
SECONDS, BYTES = 60, 4 << 30

NO_TENSOR = "an input or an output is not a tensor"
NO_DATATYPE = "the protocol lacks the datatype"
NOT_LOADED = "ONNX Runtime cannot load the model"
NOT_RUN = "ONNX Runtime cannot run the model"
NOT_ENDED = f"a run in ONNX Runtime needs more than {SECONDS} s or {BYTES >> 30} GiB"
DIFFERS = "the output of ONNX Runtime differs from the recorded output"


class Refused(Exception):
    """Why a model is not served, and ONNX Runtime's error or the name of a tensor."""


def check_types(model):
    values = [value for value in model.graph.input if value.name in names(model)]
    for value in [*values, *model.graph.output]:
        if not value.type.HasField("tensor_type"):
            raise Refused(NO_TENSOR, value.name)
        if value.type.tensor_type.elem_type not in SENDABLE:
            raise Refused(NO_DATATYPE, value.name)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Refused(NOT_LOADED, str(error)) from None
    try:
        answers = session.run(None, feeds)
    except Exception as error:
        raise Refused(NOT_RUN, str(error)) from None
    return {output.name: answer for output, answer in zip(session.get_outputs(), answers)}


def is_close(answer, expected, tolerance):
    if answer.shape != expected.shape or datatype_of(answer) != datatype_of(expected):
        return False
    if answer.dtype.kind != "f":
        return np.array_equal(answer.astype(expected.dtype), expected)
    rtol, atol = tolerance
    return np.allclose(answer, expected, rtol, atol, equal_nan=True)


def backend_case(case):
    check_types(case.model)
    if any(value is None for value in [*case.recorded.values(), *case.outputs]):
        raise Refused(NO_TENSOR, "a value is missing")
    feeds = {name: as_array(value) for name, value in case.recorded.items()}
    expected = dict(zip((value.name for value in case.model.graph.output), map(as_array, case.outputs)))
    model = as_known(case.model)
    answers = run(model, feeds)
    for name, value in expected.items():
        if not is_close(answers[name], value, case.tolerance):
            raise Refused(DIFFERS, name)
    return model, feeds, expected, case.tolerance


def real_case(case):
    """A real model has no recorded outputs, so the outputs of ONNX Runtime for Python are expected.
    """
    model, feeds = case.make()
    return model, feeds, {name: real.as_tensor(answer) for name, answer in run(model, feeds).items()}, (1e-3, 1e-4)


def written(name, value):
    return {"name": name, **as_json(np.asarray(value))}


def write(case, folder):
    try:
        model, feeds, outputs, (rtol, atol) = real_case(case) if case.kind == "real" else backend_case(case)
    except Refused as refused:
        reason, detail = refused.args
        (folder / "case.json").write_text(json.dumps({"reason": reason, "detail": detail}))
        return
    (folder / "model.onnx").write_bytes(model)
    told = {
        "inputs": [written(*feed) for feed in feeds.items()],
        "outputs": [written(*output) for output in outputs.items()],
        "rtol": rtol,
        "atol": atol,
    }
    (folder / "case.json").write_text(json.dumps(told))


def write_apart(case, folder):
    """Records in a separate process, because a limit on memory or time can only kill a complete process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
        signal.alarm(SECONDS)
        try:
            write(case, folder)
            os._exit(0)
        except BaseException as error:
            print(case.kind, case.name, repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        told = {"reason": NOT_ENDED, "detail": signal.Signals(os.WTERMSIG(status)).name}
        (folder / "case.json").write_text(json.dumps(told))
    return status == 0 or os.WIFSIGNALED(status)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", default="", help="a regular expression that KIND/NAME must match")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    chosen = {
        f"{case.kind}/{case.name}": case
        for case in [*all_cases(), *older_cases(), *real.cases()]
        if re.search(options.only, f"{case.kind}/{case.name}")
    }
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = list(pool.map(lambda path: write_apart(chosen[path], options.folder / path), chosen))
    (options.folder / "index.json").write_text(json.dumps(list(chosen)))
    sys.exit(0 if all(ended) else "some cases could not be recorded; their names are above")


if __name__ == "__main__":
    main()
