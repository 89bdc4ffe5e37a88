"""Exports scikit-learn estimators and pipelines with skl2onnx."""

import numpy as np
import onnx.helper
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

OPSET = {"": 21, "ai.onnx.ml": 3}
IRIS = load_iris(return_X_y=True)
BINARY = (IRIS[0][:100], IRIS[1][:100])
NAMED = (IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]])
DIABETES = tuple(values[:150] for values in load_diabetes(return_X_y=True))


def _plain(value):
    """onnx 1.23 does not accept the uint32 and bool values of numpy in the trees of scikit-learn 1.9."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    item = value.item() if isinstance(value, np.generic) else value
    return int(item) if isinstance(item, bool) else item


_make_attribute = onnx.helper.make_attribute
onnx.helper.make_attribute = lambda key, value, *rest, **named: _make_attribute(
    key, _plain(value), *rest, **named
)


def _numbers(estimator, data=IRIS, zipmap=False, opset=OPSET):
    features, target = data
    estimator.fit(features.astype(np.float32), target)
    options = {id(estimator): {"zipmap": zipmap}} if hasattr(estimator, "predict_proba") else None
    types = [("X", FloatTensorType([None, features.shape[1]]))]
    return to_onnx(estimator, initial_types=types, target_opset=opset, options=options)


CITIES, KINDS = ["rome", "paris", "berlin", "oslo"], ["new", "used"]


def _people():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.uniform(18, 80, 200),
            "income": rng.uniform(0, 9, 200),
            "city": rng.choice(CITIES, 200),
            "kind": rng.choice(KINDS, 200),
        }
    )


def _columns(encoder, classifier, zipmap=False):
    people = _people()
    numbers = Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())])
    parts = [("numbers", numbers, ["age", "income"]), ("texts", encoder, ["city", "kind"])]
    pipeline = Pipeline([("columns", ColumnTransformer(parts)), ("classifier", classifier)])
    pipeline.fit(people, (people.age > 40) ^ (people.city == "rome"))
    types = [(name, FloatTensorType([None, 1])) for name in ("age", "income")]
    types += [(name, StringTensorType([None, 1])) for name in ("city", "kind")]
    options = {id(pipeline): {"zipmap": zipmap}}
    return to_onnx(pipeline, initial_types=types, target_opset=OPSET, options=options)


def _texts_only():
    people = _people()
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    pipeline = make_pipeline(encoder, LogisticRegression())
    pipeline.fit(people[["city", "kind"]].to_numpy(), people.age > 40)
    return _of_text(pipeline, [None, 2])


DOCUMENTS = [
    "the cat sat on the mat",
    "dogs chase the cat",
    "stocks fall on bad news",
    "markets rise again",
] * 5
TOPICS = [0, 0, 1, 1] * 5


def _text(vectorizer, classifier=None, shape=(None, 1)):
    pipeline = make_pipeline(vectorizer, classifier or LogisticRegression())
    return _of_text(pipeline.fit(DOCUMENTS, TOPICS), list(shape))


def _of_text(pipeline, shape):
    types = [("X", StringTensorType(shape))]
    options = {id(pipeline): {"zipmap": False}}
    return to_onnx(pipeline, initial_types=types, target_opset=OPSET, options=options)


def _text_and_number():
    data = pd.DataFrame({"text": DOCUMENTS, "number": np.arange(20.0)})
    parts = [("text", TfidfVectorizer(), "text"), ("number", StandardScaler(), ["number"])]
    pipeline = Pipeline([("columns", ColumnTransformer(parts)), ("end", LogisticRegression())])
    pipeline.fit(data, TOPICS)
    types = [("text", StringTensorType([None, 1])), ("number", FloatTensorType([None, 1]))]
    options = {id(pipeline): {"zipmap": False}}
    return to_onnx(pipeline, initial_types=types, target_opset=OPSET, options=options)


MODELS = {
    "sk-logreg": lambda: _numbers(make_pipeline(StandardScaler(), LogisticRegression())),
    "sk-logreg-zipmap": lambda: _numbers(LogisticRegression(max_iter=500), zipmap=True),
    "sk-polynomial": lambda: _numbers(make_pipeline(PolynomialFeatures(2), LogisticRegression())),
    "sk-tree": lambda: _numbers(DecisionTreeClassifier()),
    "sk-forest": lambda: _numbers(RandomForestClassifier(10, max_depth=5), NAMED),
    "sk-boosting": lambda: _numbers(GradientBoostingClassifier(n_estimators=10), BINARY),
    "sk-histogram-boosting": lambda: _numbers(HistGradientBoostingClassifier(max_iter=10)),
    "sk-voting": lambda: _numbers(
        VotingClassifier(
            [("a", LogisticRegression()), ("b", GaussianNB())], voting="soft", flatten_transform=False
        )
    ),
    "sk-svc": lambda: _numbers(SVC(probability=True)),
    "sk-svc-binary": lambda: _numbers(SVC(probability=True), BINARY),
    "sk-naive-bayes": lambda: _numbers(GaussianNB()),
    "sk-mlp": lambda: _numbers(MLPClassifier((8,), max_iter=50)),
    "sk-mlp-opset12": lambda: _numbers(
        MLPClassifier((8,), max_iter=50), opset={"": 12, "ai.onnx.ml": 1}
    ),
    "sk-nearest": lambda: _numbers(KNeighborsClassifier(3), NAMED),
    "sk-nearest-opset12": lambda: _numbers(
        KNeighborsClassifier(3), opset={"": 12, "ai.onnx.ml": 1}
    ),
    "sk-nearest-by-distance": lambda: _numbers(KNeighborsClassifier(3, weights="distance")),
    "sk-nearest-regressor": lambda: _numbers(KNeighborsRegressor(3), DIABETES),
    "sk-gaussian-process": lambda: _numbers(GaussianProcessRegressor(), DIABETES),
    "sk-quadratic": lambda: _numbers(QuadraticDiscriminantAnalysis()),
    "sk-columns-onehot": lambda: _columns(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300)
    ),
    "sk-columns-ordinal": lambda: _columns(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        RandomForestClassifier(5, max_depth=4),
    ),
    "sk-columns-zipmap": lambda: _columns(
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        GradientBoostingClassifier(n_estimators=5),
        zipmap=True,
    ),
    "sk-texts-onehot": _texts_only,
    "sk-tfidf": lambda: _text(TfidfVectorizer()),
    "sk-tfidf-bigrams": lambda: _text(TfidfVectorizer(ngram_range=(1, 2))),
    "sk-tfidf-characters": lambda: _text(TfidfVectorizer(analyzer="char", ngram_range=(1, 2))),
    "sk-tfidf-vector": lambda: _text(TfidfVectorizer(), shape=(None,)),
    "sk-tfidf-stop-words": lambda: _text(TfidfVectorizer(stop_words=["the", "on"])),
    "sk-count": lambda: _text(CountVectorizer(), MultinomialNB()),
    "sk-text-and-number": _text_and_number,
}
