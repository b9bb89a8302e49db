"""Arrays for results, in memory that is used again.

The system clears memory before it gives it away, which takes as long as to compute what goes in. So arrays of sizes that are
asked for again are used again, as soon as nobody holds them; of a size that is asked for once nothing is kept.
"""

from ctypes import addressof, c_char
from math import prod
from typing import Any, NamedTuple

import numpy as np

from elman.gates import Array

LINE = 64
"""Bytes of a line of the cache, with which such an array begins."""

SMALL, LARGEST = 1 << 16, 1 << 26
"""Bytes of the smallest array that is used again, for the allocator serves smaller ones well, and of the largest."""

SIZES, HELD = 16, 1 << 26
"""Sizes of arrays of which some are kept for the next, and bytes of those of each size."""


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A new array that begins with a line of the cache."""
    size = prod(shape) * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -addressof(c_char.from_buffer(memory)) % LINE  # type: ignore[arg-type]  # half as long as NumPy takes
    return memory[start : start + size].view(dtype).reshape(shape)


class _Rented:
    """Memory under an array: when the last array that looks at it is gone, it is free for the next."""

    __slots__ = ("__array_interface__", "_free", "_memory")

    def __init__(self, memory: "_Memory", shape: tuple[int, ...], dtype: np.dtype[Any], free: list["_Memory"]) -> None:
        self._memory, self._free = memory, free
        self.__array_interface__ = {"version": 3, "data": (memory.start, False), "shape": shape, "typestr": dtype.str}

    def __del__(self) -> None:
        if (len(self._free) + 1) * len(self._memory.array) <= HELD:
            self._free.append(self._memory)


class _Memory(NamedTuple):
    """Bytes, and where they stand, which NumPy takes a microsecond to tell."""

    array: Array
    start: int


class Rooms:
    """The memory that is free, by size."""

    def __init__(self) -> None:
        self._free: dict[int, list[_Memory] | None] = {}  # None: asked for once

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, line: bool = False) -> Array:
        """An array that holds anything; with `line` also a small one begins with a line of the cache."""
        size = prod(shape) * dtype.itemsize
        if not SMALL <= size <= LARGEST:
            return aligned(shape, dtype) if line else np.empty(shape, dtype)
        is_known, free = size in self._free, self._free.pop(size, None)
        for oldest in [*self._free][: 1 - SIZES]:  # listed at once, as other threads ask meanwhile
            self._free.pop(oldest, None)
        self._free[size] = free = ([] if free is None else free) if is_known else None
        if free is None:
            return aligned(shape, dtype)
        try:
            memory = free.pop()  # atomic, so that no two callers get the same
        except IndexError:
            array = aligned((size,), np.dtype(np.uint8))
            memory = _Memory(array, int(array.ctypes.data))
        return np.asarray(_Rented(memory, shape, dtype, free))


rooms = Rooms()
