"""Pools: many independent streams that advance together.

Their states are one batch. It stands in a lane while steps are pushed, where the target has one, and is a value otherwise.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from elman.arrays import as_array, first_place
from elman.errors import DataError, SettingError, ShapeError, StreamError
from elman.gates import Array
from elman.lanes import PoolLane
from elman.shapes import written
from elman.states import State
from elman.streams import Closing, Running


class Streams(Closing):
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

    _ended = "this pool of streams is closed; streams(n) opens another"
    _copied = "a pool of streams is not copied or pickled; its state is, and join(state[row]) goes on from it"

    def __init__(self, of: Running, count: int = 0) -> None:
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise SettingError(f"streams({count!r}): a number of streams, 0 or more, is wanted")
        super().__init__(of)
        self._rows = {number: number for number in range(count)}
        self._next, self._state = int(count), of._resumed(None, int(count))
        self._lane: PoolLane | None = None  # while there is one, the states stand in it
        self._may_have_lane = True
        self._asked: tuple[list[int], Array] | None = None  # streams that were named last, and their rows

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
            rows = None if streams is None else self._rows_of(streams)
            x, count = _array(self._of.name, x), len(self._rows if rows is None else rows)
            if self._lane and count and lengths is None and (found := self._lane.push(x, rows)) is not None:
                return found
            if x.ndim == 0 or len(x) != count:
                raise ShapeError(f"{self._of.name}: {written(x.shape)} for {count} streams; one row a stream is wanted")
            if not count:
                fix = "streams=[] names none; name one, or leave it out for all" if self._rows else "join() adds one"
                raise StreamError(f"{self._of.name}: there is no stream to push to; {fix}")
            chunk, single = self._of._pushed(x[0])
            try:
                y = self._advance(x[:, None] if single else x, rows, lengths)
                if single and lengths is None:
                    self._open_lane(tokens=chunk.dtype.kind in "iu")
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
            self._state = State.stack([self._settled(), added]) if self._rows else State.stack([added])
            number, self._next = self._next, self._next + 1
            self._rows[number] = len(self._rows)
        return number

    def leave(self, number: int) -> State:
        """End a stream; returns its last state, which another may join with. Raises `StreamError` for another number."""
        with self._lock:
            self._open()
            [row] = self._chosen([number])
            state = self._settled()
            last: State = state[row]
            numbers = [other for other in self._rows if other != number]
            self._state, self._asked = state[[self._rows[other] for other in numbers]], None
            self._rows = {other: position for position, other in enumerate(numbers)}
        return last

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Start streams anew (all of them)."""
        with self._lock:
            self._open()
            rows = self._chosen(self._rows if streams is None else streams)
            if rows:
                self._state = _replaced(self._settled(), rows, self._of._resumed(None, len(rows)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the streams, in the order of the rows."""
        return tuple(self._rows)

    @property
    def state(self) -> State:
        """The states of all streams, a batch in the order of `numbers`."""
        with self._lock:
            return self._state if self._lane is None else self._of._state_of(self._lane.states(), len(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        numbers = ", ".join(map(str, self._rows)) if len(self._rows) <= 8 else f"{len(self._rows)} streams"
        return f"Streams({self._of.name}: {numbers or 'none'}{', closed' * self._closed})"

    # --- inside -------------------------------------------------------------------------------------------------------

    def _advance(self, x: Array, rows: Array | None, lengths: Any) -> Array:
        """Run on with these rows of the state, the long way, past every check; None: with all, in their order."""
        now = self._settled()
        if rows is None or np.array_equal(rows, np.arange(len(self._rows))):
            y, self._state = self._of._advance(x, now, lengths)
        else:
            y, state = self._of._advance(x, now[rows], lengths)
            self._state = _replaced(now, rows, state)
        return y

    def _settled(self) -> State:
        """The states, which stand in no lane any more."""
        if self._lane is not None:
            self._state, self._lane = self.state, None
        return self._state

    def _open_lane(self, *, tokens: bool) -> None:
        """Let the states stand in a lane, the short way for the steps that follow, where there is one."""
        lane = self._of._lane_from(self._state, tokens=tokens) if self._may_have_lane else None
        self._may_have_lane = lane is not None
        self._lane = None if lane is None else PoolLane(lane)

    def _rows_of(self, numbers: Iterable[int]) -> Array:
        """Rows of streams, as of those that were named last where they are named again."""
        asked = self._asked
        try:
            if asked is not None and type(numbers) is list and numbers == asked[0]:
                return asked[1]
        except ValueError:  # arrays among them
            pass
        numbers = list(numbers) if isinstance(numbers, Iterable) else numbers
        rows = np.array(self._chosen(numbers), np.int64)
        self._asked = numbers, rows
        return rows

    def _push_each(self, pushed: Mapping[int, Any]) -> dict[int, Array]:
        """Steps and chunks of any lengths, as one padded batch."""
        rows, chunks = np.array(self._chosen(pushed), np.int64), [self._of._pushed(x) for x in pushed.values()]
        if not len(rows):
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
                at = first_place(wrong)
                raise DataError(f"{self._of.name}: what stream {number} is given holds NaN or infinity (first at {at})")

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


def _array(name: str, x: Any) -> Array:
    ragged = f"{name}: chunks of different lengths; pad them and give lengths, or push a mapping"
    found: Array = as_array(x, f"{name}: what is pushed", ragged)
    return found


def _replaced(state: State, rows: list[int] | Array, new: State) -> State:
    """A batch of states in which some rows are others."""

    def field(name: str) -> Any:
        if isinstance(state[name], State):
            return _replaced(state[name], rows, new[name])
        values = np.array(state[name])
        values[rows] = new[name]
        return values

    return state.copy(**{name: field(name) for name in state})
