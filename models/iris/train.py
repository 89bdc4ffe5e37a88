#!/usr/bin/env python3
"""Trains both versions of the iris classifier, and reproduces the committed files byte for byte.

    python3.11 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

With --check, trains into a temporary folder and exits with 1 if a file differs.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

# Set before the import; otherwise, ONNX Runtime writes a device id into the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
NAME = "iris-classifier"
SEED = 42
HELD_OUT_ROWS = 45
FEATURES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
SAMPLE = [5.1, 3.5, 1.4, 0.2]

# ONNX Runtime computes in FP32, scikit-learn in FP64.
TOLERANCE = 1e-6

# Beyond six decimals, fitted numbers, and so the bytes of the model, depend on the CPU's linear
# algebra.
PARAMETER_DECIMALS = 6
EXPECTED_DECIMALS = 9


def logistic_regression(rows, labels):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=10_000))
    pipeline.fit(rows, labels)
    scaler, regression = pipeline[0], pipeline[1]
    for step, parameters in ((scaler, ("mean_", "scale_")), (regression, ("coef_", "intercept_"))):
        for parameter in parameters:
            setattr(step, parameter, getattr(step, parameter).round(PARAMETER_DECIMALS))
    return pipeline


def random_forest(rows, labels):
    return RandomForestClassifier(n_estimators=25, max_depth=4, random_state=SEED).fit(rows, labels)


VERSIONS = {
    "v1.0.0": ("Logistic regression on standardised measurements", logistic_regression),
    "v2.0.0": ("Random forest of 25 trees, at most 4 deep", random_forest),
}


def iris():
    """All 150 rows as FP32 values, as in requests, and their labels as text."""
    dataset = load_iris()
    return dataset.data.astype(np.float32), dataset.target_names[dataset.target].astype(object)


def export(classifier):
    """Uses the names that clients use. The bytes do not vary between runs."""
    converted = to_onnx(
        classifier,
        initial_types=[("input", FloatTensorType([None, 4]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    graph = converted.graph
    label, probabilities = (output.name for output in graph.output)
    opsets = {opset.domain: opset.version for opset in converted.opset_import}
    names = {probabilities: "probabilities", label: "predicted_class"}
    nodes = []
    for node in graph.node:
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.doc_string = ""
        renamed.input[:] = [names.get(name, name) for name in node.input]
        renamed.output[:] = [names.get(name, name) for name in node.output]
        nodes.append(renamed)

    tensor = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            NAME,
            [tensor("input", onnx.TensorProto.FLOAT, ["batch", 4])],
            [
                tensor("probabilities", onnx.TensorProto.FLOAT, ["batch", 3]),
                tensor("predicted_class", onnx.TensorProto.STRING, ["batch"]),
            ],
            initializer=graph.initializer,
        ),
        # skl2onnx lists a domain once for each converter that requires it.
        opset_imports=[onnx.helper.make_opsetid(*pair) for pair in sorted(opsets.items())],
        ir_version=8,
        producer_name=converted.producer_name,
        producer_version=converted.producer_version,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def compare(version, classifier, onnx_bytes, rows):
    """Returns scikit-learn's probabilities and labels. Exits if ONNX Runtime's differ."""
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])

    def run(batch):
        return session.run(["probabilities", "predicted_class"], {"input": batch})

    expected_probabilities = classifier.predict_proba(rows.astype(np.float64))
    expected_labels = classifier.predict(rows.astype(np.float64))
    probabilities, labels = run(rows)
    difference = float(np.abs(probabilities - expected_probabilities).max())
    disagree = int((labels != expected_labels).sum())
    print(f"{version}: {len(rows)} rows, {disagree} labels differ, probabilities within {difference:.2g}")
    if disagree or difference > TOLERANCE:
        sys.exit(f"{version}: ONNX Runtime and scikit-learn disagree (tolerance {TOLERANCE})")

    empty = [list(output.shape) for output in run(np.zeros((0, 4), np.float32))]
    if empty != [[0, 3], [0]]:
        sys.exit(f"{version}: an empty batch gives shapes {empty}, expected [[0, 3], [0]]")
    return expected_probabilities, expected_labels


def lines(items, indent):
    return ",\n".join(" " * indent + json.dumps(item) for item in items)


def expected_json(rows, species, answers):
    """One row per line, so that a diff shows the changed rows."""
    versions = ",\n".join(
        f'    "{version}": {{\n'
        f'      "probabilities": [\n{lines(probabilities.round(EXPECTED_DECIMALS).tolist(), 8)}\n      ],\n'
        f'      "predicted_class": [\n{lines(labels, 8)}\n      ]\n'
        "    }"
        for version, (probabilities, labels) in answers.items()
    )
    # str() of a float32 is the shortest decimal number that rounds to the same float32.
    inputs = [[float(str(value)) for value in row] for row in rows]
    return (
        "{\n"
        '  "about": "scikit-learn\'s own answers for all 150 rows, written by train.py",\n'
        f'  "tolerance": {TOLERANCE},\n'
        f'  "input": [\n{lines(inputs, 4)}\n  ],\n'
        f'  "species": [\n{lines(species, 4)}\n  ],\n'
        f'  "versions": {{\n{versions}\n  }}\n'
        "}\n"
    )


def write(folder):
    rows, species = iris()
    training, held_out, training_species, held_out_species = train_test_split(
        rows, species, test_size=HELD_OUT_ROWS, stratify=species, random_state=SEED
    )
    answers = {}
    for version, (kind, fit) in VERSIONS.items():
        classifier = fit(training.astype(np.float64), training_species)
        accuracy = round(float(classifier.score(held_out.astype(np.float64), held_out_species)), 4)
        print(f"{version}: accuracy {accuracy} on {len(held_out)} held-out rows")
        onnx_bytes = export(classifier)
        answers[version] = compare(version, classifier, onnx_bytes, rows)

        target = folder / version
        target.mkdir(parents=True, exist_ok=True)
        (target / "model.onnx").write_bytes(onnx_bytes)
        description = {
            "name": NAME,
            "version": version,
            "description": f"{kind}. Trained on {len(training)} of the 150 rows of Fisher's iris data "
            f"(scikit-learn's load_iris; stratified split, seed {SEED}); accuracy {accuracy} on the "
            f"{len(held_out)} rows held out. Input: sepal length, sepal width, petal length, petal width in cm.",
            "labels": list(classifier.classes_),
            "features": load_iris().feature_names,
            "features": FEATURES,
            "accuracy": accuracy,
            "sample": {"input": [SAMPLE]},
        }
        fields = ",\n".join(f"  {json.dumps(field)}: {json.dumps(value)}" for field, value in description.items())
        (target / "model.json").write_text(f"{{\n{fields}\n}}\n")
    (folder / "expected.json").write_text(expected_json(rows, species, answers))


def check():
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        write(fresh)
        files = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
        differ = [
            str(file)
            for file in files
            if not (HERE / file).exists() or (HERE / file).read_bytes() != (fresh / file).read_bytes()
        ]
    if differ:
        sys.exit(f"files that differ from the committed files: {', '.join(differ)}")
    print(f"{len(files)} files equal the committed files byte for byte")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check() if arguments.parse_args().check else write(HERE)
