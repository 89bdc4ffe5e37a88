"""Writes a client's results as JSON to standard output: values, or the client's own errors."""

import json
import sys
from importlib.metadata import version

import numpy as np


class Observations(dict):
    def see(self, name, look):
        try:
            self[name] = plain(look())
        except Exception as error:
            self[name] = {"error": f"{type(error).__name__}: {error}"}

    def tell(self, *packages):
        self["versions"] = {package: version(package) for package in packages}
        json.dump(self, sys.stdout, allow_nan=False)


def plain(value):
    """Integers beyond 2^53 become strings."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(held) for held in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value
