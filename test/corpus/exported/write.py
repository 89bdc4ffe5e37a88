"""Writes the graphs of exported models, without their weights, to test/models/graphs.

    node python.ts exported/write.py [--whole FOLDER] [NAME ...]

With --whole, also writes the complete models to FOLDER/NAME/model.onnx.
"""

import argparse
import importlib
import pathlib

import without_weights

EXPORTERS = ["sklearn_models", "boosting_models", "torch_models", "keras_models", "quantized_models"]
GRAPHS = pathlib.Path(__file__).resolve().parents[2] / "models" / "graphs"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--whole", type=pathlib.Path)
    options = parser.parse_args()
    makers = {}
    for exporter in EXPORTERS:
        makers.update(importlib.import_module(exporter).MODELS)
    unknown = set(options.names) - set(makers)
    if unknown:
        parser.error(f"unknown model: {', '.join(sorted(unknown))}; allowed: {', '.join(makers)}")
    GRAPHS.mkdir(exist_ok=True)
    for name in options.names or makers:
        model = makers[name]()
        if options.whole:
            folder = options.whole / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(model.SerializeToString())
        graph = without_weights.strip(model).SerializeToString()
        (GRAPHS / f"{name}.onnx").write_bytes(graph)
        print(name, len(graph), flush=True)


if __name__ == "__main__":
    main()
