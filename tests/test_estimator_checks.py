"""The checks of scikit-learn for estimators. They hold tables `[n, I]`, which sequences are in two ways.

As they are: a row is a sequence of I steps of one number. Then rows of any length fit, and one feature is what they have,
which some checks cannot know. And as sequences of one step of I features, where all else applies.
"""

import numpy as np
from sklearn.utils.estimator_checks import parametrize_with_checks

from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger

SMALL = {"cell": "gru", "hidden": 8, "epochs": 8, "rate": 0.05, "dtype": "float64", "batch": 64}
"""Predictions for parts of the data must be the same to 1e-7, which float32 is not for every target.

And weights must do what repetition does, which they do where all stand in one batch.
"""

LONG = {**SMALL, "epochs": 70, "rate": 0.03}
"""A regressor is asked to explain half of the variance."""

OWN_WORDS = {
    "check_dtype_object": "what is no number is a DataError, like all that is wrong with data; a TypeError is wanted",
}

ROWS_OF_ANY_LENGTH = OWN_WORDS | {
    "check_n_features_in": "a row is a sequence of one feature, whatever its length",
    "check_n_features_in_after_fitting": "rows of another length are sequences of another length",
    "check_classifiers_train": "rows of another length are sequences of another length",
}


def one_step(X):
    """A table as sequences of one step; what is no table as it is."""
    if hasattr(X, "toarray"):
        return X
    X = np.asarray(X)
    return X[:, None] if X.ndim == 2 else X


class Classifier(SequenceClassifier):
    """Reads a row as one step."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(one_step(X), y, sample_weight)

    def predict_proba(self, X):
        return super().predict_proba(one_step(X))


class Regressor(SequenceRegressor):
    """Reads a row as one step."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(one_step(X), y, sample_weight)

    def predict(self, X):
        return super().predict(one_step(X))


class Tagger(SequenceTagger):
    """Reads a row as one step, and gives its label."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(one_step(X), None if y is None else np.asarray(y)[:, None], sample_weight)

    def predict(self, X):
        return np.concatenate(super().predict(X))

    def predict_proba(self, X):
        return super().predict_proba(one_step(X))

    def score(self, X, y):
        return float((self.predict(X) == y).mean())


EXPECTED = {SequenceClassifier: ROWS_OF_ANY_LENGTH, SequenceRegressor: ROWS_OF_ANY_LENGTH}
ESTIMATORS = [
    SequenceClassifier(**SMALL),
    SequenceRegressor(**LONG),
    Classifier(**SMALL),
    Regressor(**LONG),
    Tagger(**SMALL),
]


def expected(estimator):
    """The checks that fail, and why. One of them that passes is noticed."""
    return EXPECTED.get(type(estimator), OWN_WORDS)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected, xfail_strict=True)
def test_check(estimator, check):
    check(estimator)
