"""Repeats of layers: calls that come again with arrays of the same shapes take the shortest way there is.

What it gives is what the long way gives, to the bit. And it takes only what it knows for certain: an array of another type,
a state of another layer, a number that is not finite go the long way, past every check, where errors are raised.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np

from elman.gates import Array
from elman.packs import Standing
from elman.rooms import SMALL, rooms
from elman.states import State

KEPT = 8
"""Shapes that a layer keeps buffers for."""

Key = tuple[object, bool, tuple[int, ...]]
"""What decides which program runs (`circumstances`), whether it is one step, and the axes of the input before the last: of a
step none, or `B`; of a sequence `T`, or `B` and `T`."""


class Repeat(Protocol):
    """The repeat of a program: buffers by name, `[B, T, ...]` and of states `[B, ...]`, and a run over them."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    first: dict[str, Array]
    last: dict[str, Array]

    def run(self) -> bool:
        """Read the inputs and the first states, write the outputs and the last states; not if some number is not finite."""
        ...


Names = Mapping[str, str]
"""The parameters of a program, and how they are called among those that are given."""


class Bound(Protocol):
    """A call of a program over arrays that stay where they are: inputs `[T, B, ...]`, states `[B, ...]`, and the outputs."""

    outputs: dict[str, Array]
    first: dict[str, Array]
    last: dict[str, Array]

    def deliver(self, flat: Array, places: Mapping[str, int]) -> None:
        """Let every run put its sums, by name, into places of a flat array, each in the order of its rows."""
        ...

    def run(self, given: Standing, lengths: Array | None = None) -> None:
        """Read these parameters, the inputs and the first states, and write the rest."""
        ...

    def chain(self, others: Sequence[Any], squares: Callable[[], list[float]]) -> "Chain | None":
        """One call of this, others, one after another, and squares if it can; None where something is to do between."""
        ...


class Chain(Protocol):
    """Bound calls that are made as one."""

    def run(self, given: Standing, lengths: Array | None = None) -> list[float] | None:
        """Run all, and tell the squares, unless they are for the caller."""
        ...


class LayerRepeat:
    """The repeat of a layer. One call at a time may have it."""

    def __init__(self, repeat: Repeat, x: Array, y: Array, initial: State) -> None:
        self._repeat, self._x, self._y, self._dtype = repeat, x, y, x.dtype
        self._cell, self._batch, self._equations = initial.cell, initial.batch, initial.equations
        self._first = [(n, repeat.first[n].reshape(value.shape), value.shape, value) for n, value in initial.items()]
        self._last = [(name, repeat.last[name].reshape(value.shape)) for name, value in initial.items()]

    def call(self, x: Array, state: Any) -> tuple[Array, State] | None:
        """The output and the state; None where this is a matter for the long way. `x` is of the shape and type."""
        if not self._begins(state):
            return None
        self._x[...] = x
        if not self._repeat.run():
            return None
        fields = {name: value.copy() for name, value in self._last}
        y = self._y.copy() if self._y.nbytes < SMALL else _in_room(self._y)
        return y, State._of(fields, self._cell, self._batch, self._equations)

    def _begins(self, state: Any) -> bool:
        """Whether the state, which is in the buffers then, is one that the layer makes."""
        if state is None:
            for _, buffer, _, initial in self._first:
                buffer[...] = initial
            return True
        if type(state) is not State or state.equations != self._equations or state.cell != self._cell:
            return False
        fields = state._fields
        if len(fields) != len(self._first):
            return False
        for name, buffer, shape, _ in self._first:
            value = fields.get(name)
            if type(value) is not np.ndarray or value.shape != shape or value.dtype != self._dtype:
                return False
            buffer[...] = value
        return True


def _in_room(array: Array) -> Array:
    """A copy in memory that is used again."""
    copied = rooms.take(array.shape, array.dtype)
    copied[...] = array
    return copied


class Repeats:
    """The repeats of a layer that no call has at the moment, by shape; threads may call at the same time.

    One is made when a shape comes for the second time. They hold parameters, and last as long as these.
    """

    def __init__(self, make: Callable[[Key], LayerRepeat | None]) -> None:
        self._make, self._lock = make, Lock()
        self._free: dict[Key, list[LayerRepeat] | None] = {}  # None: there is no short way

    def ready(self, key: Key) -> bool:
        """Whether there is a short way for a shape, which came before."""
        free = self._free.get(key)
        if free is None:
            if key not in self._free:
                self._keep(key, [])
            return False
        if not free:
            repeat = self._make(key)
            if repeat is None:
                self._keep(key, None)
                return False
            free.append(repeat)
        return True

    def call(self, x: Array, state: Any, key: Key) -> tuple[Array, State] | None:
        """The output and the state of a call of a shape that is ready; None where it goes the long way."""
        free = self._free.get(key)
        try:
            repeat = free.pop() if free else None  # atomic, so that no two calls get the same
        except IndexError:
            repeat = None
        if free is None or repeat is None:  # another thread has it
            return None
        found = repeat.call(x, state)
        free.append(repeat)
        return found

    def _keep(self, key: Key, free: list[LayerRepeat] | None) -> None:
        """Forget the shape that came first if there are too many."""
        with self._lock:
            while len(self._free) >= KEPT and key not in self._free:
                del self._free[next(iter(self._free))]
            self._free[key] = free
