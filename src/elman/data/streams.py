"""One long sequence, read as contiguous streams side by side: the state goes on from batch to batch."""

from typing import Any

import numpy as np

from elman.checks import checked_seed
from elman.data.source import Batch, Counted, checked_count, checksum, drawn
from elman.data.steps import as_input, as_targets, checked_counting, checked_numbers, checked_steps
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written


class Streams(Counted):
    """Batches of `batch` contiguous streams, `length` steps at a time, out of tokens `[N]` or features `[N, I]`.

    Without targets each step is to tell the next one; with them, `[N]` or `[N, O]`, it is to tell its own. The sequence may
    be a memory map of any integer type: only what a batch holds is read. Each epoch begins at another place, drawn from
    `seed`, so that batches do not cut at the same steps every time. Where the sequence is too short for the settings, there
    are fewer streams or steps: `batch` and `length` tell. `weights` `[N]` say how much it counts to tell each target, or
    without targets each step of the sequence.

    Raises `DataError` for too few steps, `ShapeError` where sequence or targets do not fit, `SettingError`.

    >>> source = Streams(np.arange(100, dtype=np.uint8), batch=2, length=3)
    >>> first, second = source.take(), source.take()
    >>> first.x.tolist(), first.targets.tolist(), first.anew
    ([[2, 3, 4], [50, 51, 52]], [[3, 4, 5], [51, 52, 53]], True)
    >>> second.x.tolist(), second.anew
    ([[5, 6, 7], [53, 54, 55]], False)
    """

    def __init__(
        self, tokens: Any, batch: int = 32, length: int = 64, seed: int = 0, *, targets: Any = None, weights: Any = None
    ) -> None:
        name = type(self).__name__
        batch, length, seed = checked_count(name, "batch", batch), checked_count(name, "length", length), checked_seed(seed)
        self._x, self._seed = checked_steps(f"{name}: the sequence", tokens), seed
        self._targets = self._x if targets is None else _beside(name, "targets", targets, len(self._x))
        self._weights = None if weights is None else _beside(name, "weights", weights, len(self._x))
        if self._weights is not None and self._weights.ndim > 1:
            raise ShapeError(f"{name}: weights are {written(self._weights.shape)}; one number a step is wanted")
        if self._weights is not None:
            checked_counting(f"{name}: weights", self._weights)
        self._ahead = int(targets is None)
        usable = len(self._x) - self._ahead
        if usable < 1:
            raise DataError(f"{name}: the sequence has 1 step; without targets each tells the next, so 2 are wanted")
        self.batch, self.length = fitting(batch, length, usable)
        each = self.batch * self.length
        steps = max(1, (usable - self.length + 1) // each)  # as many from wherever an epoch begins
        self._places = min(self.length, usable - steps * each + 1)
        self._epoch, self._begin = -1, 0  # drawn once an epoch
        settings = f"batch={batch}, length={length}, seed={seed}"
        data = checksum((self._x,) if targets is None else (self._x, self._targets))
        data += "" if self._weights is None else f", weights {checksum((self._weights,))}"
        super().__init__(f"{name}({len(self._x)} steps, {settings}; data {data})", steps)

    def _batch(self, epoch: int, step: int) -> Batch:
        if epoch != self._epoch:
            self._epoch, self._begin = epoch, int(drawn(self._seed, epoch).integers(0, self._places))
        x, targets = self._rows(self._x, step, 0), self._rows(self._targets, step, self._ahead)
        weights = None if self._weights is None else self._rows(self._weights, step, self._ahead)
        return Batch(as_input(x), as_targets(targets), None, step == 0, x.shape[0] * x.shape[1], weights)

    def _rows(self, steps: Array, step: int, ahead: int) -> Array:
        """A batch `[B, T, ...]`, copied: the streams stand side by side, and only their beginning changes in an epoch."""
        apart, first = (len(self._x) - self._ahead - self._begin) // self.batch, self._begin + ahead
        streams = steps[first : first + apart * self.batch].reshape(self.batch, apart, *steps.shape[1:])
        return np.array(streams[:, step * self.length : (step + 1) * self.length])


def fitting(batch: int, length: int, usable: int) -> tuple[int, int]:
    """How many streams, and steps at a time, so many usable steps hold of those that are asked for."""
    streams = max(1, min(batch, usable // 2))
    return streams, min(length, usable // streams)


def _beside(name: str, what: str, given: Any, steps: int) -> Array:
    """Targets, or weights, of every step. Raises `ShapeError` where they are not as many."""
    found = checked_numbers(f"{name}: {what}", given)
    if not found.ndim or len(found) != steps:
        raise ShapeError(f"{name}: {steps} steps, and {what} {written(found.shape)}; one a step is wanted")
    return found
