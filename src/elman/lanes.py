"""Lanes of layers: the shortest way of one sequence that goes on step by step, where the target has one.

A lane computes what a whole sequence would, to the bit; it only keeps its buffers. It lasts while the parameters do.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from elman.gates import Array
from elman.trees import Tree


class StepLane(Protocol):
    """The lane of a program: buffers by name, and a step."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    states: dict[str, Array]

    def step(self) -> None:
        """Read the inputs, write the outputs, carry the states on."""
        ...


class LayerLane:
    """The lane of a layer, or of layers one upon another: `x` is written, `step` called, `y` read."""

    def __init__(
        self,
        x: Array,
        y: Array,
        steps: Sequence[StepLane],
        states: Callable[[], Tree],
        is_current: Callable[[], bool],
        limit: int = 0,
    ) -> None:
        self.x, self.y, self.lanes, self.states, self.is_current = x, y, tuple(steps), states, is_current
        self.limit = limit  # of a token; 0 where features are read
        self._steps = tuple(lane.step for lane in steps)
        self._bytes = bytearray(x.size)
        self._finite = np.frombuffer(self._bytes, np.bool_).reshape(x.shape)

    def takes(self, x: Any) -> bool:
        """Write the input of a step, a token or an array like the buffer; not if it is no such, or not finite."""
        if self.limit:
            if type(x) is not int or not 0 <= x < self.limit:
                return False
        elif type(x) is not np.ndarray or x.shape != self.x.shape or x.dtype != self.x.dtype:
            return False
        else:
            np.isfinite(x, self._finite)
            if 0 in self._bytes:
                return False
        if not self.is_current():
            return False
        self.x[...] = x
        return True

    def step(self) -> None:
        """One step of all."""
        for step in self._steps:
            step()


def chained(lanes: dict[str, LayerLane]) -> LayerLane:
    """Lanes of parts of which each reads what the one before it writes."""
    first, last = next(iter(lanes.values())), next(reversed(lanes.values()))

    def states() -> Tree:
        return {name: lane.states() for name, lane in lanes.items()}

    def is_current() -> bool:
        return all(lane.is_current() for lane in lanes.values())

    steps = [step for lane in lanes.values() for step in lane.lanes]
    return LayerLane(first.x, last.y, steps, states, is_current, first.limit)
