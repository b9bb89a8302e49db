"""Streams: sequences that go on from push to push, one by itself or many side by side.

What is pushed runs through the same public door as a whole sequence; a stream adds a state that is kept, and a lock, so that
pushes from several threads come one after another.

Longer than the guide for a file: one stream and a pool of them are one idea, and each has its own words for mistakes.
"""

from collections.abc import Iterable, Mapping
from threading import RLock
from typing import Any, Protocol, Self

import numpy as np

from elman.arrays import as_array
from elman.errors import DataError, SettingError, ShapeError, StreamError
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

    def _state_of(self, states: Tree) -> State:
        """The state of one sequence from the arrays of a lane."""
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


class Stream:
    """A sequence that goes on: `push` a step or a chunk, and the state is kept for the next push.

    Made by `model.stream()` or `layer.stream()`; a `with` block closes it. One stream may be pushed to from several threads,
    one push after another.

    >>> import numpy as np, elman
    >>> stream = elman.RNN(elman.cells.gru, input=3, hidden=5).stream()
    >>> stream.push(np.ones(3)).shape, stream.push(np.ones((4, 3))).shape, stream
    ((5,), (4, 5), Stream(gru, 5 steps))
    """

    def __init__(self, of: Running, state: State | None = None) -> None:
        self._of, self._lock, self._closed, self._steps = of, RLock(), False, 0
        self._state = of._resumed(state, None)
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

    def close(self) -> None:
        """End the stream: from now on nothing can be pushed. Closing twice does nothing."""
        with self._lock:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Stream({self._of.name}, {self._steps} step{'s' * (self._steps != 1)}{', closed' * self._closed})"

    def __reduce__(self) -> tuple[Any, ...]:
        fix = "its state is, and stream(state) goes on from it"
        raise StreamError(f"{self._of.name}: a stream is not copied or pickled; {fix}")

    def _open(self) -> None:
        if self._closed:
            raise StreamError(f"{self._of.name}: this stream is closed; stream() opens another")


class Streams:
    """A pool of independent streams that advance together: one call pushes to all of them, or to those that have data.

    Made by `model.streams(n)` or `layer.streams(n)`. Each stream has a number, from 0 on, that is never given again; `join`
    adds one, `leave` ends one, and no stream sees another's state. May be used from several threads.

    >>> import numpy as np, elman
    >>> pool = elman.RNN(elman.cells.gru, input=3, hidden=5).streams(2)
    >>> pool.push(np.ones((2, 3))).shape, pool.join(), pool.push(np.ones((1, 3)), streams=[2]).shape
    ((2, 5), 2, (1, 5))
    >>> pool.leave(0), pool
    (State(gru, h (5)), Streams(gru: 1, 2))
    """

    def __init__(self, of: Running, count: int = 0) -> None:
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise SettingError(f"streams({count!r}): a number of streams, 0 or more, is wanted")
        self._of, self._lock, self._closed = of, RLock(), False
        self._rows = {number: number for number in range(count)}
        self._next, self._state = int(count), of._resumed(None, int(count))

    def push(self, x: Any, streams: Iterable[int] | None = None, *, lengths: Any = None) -> Any:
        """Run on over a step each (`[n, I]`, or tokens `[n]`), or a chunk each (`[n, T, I]`, or tokens `[n, T]`).

        `streams`: the numbers of those that have data, in the order of the rows (all, in the order of `numbers`); with
        `lengths` a row takes so many steps of its chunk only. Returns outputs `[n, ...]` or `[n, T, ...]`. Given a mapping
        from numbers to steps or chunks of any lengths, returns a mapping from numbers to outputs. Either all streams advance
        or, where something does not fit, none.

        Raises `StreamError` for a number that is not in the pool, or twice, and for a closed pool.
        """
        with self._lock:
            self._open()
            if isinstance(x, Mapping):
                if streams is not None or lengths is not None:
                    raise StreamError(f"{self._of.name}: a mapping says which streams and how long; give it alone")
                return self._push_each(x)
            rows = None if streams is None else self._chosen(streams)
            x, count = _array(self._of.name, x), len(self._rows if rows is None else rows)
            if x.ndim == 0 or len(x) != count:
                raise ShapeError(f"{self._of.name}: {written(x.shape)} for {count} streams; one row a stream is wanted")
            if not count:
                fix = "streams=[] names none; name one, or leave it out for all" if self._rows else "join() adds one"
                raise StreamError(f"{self._of.name}: there is no stream to push to; {fix}")
            _, single = self._of._pushed(x[0])
            try:
                y = self._advance(x[:, None] if single else x, rows, lengths)
            except DataError:
                numbers, ends = self.numbers, [None] * count if lengths is None else np.asarray(lengths).tolist()
                chosen = range(count) if rows is None else rows
                self._blame({numbers[row]: each[:end] for row, each, end in zip(chosen, x, ends, strict=True)})
                raise
        return y[:, 0] if single else y

    def join(self, state: State | None = None) -> int:
        """Add a stream, at the initial state or at another; returns its number."""
        with self._lock:
            self._open()
            added = self._of._resumed(state, None)
            self._state = State.stack([self._state, added]) if self._rows else State.stack([added])
            number, self._next = self._next, self._next + 1
            self._rows[number] = len(self._rows)
        return number

    def leave(self, number: int) -> State:
        """End a stream; returns its last state, which another may join with. Raises `StreamError` for another number."""
        with self._lock:
            self._open()
            [row] = self._chosen([number])
            last: State = self._state[row]
            numbers = [other for other in self._rows if other != number]
            self._state = self._state[[self._rows[other] for other in numbers]]
            self._rows = {other: position for position, other in enumerate(numbers)}
        return last

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Start streams anew (all of them)."""
        with self._lock:
            self._open()
            rows = self._chosen(self._rows if streams is None else streams)
            if rows:
                self._state = _replaced(self._state, rows, self._of._resumed(None, len(rows)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the streams, in the order of the rows."""
        return tuple(self._rows)

    @property
    def state(self) -> State:
        """The states of all streams, a batch in the order of `numbers`."""
        return self._state

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """End the pool: from now on nothing can be pushed, and nobody joins. Closing twice does nothing."""
        with self._lock:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        numbers = ", ".join(map(str, self._rows)) if len(self._rows) <= 8 else f"{len(self._rows)} streams"
        return f"Streams({self._of.name}: {numbers or 'none'}{', closed' * self._closed})"

    def __reduce__(self) -> tuple[Any, ...]:
        fix = "its state is, and join(state[row]) goes on from it"
        raise StreamError(f"{self._of.name}: a pool of streams is not copied or pickled; {fix}")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _advance(self, x: Array, rows: list[int] | None, lengths: Any) -> Array:
        """Run on with these rows of the state; None: with all, in their order."""
        if rows is None or rows == list(range(len(self._rows))):
            y, self._state = self._of._advance(x, self._state, lengths)
        else:
            y, state = self._of._advance(x, self._state[rows], lengths)
            self._state = _replaced(self._state, rows, state)
        return y

    def _push_each(self, pushed: Mapping[int, Any]) -> dict[int, Array]:
        """Steps and chunks of any lengths, as one padded batch."""
        rows, chunks = self._chosen(pushed), [self._of._pushed(x) for x in pushed.values()]
        if not rows:
            return {}
        lengths = [len(chunk) for chunk, _ in chunks]
        first = chunks[0][0]
        kinds = [chunk.dtype for chunk, _ in chunks]
        wide = np.int64 if first.dtype.kind in "iu" else np.result_type(*kinds)
        padded = np.zeros((len(rows), max(lengths), *first.shape[1:]), wide)
        for row, (number, (chunk, _)) in enumerate(zip(pushed, chunks, strict=True)):
            if chunk.shape[1:] != first.shape[1:] or (chunk.dtype.kind in "iu") != (first.dtype.kind in "iu"):
                other = f"{first.dtype} {written(first.shape[1:])} a step for stream {next(iter(pushed))}"
                raise ShapeError(f"{self._of.name}: {chunk.dtype} {written(chunk.shape[1:])} for stream {number}, {other}")
            padded[row, : len(chunk)] = chunk
        try:
            y = self._advance(padded, rows, lengths)
        except DataError:
            self._blame(pushed)
            raise
        return {
            number: y[row, 0] if single else y[row, : len(chunk)]
            for row, (number, (chunk, single)) in enumerate(zip(pushed, chunks, strict=True))
        }

    def _blame(self, pushed: Mapping[int, Any]) -> None:
        """Raises `DataError` that says which stream was given a number that is none, and where."""
        for number, x in pushed.items():
            array = np.asarray(x)
            wrong = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(0, bool)
            if wrong.any():
                place = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise DataError(f"{self._of.name}: what stream {number} is given holds NaN or infinity (first at {place})")

    def _chosen(self, numbers: Iterable[int]) -> list[int]:
        """Rows of streams. Raises `StreamError` for numbers that are not there, or twice."""
        try:
            numbers = list(numbers)
            hash(tuple(numbers))
        except TypeError:
            raise StreamError(f"{self._of.name}: streams={numbers!r}; a list of the numbers of streams is wanted") from None
        for number in numbers:
            if number not in self._rows:
                there = ", ".join(map(str, self._rows)) or "none"
                raise StreamError(f"{self._of.name}: there is no stream {number!r} in this pool; there are {there}")
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise StreamError(f"{self._of.name}: stream {twice} is named twice; push a chunk for several steps")
        return [self._rows[number] for number in numbers]

    def _open(self) -> None:
        if self._closed:
            raise StreamError(f"{self._of.name}: this pool of streams is closed; streams(n) opens another")


def _array(name: str, x: Any) -> Array:
    ragged = f"{name}: chunks of different lengths; pad them and give lengths, or push a mapping"
    found: Array = as_array(x, f"{name}: what is pushed", ragged)
    return found


def _replaced(state: State, rows: list[int], new: State) -> State:
    """A batch of states in which some rows are others."""

    def field(name: str) -> Any:
        if isinstance(state[name], State):
            return _replaced(state[name], rows, new[name])
        values = np.array(state[name])
        values[rows] = new[name]
        return values

    return state.copy(**{name: field(name) for name in state})
