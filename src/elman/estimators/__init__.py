"""Estimators for scikit-learn: sequences in, labels or numbers out; fit, predict, score, cloned, searched, in pipelines.

`SequenceClassifier` gives a label for a sequence, `SequenceRegressor` one number or several, `SequenceTagger` a label for
every step. They need the library scikit-learn: `pip install "elman[sklearn]"`.
"""

from elman.errors import MissingLibraryError

try:
    import sklearn  # noqa: F401 - asked for here, so that who lacks it is told once, in words
except ImportError:
    raise MissingLibraryError('elman.estimators needs the library scikit-learn: pip install "elman[sklearn]"') from None

from elman.estimators.base import SequenceEstimator
from elman.estimators.classifier import SequenceClassifier
from elman.estimators.regressor import SequenceRegressor
from elman.estimators.tagger import SequenceTagger

__all__ = ["SequenceClassifier", "SequenceEstimator", "SequenceRegressor", "SequenceTagger"]
