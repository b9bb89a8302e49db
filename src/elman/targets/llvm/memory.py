"""Memory that begins with a line of the cache, where it stands, and workspaces that calls borrow."""

import ctypes
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned

LARGEST = 1 << 26
"""Bytes of the largest workspace that is kept for the next call."""


def address(array: Array) -> int:
    """Where an array stands; four times as fast as NumPy where nobody forbids to write."""
    flags = array.flags
    if flags.writeable and flags.c_contiguous and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    start: int = array.__array_interface__["data"][0]  # in less time than `ctypes.data`
    return start


def lines(count: int, dtype: np.dtype[Any]) -> Array:
    """Zeros, at least so many, in whole lines of the cache."""
    each = LINE // dtype.itemsize
    memory = aligned((-(-count // each) * each,), dtype)
    memory[:] = 0
    return memory


def side_by_side(shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> tuple[Array, dict[str, Array]]:
    """Zeros in whole lines of the cache, and arrays by name in them, one after another, each from a line on."""
    each, at, starts = LINE // dtype.itemsize, 0, {}
    for name, shape in shapes.items():
        starts[name] = at
        at += -(-prod(shape) // each) * each
    memory = lines(at, dtype)
    return memory, {name: memory[at : at + prod(shapes[name])].reshape(shapes[name]) for name, at in starts.items()}


class Workspaces:
    """Memory that calls borrow and give back: each call has its own, and the next need not ask the system for it."""

    def __init__(self) -> None:
        self._free: list[Array] = []

    def take(self, size: int) -> Array:
        """At least so many bytes from a line of the cache on."""
        try:
            memory = self._free.pop()  # atomic, so that no two calls get the same
        except IndexError:
            memory = np.empty(0, np.uint8)
        return memory if len(memory) >= size else aligned((2 * size,), np.dtype(np.uint8))

    def give(self, memory: Array) -> None:
        """Keep what was taken for the next."""
        if len(memory) <= LARGEST:
            self._free.append(memory)


workspaces = Workspaces()
