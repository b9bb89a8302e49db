"""A chain: calls of machine code one after another, without Python between them, by one thread or by several.

A kernel that reads more than the second cache holds throws the interpreter out of it, and Python takes three times as long
until it is back: in a step of lstm 128 after every one of ten calls. A chain is entered once, by each thread.
"""

from collections.abc import Sequence
from time import perf_counter

from elman.targets.llvm.calls import Call, Calls
from elman.targets.llvm.crew import crew
from elman.targets.llvm.elementwise import Squares
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.order import Rows
from elman.targets.llvm.pace import Pace
from elman.targets.threads import shared

ENOUGH = 4e6
"""Multiplications that a thread should have: some tenth of a millisecond, for waking a thread takes a twentieth."""

LONG = 1e10
"""Multiplications of a call that is too long to find out first what one thread takes."""


class Chain:
    """Calls of which each reads what those before it write, on as many threads as they are worth."""

    def __init__(self, calls: Sequence[Call], pace: Pace, squares: Squares | None = None) -> None:
        self._calls, self._squares, self._pace, self._made = tuple(calls), squares, pace, dict[int, Calls]()
        self._work = sum(call.work for call in calls)

    def run(self, order: Sequence[Rows]) -> None:
        """Make all calls, over examples in these orders."""
        threads = shared.useful(self._work, ENOUGH)
        wanted = threads > 1 and (shared.is_asked or self._pace.together or self._work > LONG) and crew.is_free
        several = self._by(threads) if wanted else None
        if several is None or several.busy == 1:
            several = None
            self._by(1)  # compiled before the clock runs
        begun = perf_counter()
        together = several is not None and several.run(order)
        if not together:
            self._by(1).run(order)
        if threads > 1:
            self._pace.took(together, (perf_counter() - begun) / max(order[0].count, 1))

    def _by(self, threads: int) -> Calls:
        if threads not in self._made:
            self._made[threads] = Calls(self._calls, self._squares, threads)
        return self._made[threads]


def compute(call: Call, rows: Rows, pace: Pace) -> None:
    """Make a call that does not come again: at once, where one thread has it, and its examples are one section."""
    program, batch = call.program, call.batch
    if shared.useful(call.work, ENOUGH) > 1 or program.sections(batch) > 1:
        Chain([call], pace).run([rows])
        return
    memory = workspaces.take(program.workspace_of(call.room, batch))
    try:
        program.code_for(batch).call(call.table, address(memory), 0, batch, 0)
    finally:
        workspaces.give(memory)
