"""Packs: arrays by name that stand in one flat array, and flat arrays in blocks that stay in the cache.

An operation of NumPy costs half a microsecond however little it does, and a small network has a dozen arrays of a few
numbers each; so these go together, and what is remembered of them with them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import is_
from typing import Any, NamedTuple, Self

import numpy as np

from elman.gates import Array

BLOCK = 8192
"""Numbers that are worked on at a time."""


def packed(arrays: Sequence[Array]) -> Array:
    """Arrays as one flat array `[n]`, each in its order of rows; a view where there is but one."""
    flat = [array.reshape(-1) for array in arrays]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


class Layout(NamedTuple):
    """How arrays stand in a flat one, one after another: names, shapes, and at which number each begins."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, like: Mapping[str, Array]) -> Self:
        """That of arrays of these names and shapes."""
        starts = accumulate((array.size for array in like.values()), initial=0)
        return cls(tuple(like), tuple(array.shape for array in like.values()), tuple(starts)[:-1])


def unpacked(flat: Array, layout: Layout) -> tuple[Array, ...]:
    """The arrays of a pack, as views."""
    size, dtype = flat.itemsize, flat.dtype
    return tuple(np.ndarray(shape, dtype, flat, start * size) for _, shape, start in zip(*layout, strict=True))


class Flat(NamedTuple):
    """A flat array, and the views of it that have names."""

    whole: Array
    layout: Layout
    views: tuple[Array, ...]


class Flats(dict[str, Array]):
    """Arrays by name, some of which are views of flat ones, one after another; what is put beside them stands alone.

    A flat array comes with a layout, or with arrays that it is laid out as. `finite` says that all of their numbers are
    known to be so.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        flats: Iterable[tuple[Array, Mapping[str, Array] | Layout]],
        *,
        finite: bool = False,
    ) -> None:
        super().__init__(arrays)
        found = []
        for whole, like in flats:
            layout = like if isinstance(like, Layout) else Layout.of(like)
            views = unpacked(whole, layout)
            self.update(zip(layout.names, views, strict=True))
            found.append(Flat(whole, layout, views))
        self._flats, self._finite = tuple(found), finite

    def flat(self, names: Iterable[str]) -> Flat | None:
        """The flat array of just these names, and its views, where there is one."""
        wanted = tuple(names)
        for flat in self._flats:
            if flat.layout.names == wanted and all(map(is_, map(self.get, wanted), flat.views)):
                return flat
        return None

    def whole(self, names: Iterable[str]) -> Array | None:
        """The flat array of just these names, where there is one."""
        flat = self.flat(names)
        return None if flat is None else flat.whole

    @property
    def are_finite(self) -> bool:
        """Whether all numbers are known to be finite."""
        return self._finite and all(self.flat(flat.layout.names) is not None for flat in self._flats)


class Standing(NamedTuple):
    """Arrays by name, each in the order of its rows, and where they stand."""

    arrays: Mapping[str, Array]
    starts: Array


def standing(arrays: Mapping[str, Array]) -> Standing | None:
    """Arrays of one type and their addresses, in their order; None where some are not in the order of their rows."""
    flat = arrays.flat(arrays) if isinstance(arrays, Flats) else None
    if flat is not None:
        return Standing(arrays, _offsets(flat.layout) * flat.whole.itemsize + _start(flat.whole))
    if not all(array.flags.c_contiguous for array in arrays.values()):
        return None
    return Standing(arrays, np.array([_start(array) for array in arrays.values()], np.int64))


@lru_cache(maxsize=64)
def _offsets(layout: Layout) -> Array:
    return np.array(layout.starts, np.int64)


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
