"""Separate sequences of unequal length as padded batches, with targets of their steps, or one for each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.data.buckets import Bucketed, checked_alike, checked_sequences
from elman.data.source import Batch
from elman.data.steps import as_input, as_targets, checked_counting, checked_list, checked_numbers
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.padding import pad_sequences
from elman.shapes import written


class Padded(Bucketed):
    """Batches of `batch` sequences, tokens `[T]` or features `[T, I]` each, padded with 0 to the longest of the batch.

    Targets stand beside every step, `[T]` or `[T, O]` for each sequence, or once a sequence, `[N]` or `[N, O]`. Which of
    them is seen from their lengths; `once` says it where both could be meant. Without targets each step is to tell the next.
    `weights` say how much it counts to tell each target: one number a sequence, or as many for each as it has steps.

    Every epoch reads every sequence once, in an order drawn from `seed`. Of `buckets` batches at a time the sequences are
    sorted by length, so that little is padded, and then the batches are shuffled.

    Raises `DataError` for no sequence or an empty one, `ShapeError` where sequences or targets do not fit, `SettingError`.

    >>> source = Padded([[1, 2, 3], [4], [5, 6]], targets=[0, 1, 0], batch=2, seed=1)
    >>> batch = source.take()
    >>> batch.x.tolist(), batch.lengths.tolist(), batch.targets.tolist(), batch.symbols
    ([[4, 0], [5, 6]], [1, 2], [1, 0], 3)
    """

    def __init__(
        self,
        sequences: Sequence[Any] | Array,
        targets: Sequence[Any] | Array | None = None,
        batch: int = 32,
        seed: int = 0,
        buckets: int = 16,
        *,
        once: bool | None = None,
        weights: Sequence[Any] | Array | None = None,
    ) -> None:
        name = type(self).__name__
        self._x, self._targets, self._once = _paired(name, checked_sequences(name, "sequence", sequences), targets, once)
        self._weights = None if weights is None else _weighed(name, weights, self._targets, self._once, targets is None)
        lengths = np.array([len(x) for x in self._x])
        super().__init__((self._x, self._targets), lengths, batch, seed, buckets, self._weights)

    def _of(self, rows: Array) -> Batch:
        x, lengths = pad_sequences([self._x[row] for row in rows])
        targets = self._beside(self._targets, rows)
        weights = None if self._weights is None else self._beside(self._weights, rows)
        return Batch(as_input(x), as_targets(targets), lengths, True, int(lengths.sum()), weights)

    def _beside(self, each: list[Array], rows: Array) -> Array:
        """Targets, or weights, of some sequences as one array."""
        chosen = [each[row] for row in rows]
        return np.stack(chosen) if self._once else pad_sequences(chosen)[0]


def _paired(name: str, x: list[Array], targets: Any, once: bool | None) -> tuple[list[Array], list[Array], bool]:
    """Sequences, their targets, and whether these stand once a sequence. Raises `DataError` or `ShapeError`."""
    if targets is None:
        short = next((at for at, steps in enumerate(x) if len(steps) < 2), None)
        if short is not None:
            raise DataError(f"{name}: sequence {short} has 1 step; without targets each tells the next, so 2 are wanted")
        return [steps[:-1] for steps in x], [steps[1:] for steps in x], False
    if len(targets := checked_list(name, "targets", targets)) != len(x):
        raise ShapeError(f"{name}: {len(x)} sequences and {len(targets)} targets; as many are wanted")
    found = [checked_numbers(f"{name}: target {at}", y) for at, y in enumerate(targets)]
    lacking = [at for at, (steps, y) in enumerate(zip(x, found, strict=True)) if not y.ndim or len(y) != len(steps)]
    if once is None:
        once = bool(lacking) and len({y.shape for y in found}) == 1
    if lacking and not once:
        at = lacking[0]
        sizes = f"sequence {at} has {len(x[at])} steps, its targets are {written(found[at].shape)}"
        raise ShapeError(f"{name}: {sizes}; one a step is wanted, or one of the same shape for each sequence")
    checked_alike(name, "target", found, whole=once)
    return x, found, once


def _weighed(name: str, weights: Any, targets: list[Array], once: bool, ahead: bool) -> list[Array]:
    """How much each target counts, one by one; where each step tells the next, the first of a sequence is no target.

    Raises `ShapeError` or `DataError`.
    """
    if len(weights := checked_list(name, "weights", weights)) != len(targets):
        raise ShapeError(f"{name}: {len(targets)} sequences and {len(weights)} weights; as many are wanted")
    found = list[Array]()
    for at, (given, y) in enumerate(zip(weights, targets, strict=True)):
        array = checked_counting(f"{name}: weight {at}", checked_numbers(f"{name}: weight {at}", given))
        if once and array.ndim:
            raise ShapeError(f"{name}: weight {at} is {written(array.shape)}; one number a sequence is wanted")
        steps = 0 if once else len(y) + ahead
        if array.ndim and array.shape != (steps,):
            both = f"sequence {at} has {steps} steps, its weights are {written(array.shape)}"
            raise ShapeError(f"{name}: {both}; one number, or one a step is wanted")
        found.append(array if once else np.array(np.broadcast_to(array, steps)[ahead:]))
    return found
