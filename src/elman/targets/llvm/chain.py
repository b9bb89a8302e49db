"""A chain: calls of machine code one after another, without Python between them, by one thread or by several.

A kernel that reads more than the second cache holds throws the interpreter out of it, and Python takes three times as long
until it is back: in a step of lstm 128 after every one of ten calls. A chain is entered once, by each thread. Its rows are a
function and the five arguments that all kernels have; threads have as many of them, and meet where one reads what others
have written.
"""

from collections.abc import Sequence
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.packs import Standing
from elman.rooms import LINE, aligned
from elman.targets.llvm.crew import crew
from elman.targets.llvm.elementwise import Squares
from elman.targets.llvm.follow import IDLE, WORDS, Row, followed
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.order import Rows
from elman.targets.llvm.pace import Pace
from elman.targets.llvm.sharing import ENOUGH, LONG, way_of
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.bound import Bound

WORKSPACE, FIRST, LAST = (WORDS.index(word) for word in ("workspace", "first", "last"))


class Chain:
    """Bound calls of which each reads what those before it write."""

    def __init__(self, bounds: Sequence["Bound"], squares: Squares | None = None) -> None:
        self._bounds, self._squares, self._pace, self._calls = tuple(bounds), squares, Pace(), dict[int, Calls]()
        self._work = sum(bound.work for bound in bounds)

    def run(self, given: Standing, lengths: Array | None = None) -> list[float] | None:
        """Run all, on as many threads as the work is worth; tells the squares, if they are a part of it."""
        order = [bound.begin(given, lengths) for bound in self._bounds]  # stays until all is over
        threads = shared.useful(self._work, ENOUGH)
        wanted = threads > 1 and (shared.is_asked or self._pace.together or self._work > LONG) and crew.is_free
        several = self._by(threads) if wanted else None  # compiled before the clock runs
        begun = perf_counter()
        together = several is not None and several.run(order)
        if not together:
            self._by(1).run(order)
        if threads > 1:
            self._pace.took(together, (perf_counter() - begun) / max(order[0].count, 1))
        return None if self._squares is None else self._squares.found

    def _by(self, threads: int) -> "Calls":
        if threads not in self._calls:
            self._calls[threads] = Calls(self._bounds, self._squares, threads)
        return self._calls[threads]


def chain_of(bounds: Sequence["Bound"], squares: object) -> Chain | None:
    """A chain, unless something is left to do for Python between the calls, or to hear: a signal waits until the end."""
    fits = all(bound.is_plain for bound in bounds) and sum(bound.share for bound in bounds) <= 1
    return Chain(bounds, squares if isinstance(squares, Squares) else None) if fits else None


class Calls:
    """What each of so many threads calls: rows, `[threads, n, words]`."""

    def __init__(self, bounds: Sequence["Bound"], squares: Squares | None, threads: int) -> None:
        self._machine, self._threads, self._counter = bounds[0].program.machine, threads, line()
        self._functions, self._met = followed(self._machine), 1  # before the first row
        self._shares = [Share(bound, threads) for bound in bounds]
        levels, self._kernels = list[Array](), list[int]()
        for bound, share in zip(bounds, self._shares, strict=True):
            levels += _level(bound.rows_before(threads)), self._meeting()
            self._kernels.append(sum(level.shape[1] for level in levels))
            levels += share.rows[:, None], self._meeting(), _level(bound.rows_behind(threads))
        if squares is not None:
            levels += self._meeting(), _level(squares.rows(threads))
        self._rows = np.concatenate(levels, axis=1)
        self._whose = np.array([[0 if share.is_one else part for share in self._shares] for part in range(threads)])
        most = max(share.size for share in self._shares)
        apart = max((share.size for share in self._shares if not share.is_one), default=0)
        self._sizes, self._places = [most] + [apart] * (threads - 1), list[int]()

    def run(self, order: Sequence[Rows]) -> bool:
        """Make all calls; not if the threads cannot be had."""
        for share, kernel, rows in zip(self._shares, self._kernels, order, strict=True):
            share.begin(rows, self._rows[:, kernel])
        self._counter[:] = 0
        memories = [workspaces.take(size) for size in self._sizes]
        try:
            places = [address(memory) for memory in memories]
            if places != self._places:
                self._rows[:, self._kernels, WORKSPACE] = np.array(places)[self._whose]
                self._places = places
            if self._threads > 1:
                return crew.run(self._functions.follow, self._jobs, self._machine, address(self._counter))
            self._functions.follow.call(*self._jobs[0])
            return True
        finally:
            for memory in reversed(memories):  # so that each thread gets its own again, which its core has near
                workspaces.give(memory)

    @cached_property
    def _jobs(self) -> list[tuple[int, int, int, int, int]]:
        start, counter = address(self._rows), address(self._counter) if self._threads > 1 else 0
        each, count = self._rows.strides[0], self._rows.shape[1]
        return [(start + each * part, counter, 0, count, self._threads) for part in range(self._threads)]

    def _meeting(self) -> Array:
        """A row in which all meet, for each."""
        if self._threads == 1:
            return np.empty((1, 0, len(WORDS)), np.int64)
        self._met += 1
        row = self._functions.meet, address(self._counter), 0, 0, self._met * self._threads, 0
        return np.array([[row]] * self._threads, np.int64)


class Share:
    """How so many threads share one bound call: a row for each, of which the examples may change with the lengths."""

    def __init__(self, bound: "Bound", threads: int) -> None:
        program, batch = bound.program, bound.batch
        way, parts = way_of(program, batch, threads) if threads > 1 else ("examples", 1)
        self.is_one = way != "examples"  # one workspace
        self._bound, self._parts, self.size = bound, parts, program.workspace_of(bound.room, batch)
        code = program.code_for(batch, parts, apart=way == "apart") if self.is_one else program.code_for(batch)
        rows = [(code.address, bound.table, 0, 0, batch, part * self.is_one) for part in range(parts)]
        self.rows: Array = np.array(rows + [IDLE] * (threads - parts), np.int64)
        self._counter, self._cuts = line(), np.zeros(parts + 1, np.int64)
        self._where = address(self._counter), address(self._cuts)

    def begin(self, order: Rows, rows: Array) -> None:
        """Cut the examples in this order, for which these are the rows."""
        if self._parts == 1:
            return
        self._cuts[:] = order.shares(self._parts)
        if self.is_one:
            self._counter[:] = 0
            self._bound.meet_at(*self._where)
        else:
            rows[: self._parts, FIRST], rows[: self._parts, LAST] = self._cuts[:-1], self._cuts[1:]


def line() -> Array:
    """A counter, which has a line of the cache for itself."""
    return aligned((LINE // 8,), np.dtype(np.int64))


def _level(lists: Sequence[Sequence[Row]]) -> Array:
    """As many rows for each, idle ones at the end."""
    most = max(map(len, lists))
    filled = [[*rows, *[IDLE] * (most - len(rows))] for rows in lists]
    return np.array(filled, np.int64).reshape(len(lists), most, len(WORDS))
