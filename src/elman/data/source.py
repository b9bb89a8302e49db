"""Sources: where training takes its batches from, and how a run that was cut off finds its place again."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from elman.errors import DataError, SettingError
from elman.gates import Array

Position = dict[str, int | float | str]
"""A place in a source, as plain data for JSON."""

SAMPLE = 256
"""Steps of an array that its checksum looks at: enough to see other data, and few where the array is a file of 100 GB."""


@dataclass(frozen=True)
class Batch:
    """What one update reads: tokens `x` `[B, T]` or features `[B, T, I]`, and their targets.

    `lengths` `[B]` where sequences are padded, else None. With `anew` the state starts anew; else it goes on from the batch
    before. `symbols` counts the steps that count: those within the lengths. `weights` `[B, T]`, or `[B]` where targets stand
    once a sequence, say how much each loss counts of which the loss is the mean (None: 1). Where targets are sequences of
    their own, `[B, U]` or `[B, U, O]`, there are `target_lengths` `[B]`, and `symbols` counts the steps of these.
    """

    x: Array
    targets: Array
    lengths: Array | None
    anew: bool
    symbols: int
    weights: Array | None = None
    target_lengths: Array | None = None


class Source(Protocol):
    """What training takes batches from, epoch after epoch without end."""

    @property
    def epoch(self) -> int:
        """The epoch of the next batch, counted from 0."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""

    def take(self) -> Batch:
        """The next batch."""

    def position(self) -> Position:
        """The place of the next batch: small, and plain data for JSON."""

    def seek(self, position: Mapping[str, int | float | str]) -> None:
        """Go to a position: `take` then gives what the run that told it would have taken, to the bit."""


class Counted(ABC):
    """A source whose batches follow from the numbers of an epoch and a step in it, so that any can be made at any time.

    `told` are its settings and its data's checksum, by which a position of another source is known.
    """

    def __init__(self, told: str, steps_per_epoch: int) -> None:
        self._told, self._steps, self._taken = told, steps_per_epoch, 0

    def __repr__(self) -> str:
        return self._told

    @property
    def epoch(self) -> int:
        """The epoch of the next batch, counted from 0."""
        return self._taken // self._steps

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the same in all."""
        return self._steps

    def take(self) -> Batch:
        """The next batch."""
        batch = self._batch(*divmod(self._taken, self._steps))
        self._taken += 1
        return batch

    def position(self) -> Position:
        """The place of the next batch: its epoch, its step in the epoch, and what source it is a place of."""
        epoch, step = divmod(self._taken, self._steps)
        return {"source": self._told, "epoch": epoch, "step": step}

    def seek(self, position: Mapping[str, int | float | str]) -> None:
        """Go to a position: `take` then gives what the run that told it would have taken, to the bit.

        Raises `DataError` for what is no position, or one of other data or settings.
        """
        name = type(self).__name__
        if not isinstance(position, Mapping) or set(position) != {"source", "epoch", "step"}:
            raise DataError(f"{name}: seek takes what position() gave, not {position!r}")
        if position["source"] != self._told:
            both = f"the position is one of {position['source']}, this is {self._told}"
            raise DataError(f"{name}: {both}; go on with the data and the settings of that run")
        epoch, step = position["epoch"], position["step"]
        if not (_is_count(epoch, 0) and _is_count(step, 0) and int(step) < self._steps):
            raise DataError(f"{name}: there is no epoch {epoch!r}, step {step!r}; an epoch has {self._steps} steps")
        self._taken = int(epoch) * self._steps + int(step)

    @abstractmethod
    def _batch(self, epoch: int, step: int) -> Batch:
        """The batch at a step of an epoch."""


def checked_count(owner: str, name: str, value: Any) -> int:
    """A setting that counts, from 1. Raises `SettingError`."""
    if not _is_count(value, 1):
        raise SettingError(f"{owner}: {name}={value!r} must be an integer, 1 or more")
    return int(value)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def drawn(seed: int, epoch: int) -> np.random.Generator:
    """The random numbers of an epoch, whichever epochs were drawn before."""
    return np.random.default_rng(np.random.SeedSequence((seed, epoch)))


def checksum(arrays: Iterable[Array], sample: int = SAMPLE) -> str:
    """Eight digits that tell data apart by sizes and samples of their steps; the same for every width of integer."""
    found = 0
    for array in arrays:
        rows = array[np.linspace(0, max(len(array) - 1, 0), min(len(array), sample)).astype(np.int64)]
        plain = rows.astype("<f8" if rows.dtype.kind == "f" else "<i8")
        found = zlib.crc32(plain.tobytes(), zlib.crc32(repr(array.shape).encode(), found))
    return f"{found:08x}"
