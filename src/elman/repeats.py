"""Repeats of layers: calls that come again with arrays of the same shapes take the shortest way there is.

What it gives is what the long way gives, to the bit. And it takes only what it knows for certain: an array of another type,
a state of another layer, a number that is not finite go the long way, past every check, where errors are raised.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from elman.gates import Array
from elman.states import State

KEPT = 8
"""Shapes that a layer keeps buffers for."""

Key = tuple[bool, tuple[int, ...]]
"""Whether a call is a step, and the shape of its input."""


class Repeat(Protocol):
    """The repeat of a program: buffers by name, `[B, T, ...]` and of states `[B, ...]`, and a run over them."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    first: dict[str, Array]
    last: dict[str, Array]

    def run(self) -> bool:
        """Read the inputs and the first states, write the outputs and the last states.

        Not if some number is not finite, or another way is faster for now.
        """
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
        return self._y.copy(), State._of(fields, self._cell, self._batch, self._equations)

    def _begins(self, state: Any) -> bool:
        """Whether the state, which is in the buffers then, is one that the layer makes."""
        if state is None:
            for _, buffer, _, initial in self._first:
                buffer[...] = initial
            return True
        if type(state) is not State or state.equations != self._equations or state.cell != self._cell:
            return False
        fields = state._fields
        if state.batch != self._batch or len(fields) != len(self._first):
            return False
        for name, buffer, shape, _ in self._first:
            value = fields.get(name)
            if type(value) is not np.ndarray or value.shape != shape or value.dtype != self._dtype:
                return False
            buffer[...] = value
        return True


class Repeats:
    """The repeats of a layer that no call has at the moment, by shape; threads may call at the same time.

    One is made when a shape comes for the second time with the same parameters: while these are learnt none ever is.
    """

    def __init__(self, make: Callable[[Key], LayerRepeat | None]) -> None:
        self._make = make
        self._free: dict[Key, tuple[object, list[LayerRepeat] | None]] = {}

    def call(self, x: Array, state: Any, key: Key, now: object) -> tuple[Array, State] | None:
        """The output and the state of a call; None where it goes the long way. `now` stands for what all depends on."""
        since, free = self._free.get(key, (None, None))
        if since != now:
            self._forget(key, now)
            return None
        if free is None:  # there is no short way
            return None
        try:
            repeat: LayerRepeat | None = free.pop()  # atomic, so that no two calls get the same
        except IndexError:
            repeat = self._make(key)
        if repeat is None:
            self._free[key] = now, None
            return None
        found = repeat.call(x, state)
        free.append(repeat)
        return found

    def _forget(self, key: Key, now: object) -> None:
        """Begin anew for a shape, and forget the one that came first if there are too many."""
        while len(self._free) >= KEPT and key not in self._free:
            self._free.pop(next(iter(self._free)), None)
        self._free[key] = now, []
