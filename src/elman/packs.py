"""Packs: arrays by name that stand in one flat array, and flat arrays in blocks that stay in the cache.

An operation of NumPy costs half a microsecond however little it does, and a small network has a dozen arrays of a few
numbers each; so these go together, and what is remembered of them with them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from elman.gates import Array

BLOCK = 8192
"""Numbers that are worked on at a time."""


def packed(arrays: Sequence[Array]) -> Array:
    """Arrays as one flat array `[n]`, each in its order of rows; a view where there is but one."""
    flat = [array.reshape(-1) for array in arrays]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def unpacked(flat: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a pack, as views: each of the name and shape of one in `like`."""
    found, start = {}, 0
    for name, array in like.items():
        stop = start + array.size
        found[name] = flat[start:stop].reshape(array.shape)
        start = stop
    return found


class Flat(NamedTuple):
    """A flat array, and the views of it that have names."""

    whole: Array
    names: tuple[str, ...]
    views: tuple[Array, ...]


class Flats(dict[str, Array]):
    """Arrays by name, some of which are views of flat ones, one after another; what is put beside them stands alone.

    `finite` says that all of their numbers are known to be so.
    """

    def __init__(
        self, arrays: Mapping[str, Array], flats: Iterable[tuple[Array, Mapping[str, Array]]], *, finite: bool = False
    ) -> None:
        super().__init__(arrays)
        found = []
        for whole, like in flats:
            views = unpacked(whole, like)
            self.update(views)
            found.append(Flat(whole, tuple(views), tuple(views.values())))
        self._flats, self._finite = tuple(found), finite

    def whole(self, names: tuple[str, ...]) -> Array | None:
        """The flat array of just these names, where there is one."""
        for flat in self._flats:
            if flat.names == names and all(map(is_, map(self.get, names), flat.views)):
                return flat.whole
        return None

    @property
    def are_finite(self) -> bool:
        """Whether all numbers are known to be finite."""
        return self._finite and all(self.whole(flat.names) is not None for flat in self._flats)


class Standing(NamedTuple):
    """Arrays by name, each in the order of its rows, and where they stand."""

    arrays: Mapping[str, Array]
    starts: Mapping[str, int]


def standing(arrays: Mapping[str, Array]) -> Standing | None:
    """Arrays of one type and their addresses; None where some are not in the order of their rows."""
    whole = arrays.whole(tuple(arrays)) if isinstance(arrays, Flats) else None
    if whole is not None:
        ends = accumulate((array.nbytes for array in arrays.values()), initial=_start(whole))
        return Standing(arrays, dict(zip(arrays, ends, strict=False)))
    if not all(array.flags.c_contiguous for array in arrays.values()):
        return None
    return Standing(arrays, {name: _start(array) for name, array in arrays.items()})


def _start(array: Array) -> int:
    start: int = array.__array_interface__["data"][0]
    return start


def together(arrays: Mapping[str, Array], names: tuple[str, ...], dtype: np.dtype[Any]) -> Array | list[Array]:
    """Arrays of some names as one flat array, where they are views of it; else one by one, of a type."""
    whole = arrays.whole(names) if isinstance(arrays, Flats) else None
    return [arrays[name].astype(dtype, copy=False) for name in names] if whole is None else whole


def blocks(size: int) -> Iterator[slice]:
    """The parts of a flat array, `BLOCK` numbers each."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))
