#!/usr/bin/env python3
"""Writes the model slow-500: test/models/slow with eight times as many iterations, about 500 ms per run.

    python3.11 -m venv .venv && .venv/bin/pip install -r ../../test/models/requirements.txt && .venv/bin/python make_slow.py
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "test" / "models"))

import generate as test_models  # noqa: E402
import numpy as np  # noqa: E402

ROUNDS = 480_000

model = test_models.slow()
rounds = next(value for value in model.graph.initializer if value.name == "rounds")
rounds.CopyFrom(test_models.constant("rounds", np.array(ROUNDS, np.int64)))

folder = HERE / "slow-500"
folder.mkdir(exist_ok=True)
(folder / "model.onnx").write_bytes(test_models.onnx_bytes(model))
(folder / "model.json").write_text(
    json.dumps({"name": "slow-500", "version": "1", "sample": {"x": [[0, 0]]}}) + "\n"
)
