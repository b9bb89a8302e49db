"""Streams: a sequence that goes on from push to push.

What is pushed runs through the same public door as a whole sequence; a stream adds a state that is kept, and a lock, so that
pushes from several threads come one after another.
"""

from threading import RLock
from typing import Any, Protocol, Self

from elman.errors import ShapeError, StreamError
from elman.gates import Array
from elman.lanes import LayerLane
from elman.shapes import written
from elman.states import State
from elman.trees import Tree


class Running(Protocol):
    """What can run in a stream: a layer, or a model."""

    name: str

    def _lane_from(self, state: State, *, tokens: bool) -> LayerLane | None:
        """The shortest way to go on step by step from a state; None where there is none."""
        ...

    def _state_of(self, states: Tree, batch: int | None = None) -> State:
        """The state of one sequence, or of a batch, from copies of the arrays of a lane."""
        ...

    def _resumed(self, state: State | None, batch: int | None) -> State:
        """A state that was given to go on from, checked; the initial one where none was."""
        ...

    def _advance(self, x: Array, state: State, lengths: Any = None) -> tuple[Array, State]:
        """Outputs and state after a chunk `[T, ...]`, or a batch of them `[B, T, ...]`."""
        ...

    def _pushed(self, x: Any) -> tuple[Array, bool]:
        """What a caller pushed as an array `[T, ...]`, and whether it was one step."""
        ...


class Closing:
    """What is pushed to until it is closed; a `with` block closes it. Pushes from several threads come one after another."""

    _ended: str
    """What is said where it is closed."""

    _copied: str
    """What is said where it is copied."""

    def __init__(self, of: Running) -> None:
        self._of, self._lock, self._closed = of, RLock(), False

    def close(self) -> None:
        """End it: from now on it takes nothing more. Closing twice does nothing."""
        with self._lock:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise StreamError(f"{self._of.name}: {self._copied}")

    def _open(self) -> None:
        if self._closed:
            raise StreamError(f"{self._of.name}: {self._ended}")


class Stream(Closing):
    """A sequence that goes on: `push` a step or a chunk, and the state is kept for the next push.

    Made by `model.stream()` or `layer.stream()`; a `with` block closes it. One stream may be pushed to from several threads,
    one push after another.

    >>> import numpy as np, elman
    >>> stream = elman.RNN(elman.cells.gru, input=3, hidden=5).stream()
    >>> stream.push(np.ones(3)).shape, stream.push(np.ones((4, 3))).shape, stream
    ((5,), (4, 5), Stream(gru, 5 steps))
    """

    _ended = "this stream is closed; stream() opens another"
    _copied = "a stream is not copied or pickled; its state is, and stream(state) goes on from it"

    def __init__(self, of: Running, state: State | None = None) -> None:
        super().__init__(of)
        self._state, self._steps = of._resumed(state, None), 0
        self._lane: LayerLane | None = None  # while there is one, the state stands in it
        self._may_have_lane = True

    def push(self, x: Any) -> Array:
        """Run on over one step (`[I]`, or a token) or a chunk (`[T, I]`, tokens `[T]`, text); returns its outputs.

        A push that raises leaves the stream as it was. Raises `StreamError` where the stream is closed, and what a whole
        sequence would for an input that does not fit.
        """
        with self._lock:
            self._open()
            lane = self._lane
            if lane is not None and lane.takes(x) and lane.step():
                y: Array = lane.y.copy()
                # Nothing is called between these two, so that an interrupt comes before both or behind.
                lane.turn ^= 1
                self._steps += 1
                return y
            return self._push(x)

    def _push(self, x: Any) -> Array:
        """The long way, past every check; a step at its end opens the short one for the next."""
        chunk, single = self._of._pushed(x)
        if chunk.ndim > (1 if chunk.dtype.kind in "iu" else 2):
            fix = "streams(n) runs sequences side by side"
            raise ShapeError(f"{self._of.name}: {written(chunk.shape)} is pushed; a step or a chunk is wanted, and {fix}")
        y, state = self._of._advance(chunk, self.state)
        lane = self._of._lane_from(state, tokens=chunk.dtype.kind in "iu") if single and self._may_have_lane else None
        y, steps = y[0] if single else y, self._steps + len(chunk)
        self._may_have_lane &= lane is not None or not single
        self._state, self._lane, self._steps = state, lane, steps  # all at once, as above
        return y

    @property
    def state(self) -> State:
        """The state after the last push; it can be read when the stream is closed, too."""
        with self._lock:
            return self._state if self._lane is None else self._of._state_of(self._lane.states())

    @property
    def steps(self) -> int:
        """How many steps have gone through since the start or the last reset."""
        return self._steps

    def reset(self, state: State | None = None) -> None:
        """Start anew: from the initial state, or from another. Raises `StreamError` where the stream is closed."""
        with self._lock:
            self._open()
            first = self._of._resumed(state, None)
            self._state, self._steps, self._lane = first, 0, None

    def __repr__(self) -> str:
        return f"Stream({self._of.name}, {self._steps} step{'s' * (self._steps != 1)}{', closed' * self._closed})"
