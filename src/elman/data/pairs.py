"""Pairs of sequences, a source and a target, whose lengths have nothing to do with each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.arrays import as_array
from elman.data.buckets import Bucketed, checked_alike, checked_sequences
from elman.data.source import Batch
from elman.data.steps import RAGGED, as_input, as_targets, checked_list, checked_steps
from elman.errors import ShapeError
from elman.gates import Array
from elman.padding import pad_sequences


class Pairs(Bucketed):
    """Batches of `batch` sources, tokens `[T]` or features `[T, I]`, and their targets, tokens `[U]` or features `[U, O]`.

    Both are padded with 0 to the longest of the batch, and come with their lengths: what `EncoderDecoder` learns from, and
    with targets that are labels a model with the loss of CTC. A target may be empty, where nothing was said.

    Every epoch reads every pair once, in an order drawn from `seed`. Of `buckets` batches at a time the pairs are sorted,
    by the lengths of their sources and then of their targets, so that little is padded; then the batches are shuffled.

    Raises `DataError` for no pair or an empty source, `ShapeError` where sequences do not fit, `SettingError`.

    >>> source = Pairs([[1, 2, 3], [4], [5, 6]], [[7, 8], [9, 9, 9], []], batch=2, seed=1)
    >>> batch = source.take()
    >>> batch.x.tolist(), batch.lengths.tolist()
    ([[4, 0], [5, 6]], [1, 2])
    >>> batch.targets.tolist(), batch.target_lengths.tolist(), batch.symbols
    ([[9, 9, 9], [0, 0, 0]], [3, 0], 3)
    """

    def __init__(
        self,
        sources: Sequence[Any] | Array,
        targets: Sequence[Any] | Array,
        batch: int = 32,
        seed: int = 0,
        buckets: int = 16,
    ) -> None:
        name = type(self).__name__
        self._x, self._targets = checked_sequences(name, "source", sources), _checked(name, targets)
        if len(self._targets) != len(self._x):
            raise ShapeError(f"{name}: {len(self._x)} sources and {len(self._targets)} targets; as many are wanted")
        lengths = np.array([(len(x), len(y)) for x, y in zip(self._x, self._targets, strict=True)])
        super().__init__((self._x, self._targets), lengths, batch, seed, buckets)

    def _of(self, rows: Array) -> Batch:
        x, lengths = pad_sequences([self._x[row] for row in rows])
        targets, target_lengths = pad_sequences([self._targets[row] for row in rows])
        if not targets.shape[1]:  # nothing is said by any: a step of padding, since sequences have steps
            targets = np.zeros((len(rows), 1, *targets.shape[2:]), targets.dtype)
        symbols = int(target_lengths.sum())
        return Batch(as_input(x), as_targets(targets), lengths, True, symbols, target_lengths=target_lengths)


def _checked(name: str, targets: Sequence[Any] | Array) -> list[Array]:
    """Targets that fit together, of which some may be empty. Raises `DataError` or `ShapeError`."""
    given = [(f"{name}: target {at}", y) for at, y in enumerate(checked_list(name, "targets", targets))]
    arrays = [as_array(y, owner, RAGGED.format(owner)) for owner, y in given]
    said = {at: checked_steps(given[at][0], array) for at, array in enumerate(arrays) if array.size or not array.ndim}
    like = next(iter(said.values()), np.zeros(0, np.int64))
    return checked_alike(name, "target", [said.get(at, like[:0]) for at in range(len(arrays))])
