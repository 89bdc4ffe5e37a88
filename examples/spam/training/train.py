#!/usr/bin/env python3
"""Trains the spam classifier on spam.txt and ham.txt, and reproduces the committed files byte for byte.

    python3.11 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

held-out.json contains the 60 messages not used for training, with scikit-learn's predictions. With --check,
writes nothing and exits with 1 if a file would differ.
"""

import argparse
import json
import os
import sys
from pathlib import Path

# Set before the import; otherwise, ONNX Runtime writes a device id into the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

HERE = Path(__file__).resolve().parent
SEED = 42
HELD_OUT = 60

# ONNX's Tokenizer does not support word boundaries (\b). Both libraries interpret this expression the same way.
WORDS = "[a-zA-Z0-9]+"

# Beyond six decimals, fitted numbers depend on how the CPU computes linear algebra.
PARAMETER_DECIMALS = 6
EXPECTED_DECIMALS = 7
TOLERANCE = 1e-5


def messages():
    texts, labels = [], []
    for label in ("ham", "spam"):
        lines = (HERE / f"{label}.txt").read_text().splitlines()
        texts += lines
        labels += [label] * len(lines)
    return np.array(texts, dtype=object), np.array(labels, dtype=object)


def train(texts, labels):
    pipeline = make_pipeline(
        TfidfVectorizer(token_pattern=WORDS),
        LogisticRegression(C=10, solver="newton-cholesky", tol=1e-10),
    ).fit(texts, labels)
    for step, parameter in ((0, "idf_"), (1, "coef_"), (1, "intercept_")):
        setattr(pipeline[step], parameter, getattr(pipeline[step], parameter).round(PARAMETER_DECIMALS))
    return pipeline


def export(pipeline):
    """Exports the complete pipeline, from text to label."""
    converted = to_onnx(
        pipeline,
        initial_types=[("text", StringTensorType([None, 1]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    opsets = {opset.domain: opset.version for opset in converted.opset_import}
    tensor = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            converted.graph.node,
            "spam",
            [tensor("text", onnx.TensorProto.STRING, ["batch", 1])],
            [
                tensor("label", onnx.TensorProto.STRING, ["batch"]),
                tensor("probabilities", onnx.TensorProto.FLOAT, ["batch", 2]),
            ],
            initializer=converted.graph.initializer,
        ),
        opset_imports=[onnx.helper.make_opsetid(*pair) for pair in sorted(opsets.items())],
        ir_version=8,
        producer_name=converted.producer_name,
        producer_version=converted.producer_version,
    )
    return model.SerializeToString(deterministic=True)


def compare(pipeline, onnx_bytes, texts):
    """Returns scikit-learn's probabilities. Exits if ONNX Runtime's differ."""
    expected = pipeline.predict_proba(texts)
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"text": texts.reshape(-1, 1)})
    difference = float(np.abs(probabilities - expected).max())
    disagree = int((label != pipeline.predict(texts)).sum())
    print(f"{len(texts)} messages: {disagree} labels differ, probabilities within {difference:.2g}")
    if disagree or difference > TOLERANCE:
        sys.exit(f"ONNX Runtime and scikit-learn disagree (tolerance {TOLERANCE})")
    return expected


def files():
    texts, labels = messages()
    training, held_out, training_labels, held_out_labels = train_test_split(
        texts, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED
    )
    pipeline = train(training, training_labels)
    onnx_bytes = export(pipeline)
    compare(pipeline, onnx_bytes, texts)
    expected = pipeline.predict_proba(held_out)
    accuracy = round(float(pipeline.score(held_out, held_out_labels)), 4)
    print(f"accuracy {accuracy} on {len(held_out)} held-out messages")

    description = {
        "name": "spam",
        "version": "1",
        "description": f"Logistic regression on TF-IDF of words. Trained on {len(training)} of {len(texts)} English messages "
        f"written for this example (stratified split, seed {SEED}); accuracy {accuracy} on the {len(held_out)} held out.",
        "labels": list(pipeline.classes_),
        "sample": {"text": [["You have won a free holiday. Click here to claim your prize."]]},
    }
    fields = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in description.items())
    answers = ",\n".join(
        json.dumps(
            {
                "text": text,
                "written": label,
                "label": predicted,
                "spam": round(float(probabilities[1]), EXPECTED_DECIMALS),
            }
        )
        for text, label, predicted, probabilities in zip(held_out, held_out_labels, pipeline.predict(held_out), expected)
    )
    return {
        HERE.parent / "model" / "model.onnx": onnx_bytes,
        HERE.parent / "model" / "model.json": f"{{\n{fields}\n}}\n".encode(),
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
