"""SequenceTagger: a label for every step of a sequence."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, ShapeError
from elman.estimators.base import SequenceEstimator
from elman.estimators.labels import label_weights, learnt_labels
from elman.estimators.weighing import sequence_weights
from elman.gates import Array
from elman.shapes import written


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceTagger(SequenceEstimator):
    """A label for every step: layers and softmax.

    Settings are those of `SequenceEstimator`. `X` is a list of sequences of unequal length, `y` a list of as many sequences
    of labels, of any kind, each as long as its sequence in `X`. `class_weight` says how much each label counts, as for
    `SequenceClassifier`. Fitted, it has `classes_`.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.integers(0, 3, length) for length in range(2, 30)]
    >>> y = [np.where(x == 0, "even", "odd") for x in X]
    >>> tagger = SequenceTagger(hidden=8, rate=0.03, random_state=0).fit(X, y)
    >>> tagger.predict([[0, 1, 2], [0]]), tagger.score(X, y)
    ([array(['even', 'odd', 'odd'], dtype='<U4'), array(['even'], dtype='<U4')], 1.0)
    """

    class_weight: Any = None

    def _targets(self, owner: str, y: Any, sequences: list[Array], again: bool) -> list[Array]:
        labels = _labels(owner, y, sequences)
        known: Array | None = self.classes_ if again else None
        found, places = learnt_labels(owner, np.concatenate(labels), known)
        self.classes_: Array = found
        return np.split(places, np.cumsum([len(sequence) for sequence in sequences])[:-1])

    def _weights(self, owner: str, targets: list[Array] | Array, counts: Array | None) -> Array | None:
        each = None if counts is None else np.repeat(counts, [len(labels) for labels in targets])
        return label_weights(owner, self.class_weight, self.classes_, np.concatenate(targets), each)

    def _head(self) -> dict[str, Any]:
        return {"outputs": len(self.classes_)}

    def predict_proba(self, X: Any) -> list[Array]:
        """Probabilities `[T, classes]` for each sequence, in the order of `classes_`."""
        outputs, sequences = self._outputs(X)
        return [output[: len(sequence)] for output, sequence in zip(outputs, sequences, strict=True)]

    def predict(self, X: Any) -> list[Array]:
        """The likeliest labels `[T]` of each sequence."""
        return [self.classes_[found.argmax(1)] for found in self.predict_proba(X)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of all steps whose label is right; those of a sequence count as much as it does."""
        predicted = self.predict(X)
        owner = type(self).__name__
        wanted = np.concatenate(_labels(owner, y, predicted))
        if not len(wanted):
            raise DataError(f"{owner}: no sequence has a step, so there is nothing to score")
        counts = sequence_weights(owner, sample_weight, predicted)
        each = None if counts is None else np.repeat(counts, [len(labels) for labels in predicted])
        return float(np.average(np.concatenate(predicted) == wanted, weights=each))


def _labels(owner: str, y: Any, sequences: list[Array]) -> list[Array]:
    """Labels `[T]` for each sequence. Raises `ShapeError` where they are not as many as steps."""
    try:
        labels = [np.asarray(given) for given in y]
    except (ValueError, TypeError):
        raise DataError(f"{owner}: y is no list of sequences of labels; labels [T] for each sequence are wanted") from None
    if len(labels) != len(sequences):
        raise ShapeError(f"{owner}: X has {len(sequences)} sequences, y has {len(labels)}; labels for each are wanted")
    for place, (given, sequence) in enumerate(zip(labels, sequences, strict=True)):
        if given.shape != (len(sequence),):
            steps = f"sequence {place} has {len(sequence)} steps, its labels are {written(given.shape)}"
            raise ShapeError(f"{owner}: {steps}; one label a step is wanted")
    full = [given for given in labels if len(given)]
    kinds = {"text" if given.dtype.kind in "US" else "numbers" for given in full if given.dtype.kind != "O"}
    if len(kinds) > 1:
        raise DataError(f"{owner}: some labels are text and others numbers; one kind is wanted")
    return [given if len(given) else given.astype(full[0].dtype) for given in labels] if full else labels
