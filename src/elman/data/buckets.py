"""Batches of sequences of similar length, so that little is padded: which of them stand together, epoch after epoch."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.checks import checked_seed
from elman.data.source import Batch, Counted, checked_count, checksum, drawn
from elman.data.steps import checked_list, checked_steps
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written

SAMPLE = 64
"""How many sequences the checksum looks into; it has the lengths of all."""


class Bucketed(Counted):
    """A source of batches of `batch` sequences, of which every epoch reads each once, in an order drawn from `seed`.

    `parts` are the sequences and what stands beside them, `[N]` each, as `weights` are. `lengths` `[N]`, or `[N, 2]` where
    those that agree in the first are told apart by the second: of `buckets` batches at a time the sequences are sorted by
    them, and then the batches are shuffled.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[Array]],
        lengths: Array,
        batch: int,
        seed: int,
        buckets: int,
        weights: Sequence[Array] | None = None,
    ) -> None:
        name, count = type(self).__name__, len(lengths)
        self._seed, self.batch = checked_seed(seed), checked_count(name, "batch", batch)
        self._pool = self.batch * checked_count(name, "buckets", buckets)
        self._sorted_by = lengths[:, None] if lengths.ndim == 1 else lengths
        self._order: tuple[int, list[Array]] = (-1, [])
        some = range(0, count, max(1, count // SAMPLE))
        data = f"{checksum((lengths,), count)}{checksum(np.atleast_1d(part[i]) for part in parts for i in some)}"
        if weights is not None:
            data += f", weights {checksum(np.atleast_1d(weights[i]) for i in some)}"
        told = f"{count} sequences, batch={batch}, seed={seed}, buckets={buckets}; data {data}"
        super().__init__(f"{name}({told})", -(-count // self.batch))

    def _batch(self, epoch: int, step: int) -> Batch:
        if self._order[0] != epoch:
            self._order = (epoch, self._drawn(epoch))
        return self._of(self._order[1][step])

    @abstractmethod
    def _of(self, rows: Array) -> Batch:
        """The batch of some sequences."""

    def _drawn(self, epoch: int) -> list[Array]:
        """The sequences of each batch of an epoch."""
        rng = drawn(self._seed, epoch)
        shuffled, batches = rng.permutation(len(self._sorted_by)), []
        for start in range(0, len(shuffled), self._pool):
            pool = shuffled[start : start + self._pool]
            pool = pool[np.lexsort(self._sorted_by[pool].T[::-1])]  # stable: the same on every machine
            batches += [pool[at : at + self.batch] for at in range(0, len(pool), self.batch)]
        return [batches[at] for at in rng.permutation(len(batches))]


def checked_sequences(name: str, what: str, sequences: Sequence[Any] | Array) -> list[Array]:
    """Sequences that fit together. Raises `DataError` or `ShapeError`."""
    given = checked_list(name, f"{what}s", sequences)
    found = [checked_steps(f"{name}: {what} {at}", x) for at, x in enumerate(given)]
    if not found:
        raise DataError(f"{name}: there is no {what}; one or more are wanted")
    return checked_alike(name, what, found)


def checked_alike(name: str, what: str, arrays: list[Array], *, whole: bool = False) -> list[Array]:
    """Arrays whose steps (or that, as a whole) are of one shape. Raises `ShapeError`."""
    first = arrays[0]
    for at, array in enumerate(arrays):
        if array.ndim != first.ndim or array.shape[not whole :] != first.shape[not whole :]:
            both = f"{what} {at} is {written(array.shape)}, {what} 0 is {written(first.shape)}"
            raise ShapeError(f"{name}: {both}; {'one shape is' if whole else 'steps of one shape are'} wanted")
    return arrays
