"""Packs: arrays by name that stand in one flat array, and flat arrays in blocks that stay in the cache.

An operation of NumPy costs half a microsecond however little it does, and a small network has a dozen arrays of a few
numbers each; so these go together, and what is remembered of them with them.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np

from elman.gates import Array

BLOCK = 8192
"""Numbers that are worked on at a time."""


def packed(arrays: Sequence[Array]) -> Array:
    """Arrays as one flat array `[n]`, each in its order of rows; a view where there is but one."""
    flat = [array.reshape(-1) for array in arrays]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


@dataclass(frozen=True, eq=False)
class Layout:
    """How arrays stand in a flat one, one after another: names, shapes, and at which number each begins.

    There is one object for all that stand alike, which keeps what is derived from it.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    _under: dict[str, "Layout"] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, like: Mapping[str, Array]) -> "Layout":
        """That of arrays of these names and shapes."""
        return _layout(tuple(like), tuple(array.shape for array in like.values()))

    def under(self, kind: str) -> "Layout":
        """That of arrays of another kind, which stand alike: first/waa."""
        found = self._under.get(kind)
        if found is None:
            found = self._under[kind] = _layout(tuple(f"{kind}/{name}" for name in self.names), self.shapes)
        return found

    @cached_property
    def offsets(self) -> Array:
        """The starts as an array."""
        return np.array(self.starts, np.int64)

    def views(self, flat: Array) -> dict[str, Array]:
        """The arrays by name."""
        size, dtype = flat.itemsize, flat.dtype
        views = (np.ndarray(shape, dtype, flat, at * size) for shape, at in zip(self.shapes, self.starts, strict=True))
        return dict(zip(self.names, views, strict=True))

    def __reduce__(self) -> Any:
        return _layout, (self.names, self.shapes)


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Layout:
    return Layout(names, shapes, tuple(accumulate(map(prod, shapes), initial=0))[:-1])


class Flat(NamedTuple):
    """A flat array, and how arrays stand in it."""

    whole: Array
    layout: Layout


class Flats(MutableMapping[str, Array]):
    """Arrays by name, some of which are views of flat ones, made when somebody looks; what is `beside` these stands alone.

    A flat array comes with a layout, or with arrays that it is laid out as; where one is put in the place of another, all
    stand alone. `are_finite` says that all numbers are known to be so.
    """

    def __init__(
        self,
        beside: Mapping[str, Array],
        flats: Iterable[tuple[Array, Mapping[str, Array] | Layout]],
        *,
        finite: bool = False,
    ) -> None:
        self.beside, self.are_finite, self._views = beside, finite, dict[str, Array]()
        self.flats = tuple([Flat(whole, like if isinstance(like, Layout) else Layout.of(like)) for whole, like in flats])

    @property
    def only(self) -> Flat | None:
        """The flat array that holds all, where one does."""
        return self.flats[0] if len(self.flats) == 1 and not self.beside else None

    def whole(self, names: Iterable[str]) -> Array | None:
        """The flat array of just these names, where there is one."""
        wanted = tuple(names)
        return next((flat.whole for flat in self.flats if flat.layout.names == wanted), None)

    def lock(self) -> None:
        """Let nobody write to the flat arrays any more."""
        for array in (*(flat.whole for flat in self.flats), *self._views.values()):
            array.flags.writeable = False

    def __getitem__(self, name: str) -> Array:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __setitem__(self, name: str, array: Array) -> None:
        self._stand_alone({**self._all(), name: array})

    def __delitem__(self, name: str) -> None:
        self._stand_alone({other: array for other, array in self._all().items() if other != name})

    def _all(self) -> dict[str, Array]:
        if not self._views:
            found = dict(self.beside)
            for whole, layout in self.flats:
                found |= layout.views(whole)
            self._views = found
        return self._views

    def _stand_alone(self, arrays: dict[str, Array]) -> None:
        self.beside, self.flats, self.are_finite, self._views = arrays, (), False, arrays


class Renamed(Mapping[str, Array]):
    """Some of the arrays of another mapping, under names of their own; looked up when somebody asks."""

    def __init__(self, arrays: Mapping[str, Array], names: Mapping[str, str]) -> None:
        self._arrays, self._names = arrays, names

    def __getitem__(self, name: str) -> Array:
        return self._arrays[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Standing(NamedTuple):
    """Arrays by name, each in the order of its rows, and where they stand."""

    arrays: Mapping[str, Array]
    starts: Array


def standing(arrays: Mapping[str, Array]) -> Standing | None:
    """Arrays of one type and their addresses, in their order; None where some are not in the order of their rows."""
    flat = arrays.only if isinstance(arrays, Flats) else None
    if flat is not None:
        return Standing(arrays, flat.layout.offsets * flat.whole.itemsize + _start(flat.whole))
    if not all(array.flags.c_contiguous for array in arrays.values()):
        return None
    return Standing(arrays, np.array([_start(array) for array in arrays.values()], np.int64))


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
