"""Exports LightGBM and XGBoost models, and a scikit-learn pipeline with LightGBM, with onnxmltools; CatBoost exports
its own models.
"""

import pathlib
import tempfile

import catboost
import lightgbm
import numpy as np
import onnx
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType as PipelineFloat
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, Y = load_iris(return_X_y=True)
TYPES = [("X", FloatTensorType([None, 4]))]
LIGHT = {"n_estimators": 5, "max_depth": 3, "verbose": -1}
EXTREME = {"n_estimators": 5, "max_depth": 3}
CAT = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False}


def _lightgbm(model, rows=150, **options):
    return onnxmltools.convert_lightgbm(model.fit(X[:rows], Y[:rows]), initial_types=TYPES, **options)


def _lightgbm_in_pipeline():
    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    pipeline = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**LIGHT)).fit(X, Y)
    return to_onnx(
        pipeline,
        initial_types=[("X", PipelineFloat([None, 4]))],
        target_opset={"": 15, "ai.onnx.ml": 3},
        options={id(pipeline): {"zipmap": False}},
    )


def _xgboost(model, rows=150):
    return onnxmltools.convert_xgboost(model.fit(X[:rows], Y[:rows]), initial_types=TYPES)


def _catboost(model, target=Y):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        model.fit(X, target)
        model.save_model(str(path), format="onnx")
        return onnx.load(path)


MODELS = {
    "lightgbm-classes": lambda: _lightgbm(lightgbm.LGBMClassifier(**LIGHT), zipmap=False),
    "lightgbm-binary-zipmap": lambda: _lightgbm(lightgbm.LGBMClassifier(**LIGHT), rows=100),
    "lightgbm-regressor": lambda: _lightgbm(lightgbm.LGBMRegressor(**LIGHT)),
    "lightgbm-split": lambda: _lightgbm(
        lightgbm.LGBMRegressor(n_estimators=20, verbose=-1), split=5
    ),
    "lightgbm-pipeline": _lightgbm_in_pipeline,
    "xgboost-classes": lambda: _xgboost(xgboost.XGBClassifier(**EXTREME)),
    "xgboost-binary": lambda: _xgboost(xgboost.XGBClassifier(**EXTREME), rows=100),
    "xgboost-regressor": lambda: _xgboost(xgboost.XGBRegressor(**EXTREME)),
    "xgboost-forest": lambda: _xgboost(xgboost.XGBRFRegressor(**EXTREME)),
    "catboost-classes": lambda: _catboost(catboost.CatBoostClassifier(**CAT)),
    "catboost-names": lambda: _catboost(
        catboost.CatBoostClassifier(**CAT), np.array(["a", "b", "c"])[Y]
    ),
    "catboost-regressor": lambda: _catboost(catboost.CatBoostRegressor(**CAT)),
}
