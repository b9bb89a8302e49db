"""What threads call: rows, each a function of machine code and its arguments, which a thread follows one after another.

Threads meet where one reads what others have written. Where kernels that follow one another fall into the same sections, a
thread keeps its own, and goes from one to the next without waiting for anybody.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.targets.llvm.crew import crew
from elman.targets.llvm.elementwise import Squares
from elman.targets.llvm.follow import IDLE, WORDS, Row, followed
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.order import Rows
from elman.targets.llvm.stage import Stage, line

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram

Level = list[list[Row]]
"""Rows for each thread, of which none needs what another thread does."""


class Call:
    """A call of a program for so many examples: a table and steps, which may change from one time to the next.

    What is called before the kernel and behind it is, here, nothing.
    """

    def __init__(self, program: "LlvmProgram", table: bytes, steps: int, batch: int) -> None:
        self.program, self.table, self.steps, self.batch = program, table, steps, batch

    @property
    def work(self) -> float:
        """Multiplications."""
        return self.program.multiplications * self.steps * self.batch

    def before(self, threads: int) -> Level:
        """What each of so many threads calls before any kernel."""
        return [[]] * threads

    def added(self, threads: int) -> Level:
        """What each calls to add up the totals of all sections."""
        return [[]] * threads

    def behind(self, threads: int) -> Level:
        """What each calls when that is done."""
        return [[]] * threads


class Calls:
    """What each of so many threads calls: rows, `[threads, n, words]`."""

    def __init__(self, calls: Sequence[Call], squares: Squares | None, threads: int) -> None:
        self._machine, self.threads, self._counter = calls[0].program.machine, threads, line()
        self._functions, self._levels = followed(self._machine), list[Array]()
        self._met = 1  # before the first row
        counts = {call.program.sections(call.batch) for call in calls}
        sections = min((count for count in counts if count % threads == 0), default=1)
        self._stages = [Stage(call, threads, sections) for call in calls]
        self.busy = max(stage.busy for stage in self._stages)
        self._lay(_level([call.before(threads) for call in calls]))
        starts = [self._lay(self._stages[0].rows)]
        starts += [self._lay(stage.rows, meet=not stage.goes_on(before)) for before, stage in pairwise(self._stages)]
        self._lay(_level([call.added(threads) for call in calls]))
        self._lay(_level([call.behind(threads) for call in calls]))
        self._lay(_level([[[]] * threads if squares is None else squares.rows(threads)]))
        self._rows = np.concatenate(self._levels, axis=1)
        for stage, start in zip(self._stages, starts, strict=True):
            stage.rows = self._rows[:, start : start + stage.rows.shape[1]]
        self._sizes, self._places = list[int](), list[int]()

    def run(self, order: Sequence[Rows]) -> bool:
        """Make all calls, over examples in these orders; not if the threads cannot be had."""
        are_new = [stage.begin(rows) for stage, rows in zip(self._stages, order, strict=True)]
        if any(are_new):
            self._sizes = [max(sizes) for sizes in zip(*(stage.sizes() for stage in self._stages), strict=True)]
        self._counter[:] = 0
        memories = [workspaces.take(size) for size in self._sizes]
        try:
            places = [address(memory) if len(memory) else 0 for memory in memories]
            if places != self._places:
                for stage in self._stages:
                    stage.work_in(places)
                self._places = places
            if self.threads > 1:
                return crew.run(self._functions.follow, self._jobs, self._machine, address(self._counter))
            self._functions.follow.call(*self._jobs[0])
            return True
        finally:
            for memory in reversed(memories):  # so that each thread gets its own again, which its core has near
                workspaces.give(memory)

    @cached_property
    def _jobs(self) -> list[tuple[int, int, int, int, int]]:
        start, counter = address(self._rows), address(self._counter) if self.threads > 1 else 0
        each, count = self._rows.strides[0], self._rows.shape[1]
        return [(start + each * part, counter, 0, count, self.threads) for part in range(self.threads)]

    def _lay(self, level: Array, *, meet: bool = True) -> int:
        """Put a level behind the others, which are over before it begins if threads `meet`; returns its first column."""
        start: int = sum(before.shape[1] for before in self._levels)
        if start and level.shape[1] and meet and self.threads > 1:
            self._met += 1
            row = self._functions.meet, address(self._counter), 0, 0, self._met * self.threads, 0
            self._levels.append(np.array([[row]] * self.threads, np.int64))
            start += 1
        self._levels.append(level)
        return start


def _level(parts: Sequence[Level]) -> Array:
    """The rows of all parts, as many for each thread, idle ones at the end."""
    lists = [[row for rows in theirs for row in rows] for theirs in zip(*parts, strict=True)]
    most = max(map(len, lists))
    filled = [[*rows, *[IDLE] * (most - len(rows))] for rows in lists]
    return np.array(filled, np.int64).reshape(len(lists), most, len(WORDS))
