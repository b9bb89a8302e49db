"""A chain: calls of machine code one after another, without Python between them, by one thread or by several.

A kernel that reads more than the second cache holds throws the interpreter out of it, and Python takes three times as long
until it is back: in a step of lstm 128 after every one of ten calls. A chain is entered once, by each thread.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.targets.llvm.calls import Call, Calls
from elman.targets.llvm.crew import crew
from elman.targets.llvm.elementwise import Squares
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.order import Rows
from elman.targets.llvm.pace import Pace
from elman.targets.llvm.table import ROOM
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram

ENOUGH = 4e6
"""Multiplications that a thread should have: some tenth of a millisecond, for waking a thread takes a twentieth."""

KEPT = 4
"""Sizes of batches of which a program keeps a chain."""

LONG = 1e10
"""Multiplications of a call that is too long to find out first what one thread takes."""


class Chain:
    """Calls of which each reads what those before it write, on as many threads as they are worth."""

    def __init__(self, calls: Sequence[Call], pace: Pace, squares: Squares | None = None) -> None:
        self._calls, self._squares, self._pace, self._made = tuple(calls), squares, pace, dict[int, Calls]()

    def run(self, order: Sequence[Rows]) -> None:
        """Make all calls, over examples in these orders."""
        work = sum(call.work for call in self._calls)
        threads = shared.useful(work, ENOUGH)
        wanted = threads > 1 and (shared.is_asked or self._pace.together or work > LONG) and crew.is_free
        calls = self._by(threads if wanted and self._by(threads).busy > 1 else 1)  # compiled before the clock runs
        begun = perf_counter()
        together = calls.run(order) and calls.threads > 1
        if calls.threads > 1 and not together:
            self._by(1).run(order)
        if threads > 1:
            self._pace.took(together, (perf_counter() - begun) / max(order[0].count, 1))

    def _by(self, threads: int) -> Calls:
        if threads not in self._made:
            self._made[threads] = Calls(self._calls, self._squares, threads)
        return self._made[threads]


class Chains:
    """Chains of a program, of a single call each, that are kept for calls of as many examples."""

    def __init__(self, program: "LlvmProgram") -> None:
        self._program, self._kept = program, dict[tuple[int, int], tuple[Call, Chain]]()

    def compute(self, table: bytes, steps: int, rows: Rows) -> None:
        """Call with a table which tells the order of the examples: at once, where one thread has them, in one section."""
        program, batch = self._program, len(rows.order)
        which = batch, program.sections(batch)
        if which[1] == 1 and shared.useful(program.multiplications * steps * batch, ENOUGH) == 1:
            self._at_once(table, batch)
            return
        kept = self._kept.pop(which, None)  # no two threads get the same
        call, chain = self._made(table, steps, batch) if kept is None else kept
        call.table, call.steps = table, steps
        chain.run([rows])
        for oldest in [*self._kept][: 1 - KEPT]:  # listed at once, as other threads keep theirs meanwhile
            self._kept.pop(oldest, None)
        self._kept[which] = call, chain

    def _made(self, table: bytes, steps: int, batch: int) -> tuple[Call, Chain]:
        call = Call(self._program, table, steps, batch)
        return call, Chain([call], self._program.pace(batch))

    def _at_once(self, table: bytes, batch: int) -> None:
        room = int(np.frombuffer(table, np.int64)[ROOM])
        memory = workspaces.take(self._program.workspace_of(room, batch))
        try:
            self._program.code_for(batch).call(table, address(memory), 0, batch, 0)
        finally:
            workspaces.give(memory)
