"""SequenceRegressor: a number, or several, for a sequence."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import Tags

from elman import cells
from elman.arrays import first_place
from elman.errors import DataError, ShapeError
from elman.estimators.base import SequenceEstimator
from elman.estimators.fitting import Course, Examples
from elman.gates import Array
from elman.shapes import Shape, written

LARGEST = {"float32": 1e36, "float64": 1e150}
"""Numbers up to which a read-out can give what it has learnt, and squares of their differences can be added."""


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceRegressor(RegressorMixin, SequenceEstimator):
    """A number, or several, for a sequence: layers, their last, mean or largest output (`pool`), a linear read-out.

    Settings are those of `SequenceEstimator`. `X` is a list of sequences of unequal length, `y` numbers `[n]` or `[n, k]`.
    Learning sees them with mean 0 and deviation 1, which the fitted read-out of `model_` undoes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.uniform(size=(length, 2)) for length in range(3, 30)]
    >>> y = [100 + 50 * x[:, 0].mean() for x in X]
    >>> regressor = SequenceRegressor(cell="gru", hidden=8, pool="mean", batch=4, rate=0.03, random_state=0).fit(X, y)
    >>> regressor.predict(X[:4]).shape, regressor.score(X, y) > 0.9
    ((4,), True)
    """

    pool: str = "last"

    def _targets(self, owner: str, y: Any, sequences: list[Array], again: bool) -> Array:
        try:
            numbers = np.asarray(y, np.float64)
        except (ValueError, TypeError):
            raise DataError(f"{owner}: y holds no numbers, or rows of several lengths; [n] or [n, k] is wanted") from None
        if numbers.ndim not in (1, 2) or len(numbers) != len(sequences) or 0 in numbers.shape[1:]:
            wanted = f"X has {len(sequences)} sequences, y is {written(numbers.shape)}; numbers [n] or [n, k] are wanted"
            raise ShapeError(f"{owner}: {wanted}")
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers.reshape(len(numbers), -1)).all(1)))
            raise DataError(f"{owner}: y holds NaN or infinity (first for sequence {row})")
        dtype = self.model_.rnn.dtype.name if again else self.dtype
        large = np.abs(numbers) > LARGEST.get(str(dtype), np.inf)
        if large.any():
            told = f"y holds {numbers[large][0]:g} for sequence {first_place(large)[0]}, too much to learn in {dtype}"
            raise DataError(f"{owner}: {told}; learn it divided by a number")
        fitted: Shape = self._shape if again else numbers.shape[1:]
        if numbers.shape[1:] != fitted:
            raise ShapeError(f"{owner}: y is {written(numbers.shape)}; fitted was {written((len(numbers), *fitted))}")
        self._shape: Shape = fitted
        return numbers.reshape(len(numbers), -1)

    def _head(self) -> dict[str, Any]:
        return {"outputs": int(np.prod(self._shape)), "readout": cells.readout_linear, "pool": self._pool(self.pool)}

    def _learn(self, examples: Examples, held: Examples | None, course: Course, seed: int, again: bool) -> None:
        """Learn targets of mean 0 and deviation 1; before and after, the read-out gives them as they are."""
        numbers = examples.targets
        assert isinstance(numbers, np.ndarray), "there is one target for each sequence"
        middle = np.average(numbers, 0, weights=examples.weights)
        spread = np.sqrt(np.average((numbers - middle) ** 2, 0, weights=examples.weights))
        spread = np.where(spread > 0, spread, 1.0)

        def scaled(given: Examples) -> Examples:
            return replace(given, targets=(np.asarray(given.targets) - middle) / spread)

        if again:
            self._rescale(1 / spread, -middle / spread)
        super()._learn(scaled(examples), None if held is None else scaled(held), course, seed, again)
        self._rescale(spread, middle)

    def _rescale(self, factor: Array, summand: Array) -> None:
        """Let the read-out give factor y + summand in the place of y."""
        read = self.model_.readout
        wya, by = (np.asarray(read.parameters[name], np.float64) for name in ("wya", "by"))
        read.update({"wya": wya * factor[:, None], "by": by * factor + summand})

    def predict(self, X: Any) -> Array:
        """Numbers, `[n]` or `[n, k]` as in `y`."""
        found = np.stack(self._outputs(X)[0])
        return found.reshape(len(found), *self._shape)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
