"""Which rows of a batch are computed, and where they stand: a row is one step of one example.

Phases work on flat rows, time first. Without lengths these are all rows, in the caller's order. With lengths the examples
are sorted, longest first, so that those that take part in a step are the first n of them: their rows are packed without a
gap, and no phase ever sees the padding.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from elman.gates import Array
from elman.shapes import Shape


class Segment(NamedTuple):
    """Steps that follow one another with the same examples: `rows` of a chunk, `[steps, examples, ...]`."""

    rows: slice
    steps: int
    examples: int


class Chunk(NamedTuple):
    """The rows of a stretch of time: where they stand in `[T, B, ...]`, along which axes, and their segments."""

    at: Any
    axes: tuple[int, ...]
    rows: int
    segments: tuple[Segment, ...]

    def flat(self, x: Array) -> Array:
        """From `[T, B, ...]` to `[rows, ...]`."""
        rows: Array = x[self.at].reshape(self.rows, *x.shape[2:])
        return rows

    def lay(self, value: Array, into: Array) -> None:
        """Write `[rows, ...]`, or one value for every row, where the rows stand in `[T, B, ...]`."""
        into[self.at] = value.reshape(*self.axes, *into.shape[2:]) if value.ndim == into.ndim - 1 else value


class Rows:
    """All rows, in the caller's order."""

    order: Array | None = None
    """The examples as they are sorted."""

    def __init__(self, steps: int, batch: int) -> None:
        self.axes = steps, batch

    def room(self, shape: Shape, dtype: Any) -> Array:
        """Room for an output, `[T, B, ...]`."""
        return np.empty((*self.axes, *shape), dtype)

    def parts(self, limit: int) -> list[slice]:
        """Stretches of time of up to `limit` rows, of one step at least."""
        steps, size = self.axes[0], max(1, limit // max(self.axes[1], 1))
        return [slice(start, min(start + size, steps)) for start in range(0, steps, size)]

    def chunk(self, part: slice) -> Chunk:
        """The rows of a stretch of time."""
        steps, batch = part.stop - part.start, self.axes[1]
        return Chunk(part, (steps, batch), steps * batch, (Segment(slice(0, steps * batch), steps, batch),))


class PackedRows(Rows):
    """The rows within the lengths, those of the longest example first; `running` counts the examples of each step."""

    def __init__(self, steps: int, lengths: Array) -> None:
        super().__init__(steps, len(lengths))
        self.order = np.argsort(-lengths, kind="stable")  # also of those that go on beyond the steps
        ended = np.searchsorted(np.sort(lengths), np.arange(min(steps, lengths.max(initial=0))), side="right")
        self.running = len(lengths) - ended

    def room(self, shape: Shape, dtype: Any) -> Array:
        """Room for an output, `[T, B, ...]`, where the padding is 0; example by example, so that it is not even touched."""
        return np.zeros((*self.axes[::-1], *shape), dtype).swapaxes(0, 1)

    def parts(self, limit: int) -> list[slice]:
        """Stretches of time of up to `limit` rows, of one step at least: the fewer examples run, the longer."""
        found, start, rows = [], 0, np.concatenate(([0], np.cumsum(self.running)))
        while start < len(self.running):
            stop = max(start + 1, int(np.searchsorted(rows, rows[start] + limit, side="right")) - 1)
            found.append(slice(start, stop))
            start = stop
        return found

    def chunk(self, part: slice) -> Chunk:
        """The rows of a stretch of time, and a segment for each number of examples."""
        assert self.order is not None, "these rows are sorted"
        running = self.running[part]
        ends = np.cumsum(running)
        places = np.arange(ends[-1]) - np.repeat(ends - running, running)
        at = np.repeat(np.arange(part.start, part.stop), running), self.order[places]
        cuts = [0, *(np.flatnonzero(np.diff(running)) + 1).tolist(), len(running)]
        rows = [0, *ends.tolist()]
        segments = (Segment(slice(rows[a], rows[b]), b - a, int(running[a])) for a, b in pairwise(cuts))
        return Chunk(at, (rows[-1],), rows[-1], tuple(segments))


def rows_of(steps: int, batch: int, lengths: Array | None) -> Rows:
    """The rows that are computed; lengths that leave nothing out are as none."""
    return Rows(steps, batch) if lengths is None or (lengths == steps).all() else PackedRows(steps, lengths)


class Carried:
    """States on their way through the segments: `now` those of the examples that run, apart from them the others."""

    def __init__(self, states: dict[str, Array], order: Array | None) -> None:
        self._order = order
        self._rest = {} if order is None else {name: state[order] for name, state in states.items()}
        self.now = states if order is None else {name: state[:0] for name, state in states.items()}

    def first(self, examples: int) -> dict[str, Array]:
        """Let so many examples run: those that leave have reached their end, those that join begin."""
        for name, rest in self._rest.items():
            now = self.now[name]
            if examples > len(now):  # a copy: a loop may hand a state on as it is, under another name
                self.now[name] = np.concatenate((now, rest[len(now) : examples]))
            else:
                rest[examples : len(now)] = now[examples:]
                self.now[name] = now[:examples]
        return self.now

    def last(self) -> dict[str, Array]:
        """The states `[B, ...]` in the caller's order."""
        if self._order is None:
            return self.now
        self.first(0)
        back = np.argsort(self._order)
        return {name: rest[back] for name, rest in self._rest.items()}
