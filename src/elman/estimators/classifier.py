"""SequenceClassifier: a label for a sequence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import column_or_1d

from elman.errors import DataError, ShapeError
from elman.estimators.base import SequenceEstimator
from elman.estimators.labels import label_weights, learnt_labels
from elman.gates import Array


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """A label for a sequence: layers, their last, mean or largest output (`pool`), softmax.

    Settings are those of `SequenceEstimator`. `X` is a list of sequences of unequal length, `y` one label for each, of any
    kind. `class_weight` says how much each label counts (1), by label or "balanced": the rarer the more. It is multiplied
    with `sample_weight`, and as there only what the weights are beside each other matters: they have a mean of 1 over what
    is learnt from. Fitted, it has `classes_`, `model_`, `losses_`, `validation_losses_`, `best_epoch_`.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(sign, 1.0, (length, 1)) for sign in (-1, 1) for length in range(5, 25)]
    >>> y = ["below"] * 20 + ["above"] * 20
    >>> classifier = SequenceClassifier(hidden=4, epochs=20, rate=0.03, random_state=0).fit(X, y)
    >>> classifier.predict([[-1.0, -0.5, -0.9, -1.2], [0.5, 1.1]]), classifier.score(X, y) > 0.9
    (array(['below', 'above'], dtype='<U5'), True)
    """

    pool: str = "last"
    class_weight: Any = None

    def _targets(self, owner: str, y: Any, sequences: list[Array], again: bool) -> Array:
        try:
            labels = column_or_1d(y, warn=True)
        except ValueError as error:
            raise DataError(f"{owner}: {error}") from None
        if len(labels) != len(sequences):
            raise ShapeError(
                f"{owner}: X has {len(sequences)} sequences, y has {len(labels)} labels; one for each is wanted"
            )
        known: Array | None = self.classes_ if again else None
        found, places = learnt_labels(owner, labels, known)
        self.classes_: Array = found
        return places

    def _weights(self, owner: str, targets: list[Array] | Array, counts: Array | None) -> Array | None:
        return label_weights(owner, self.class_weight, self.classes_, np.asarray(targets), counts)

    def _head(self) -> dict[str, Any]:
        return {"outputs": len(self.classes_), "pool": self._pool(self.pool)}

    def predict_proba(self, X: Any) -> Array:
        """Probabilities `[n, classes]`, in the order of `classes_`."""
        return np.stack(self._outputs(X)[0])

    def predict(self, X: Any) -> Array:
        """The likeliest label of each sequence, `[n]`."""
        likeliest: Array = self.predict_proba(X).argmax(1)
        found: Array = self.classes_[likeliest]
        return found
