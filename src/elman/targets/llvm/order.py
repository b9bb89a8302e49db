"""In which order the examples of a call run, and how many of them at each step."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from elman.gates import Array

LONG = 4096
"""Steps, or lengths, beyond which nothing as long as a call is kept for the next."""


@dataclass(frozen=True)
class Rows:
    """The examples, the longest first, and how many run at each step."""

    order: Array
    running: Array
    _shares: dict[int, list[int]] = field(default_factory=dict, repr=False, compare=False)
    _sections: dict[int, list["Rows"]] = field(default_factory=dict, repr=False, compare=False)

    def shares(self, count: int) -> list[int]:
        """Where to cut the examples into shares of about the same number of steps."""
        if count not in self._shares:
            self._shares[count] = self._cut(count)
        return self._shares[count]

    def _cut(self, count: int) -> list[int]:
        batch = len(self.order)
        steps = np.searchsorted(-self.running, -np.arange(batch), side="left")  # of each example
        done = np.concatenate(([0], np.cumsum(steps)))
        cuts = np.searchsorted(done, done[-1] * np.arange(1, count) / count).tolist()
        return [0, *cuts, batch]

    def sections(self, count: int) -> list["Rows"]:
        """As many orders of some of the examples: each has long and short ones, as the first of them are the longest."""
        if count == 1:
            return [self]
        if count not in self._sections:
            self._sections[count] = self._apart(blocks_of(len(self.order), count))
        return self._sections[count]

    def _apart(self, blocks: list[tuple[slice, slice]]) -> list["Rows"]:
        ends = np.array([[(block.start, block.stop) for block in pair] for pair in blocks])[..., None]  # [n, 2, 2, 1]
        inside = np.minimum(self.running, ends[:, :, 1]) - np.minimum(self.running, ends[:, :, 0])  # [n, 2, T]
        orders = [np.concatenate([self.order[block] for block in pair]) for pair in blocks]
        return [Rows(order, running) for order, running in zip(orders, inside.sum(1), strict=True)]

    @cached_property
    def count(self) -> int:
        """Steps of all examples together."""
        return int(self.running.sum())

    @cached_property
    def order_address(self) -> int:
        """Where the order stands in memory."""
        return int(self.order.ctypes.data)

    @cached_property
    def running_address(self) -> int:
        """Where the numbers stand in memory."""
        return int(self.running.ctypes.data)


def blocks_of(batch: int, count: int) -> list[tuple[slice, slice]]:
    """Which examples, sorted by length, each of so many sections has: a block of the longer ones, and its mirror image."""
    edges = [batch * k // (2 * count) for k in range(2 * count + 1)]
    blocks = [slice(*ends) for ends in pairwise(edges)]
    return [(blocks[k], blocks[-1 - k]) for k in range(count)]


def dense(steps: int, batch: int) -> Rows:
    """All examples at all steps."""
    return _kept(steps, batch) if steps <= LONG else _dense(steps, batch)


def _dense(steps: int, batch: int) -> Rows:
    return Rows(np.arange(batch), np.full(steps, batch, np.int64))


_kept = lru_cache(maxsize=256)(_dense)


def by_length(steps: int, lengths: Array) -> Rows:
    """The examples by their lengths; other layers, and the way back, ask again."""
    if max(steps, len(lengths)) > LONG or lengths.dtype != np.int64:
        return _by_length(steps, lengths)
    return _kept_by_length(steps, lengths.tobytes())


@lru_cache(maxsize=64)
def _kept_by_length(steps: int, lengths: bytes) -> Rows:
    return _by_length(steps, np.frombuffer(lengths, np.int64))


def _by_length(steps: int, lengths: Array) -> Rows:
    order = np.argsort(-lengths, kind="stable").astype(np.int64, copy=False)
    ended = np.bincount(lengths.clip(0, steps), minlength=steps + 1)[:steps].cumsum()
    return Rows(order, (len(lengths) - ended).astype(np.int64, copy=False))
