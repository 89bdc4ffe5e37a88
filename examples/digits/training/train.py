#!/usr/bin/env python3
"""Trains the digit classifier and reproduces the committed files byte for byte.

    python3.11 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

held-out.json contains the 450 pictures not used for training, with Python's predictions. With --check,
writes nothing and exits with 1 if a file would differ.
"""

import argparse
import base64
import json
import os
import struct
import sys
import zlib
from pathlib import Path

# Set before the import; otherwise, ONNX Runtime writes a device id into the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED = 42
HELD_OUT = 450
SIDE = 8

# Beyond six decimals, fitted numbers depend on how the CPU computes linear algebra.
PARAMETER_DECIMALS = 6
EXPECTED_DECIMALS = 7
TOLERANCE = 1e-5


def pictures():
    """All 1,797 pictures with one byte per pixel, white on black, and their digits."""
    dataset = load_digits()
    return np.rint(dataset.images * (255 / 16)).astype(np.uint8), dataset.target


def png(pixels):
    """Independent of the decoder that the tests check."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def train(images, digits):
    rows = images.reshape(-1, SIDE * SIDE) / 255
    classifier = LogisticRegression(C=3, solver="newton-cholesky", tol=1e-10).fit(rows, digits)
    for parameter in ("coef_", "intercept_"):
        setattr(classifier, parameter, getattr(classifier, parameter).round(PARAMETER_DECIMALS))
    return classifier


def export(classifier):
    """pixels [batch, 8, 8] → Flatten → Gemm → Softmax → probabilities, and ArgMax → digit."""
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["row"], axis=1),
            helper.make_node("Gemm", ["row", "weights", "bias"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["digit"], axis=1, keepdims=0),
        ],
        "digits",
        [tensor("pixels", TensorProto.FLOAT, ["batch", SIDE, SIDE])],
        [
            tensor("digit", TensorProto.INT64, ["batch"]),
            tensor("probabilities", TensorProto.FLOAT, ["batch", 10]),
        ],
        initializer=[
            numpy_helper.from_array(classifier.coef_.T.astype(np.float32), "weights"),
            numpy_helper.from_array(classifier.intercept_.astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def compare(classifier, onnx_bytes, images):
    """Returns scikit-learn's probabilities. Exits if ONNX Runtime's differ."""
    expected = classifier.predict_proba(images.reshape(len(images), -1) / 255)
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    digit, probabilities = session.run(None, {"pixels": (images / 255).astype(np.float32)})
    difference = float(np.abs(probabilities - expected).max())
    disagree = int((digit != expected.argmax(axis=1)).sum())
    print(f"{len(images)} pictures: {disagree} digits differ, probabilities within {difference:.2g}")
    if disagree or difference > TOLERANCE:
        sys.exit(f"ONNX Runtime and scikit-learn disagree (tolerance {TOLERANCE})")
    return expected


def files():
    images, digits = pictures()
    training, held_out, training_digits, held_out_digits = train_test_split(
        images, digits, test_size=HELD_OUT, stratify=digits, random_state=SEED
    )
    classifier = train(training, training_digits)
    onnx_bytes = export(classifier)
    expected = compare(classifier, onnx_bytes, held_out)
    accuracy = round(float((expected.argmax(axis=1) == held_out_digits).mean()), 4)
    print(f"accuracy {accuracy} on {len(held_out)} held-out pictures")

    description = {
        "name": "digits",
        "version": "1",
        "description": f"Softmax regression on 8 × 8 pictures of handwritten digits, white on black. Trained on {len(training)} "
        f"of scikit-learn's 1,797 (load_digits; stratified split, seed {SEED}); accuracy {accuracy} on the {len(held_out)} held out.",
        "labels": [str(digit) for digit in range(10)],
        "sample": {"pixels": [(held_out[1] / 255).round(4).tolist()]},
    }
    fields = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in description.items()
    )
    answers = ",\n".join(
        json.dumps(
            {
                "png": base64.b64encode(png(image)).decode(),
                "written": int(digit),
                "probabilities": probabilities.round(EXPECTED_DECIMALS).tolist(),
            }
        )
        for image, digit, probabilities in zip(held_out, held_out_digits, expected)
    )
    return {
        HERE.parent / "model" / "model.onnx": onnx_bytes,
        HERE.parent / "model" / "model.json": f"{{\n{fields}\n}}\n".encode(),
        HERE.parent / "digit.png": png(held_out[1]),
        HERE / "held-out.json": f"[\n{answers}\n]\n".encode(),
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = arguments.parse_args().check
    for path, content in files().items():
        if not check:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            sys.exit(f"{path.relative_to(HERE.parent)} differs from the committed file")
