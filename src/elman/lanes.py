"""Lanes of layers: the shortest way of one sequence that goes on step by step, where the target has one.

A lane computes what a whole sequence would, to the bit; it only keeps its buffers. It lasts while the parameters do.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from elman.arrays import is_finite
from elman.gates import Array
from elman.trees import Tree


class StepLane(Protocol):
    """The lane of a program: buffers by name, those of the states twice, and a step."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    states: tuple[dict[str, Array], dict[str, Array]]

    def step(self, turn: int) -> bool:
        """Read the inputs and the states of a turn (0 or 1), write the outputs and the states of the other.

        Returns False where an input that a caller wrote is not finite.
        """
        ...


class RowsStep(StepLane, Protocol):
    """The lane of a program for many examples side by side."""

    def choose(self, rows: Array | None) -> None:
        """Let these rows, or all, take the next steps."""
        ...


class LayerLane:
    """The lane of a layer, or of layers one upon another: `x` is written, `step` called, `y` read, and `turn` turned.

    Only that counts the step as done, for all layers at once: a step that was broken off has not been.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        steps: Sequence[StepLane],
        states: Callable[[int], Tree],
        is_current: Callable[[], bool],
        limit: int = 0,
    ) -> None:
        self.x, self.y, self.lanes, self.states_of, self.is_current = x, y, tuple(steps), states, is_current
        self.turn = 0
        self.limit = limit  # of a token; 0 where features are read
        self._steps = tuple(lane.step for lane in steps)
        self._shape, self._dtype = x.shape, x.dtype

    def takes(self, x: Any) -> bool:
        """Write the input of a step, a token or an array like the buffer; not if it is no such."""
        if self.limit:
            if type(x) is not int or not 0 <= x < self.limit:
                return False
        elif type(x) is not np.ndarray or x.shape != self._shape or x.dtype != self._dtype:
            return False
        if not self.is_current():
            return False
        self.x[...] = x
        return True

    def step(self) -> bool:
        """One step of all; not if the input is not finite."""
        turn, done = self.turn, True
        for step in self._steps:
            done = done and step(turn)
        return done

    def states(self) -> Tree:
        """The states after the last step that counts."""
        return self.states_of(self.turn)


def chained(lanes: dict[str, LayerLane]) -> LayerLane:
    """Lanes of parts of which each reads what the one before it writes."""
    first, last = next(iter(lanes.values())), next(reversed(lanes.values()))

    def states(turn: int) -> Tree:
        return {name: lane.states_of(turn) for name, lane in lanes.items()}

    def is_current() -> bool:
        return all(lane.is_current() for lane in lanes.values())

    steps = [step for lane in lanes.values() for step in lane.lanes]
    return LayerLane(first.x, last.y, steps, states, is_current, first.limit)


class PoolLane:
    """The lane of many sequences side by side, of which all take a step, or some."""

    def __init__(self, lane: LayerLane) -> None:
        self._lane = lane

    def push(self, x: Array, rows: Array | None) -> Array | None:
        """The outputs of a step of all rows, or of these; None, and nothing is done, where `x` does not fit the buffer."""
        lane = self._lane
        found = self._fitting(x, len(lane.x) if rows is None else len(rows))
        if found is None:
            return None
        for each in cast(tuple[RowsStep, ...], lane.lanes):
            each.choose(rows)
        lane.x[... if rows is None else rows] = found
        lane.step()
        y: Array = lane.y.copy() if rows is None else lane.y[rows]
        # Nothing is called between these two, so that an interrupt comes before both or behind.
        lane.turn ^= 1
        return y

    def _fitting(self, x: Array, count: int) -> Array | None:
        """What goes into the buffer: tokens within the limit, or floats, of its type, that are finite."""
        lane = self._lane
        if x.shape != (count, *lane.x.shape[1:]) or not lane.is_current():
            return None
        if lane.limit:
            return x if x.dtype.kind in "iu" and x.min() >= 0 and x.max() < lane.limit else None
        if x.dtype.kind != "f":
            return None
        if x.dtype != lane.x.dtype:
            with np.errstate(over="ignore"):
                x = x.astype(lane.x.dtype)
        return x if is_finite(x) else None

    def states(self) -> Tree:
        """The states after the last step that counts."""
        return self._lane.states()
