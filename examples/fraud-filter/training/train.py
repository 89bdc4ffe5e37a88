#!/usr/bin/env python3
"""Trains the fraud score on synthetic payments, and reproduces the committed files byte for byte.

    python3.11 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

held-out.json contains 200 payments not used for training, with scikit-learn's scores. With --check, writes
nothing and exits with 1 if a file would differ.
"""

import argparse
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

# Set before the import; otherwise, ONNX Runtime writes a device id into the user's cache folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier

HERE = Path(__file__).resolve().parent
SEED = 42
PAYMENTS = 20_000
HELD_OUT = 5_000
SHOWN = 200
THRESHOLD = 0.9

EXPECTED_DECIMALS = 7
TOLERANCE = 1e-5

# The features in the model's order. transform.ts computes them from the fields of a payment.
FEATURES = ["amount", "abroad", "hour", "new device", "attempts in the last hour", "account age in days"]
COUNTRIES = ["CH", "DE", "FR", "GB", "US"]


def payments(random):
    count = PAYMENTS
    amount = np.exp(random.normal(3.6, 1.1, count)).round(2)
    card = random.integers(len(COUNTRIES), size=count)
    merchant = np.where(random.random(count) < 0.85, card, random.integers(len(COUNTRIES), size=count))
    hour = random.integers(24, size=count)
    minute = random.integers(60, size=count)
    new_device = random.random(count) < 0.12
    attempts = random.poisson(np.where(random.random(count) < 0.06, 5, 0.4))
    age = random.integers(0, 2000, size=count)
    evidence = (
        1.3 * (np.log(amount) - 4.5)
        + 2.2 * (card != merchant)
        + 1.4 * (hour < 6)
        + 2.0 * new_device
        + 0.9 * attempts
        - 1.2 * (age > 365)
        - 3.6
    )
    # Because of the logistic noise, only one of two payments with the same evidence may be fraud.
    fraud = evidence + 0.25 * random.logistic(size=count) > 0
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    fields = [
        {
            "id": f"p-{i}",
            "amount": float(amount[i]),
            "currency": "EUR",
            "cardCountry": COUNTRIES[card[i]],
            "merchantCountry": COUNTRIES[merchant[i]],
            "time": (start + timedelta(days=i % 365, hours=int(hour[i]), minutes=int(minute[i]))).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            "newDevice": bool(new_device[i]),
            "attemptsLastHour": int(attempts[i]),
            "accountAgeDays": int(age[i]),
        }
        for i in range(count)
    ]
    rows = np.column_stack([amount, card != merchant, hour, new_device, attempts, age])
    return fields, rows.astype(np.float32), fraud


def export(classifier):
    """The probabilities are the only output."""
    converted = to_onnx(
        classifier,
        initial_types=[("features", FloatTensorType([None, len(FEATURES)]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    opsets = {opset.domain: opset.version for opset in converted.opset_import}
    tensor = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            converted.graph.node,
            "fraud",
            [tensor("features", onnx.TensorProto.FLOAT, ["batch", len(FEATURES)])],
            [tensor("probabilities", onnx.TensorProto.FLOAT, ["batch", 2])],
            initializer=converted.graph.initializer,
        ),
        opset_imports=[onnx.helper.make_opsetid(*pair) for pair in sorted(opsets.items())],
        ir_version=8,
        producer_name=converted.producer_name,
        producer_version=converted.producer_version,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def compare(classifier, onnx_bytes, rows):
    """Returns scikit-learn's scores. Exits if ONNX Runtime's differ."""
    expected = classifier.predict_proba(rows)[:, 1]
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"features": rows})
    difference = float(np.abs(probabilities[:, 1] - expected).max())
    print(f"{len(rows)} payments: scores within {difference:.2g}")
    if difference > TOLERANCE:
        sys.exit(f"ONNX Runtime and scikit-learn disagree (tolerance {TOLERANCE})")
    return expected


def files():
    fields, rows, fraud = payments(np.random.default_rng(SEED))
    training = slice(0, PAYMENTS - HELD_OUT)
    held_out = slice(PAYMENTS - HELD_OUT, PAYMENTS)
    classifier = GradientBoostingClassifier(n_estimators=80, max_depth=3, random_state=SEED)
    classifier.fit(rows[training], fraud[training])
    onnx_bytes = export(classifier)
    scores = compare(classifier, onnx_bytes, rows[held_out])
    passed_on = scores >= THRESHOLD
    right = round(float(fraud[held_out][passed_on].mean()), 3)
    found = round(float(passed_on[fraud[held_out]].mean()), 3)
    print(
        f"share of fraud {fraud.mean():.3f}; share of scores of at least {THRESHOLD}: {passed_on.mean():.3f}, "
        f"with precision {right} and recall {found}"
    )

    description = {
        "name": "fraud",
        "version": "1",
        "description": f"Gradient boosting, 80 trees at most 3 deep, on {PAYMENTS - HELD_OUT} made-up payments. Of {HELD_OUT} held out, "
        f"{int(passed_on.sum())} score {THRESHOLD} or more; {right:.1%} of these are fraud, and they are {found:.1%} of all fraud.",
        "labels": ["genuine", "fraud"],
        "features": FEATURES,
        "sample": {"features": [[42.5, 0, 14, 0, 0, 800]]},
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in description.items())
    answers = ",\n".join(
        json.dumps({"payment": payment, "score": round(float(score), EXPECTED_DECIMALS)})
        for payment, score in zip(fields[held_out][:SHOWN], scores[:SHOWN])
    )
    return {
        HERE.parent / "model" / "model.onnx": onnx_bytes,
        HERE.parent / "model" / "model.json": f"{{\n{lines}\n}}\n".encode(),
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
