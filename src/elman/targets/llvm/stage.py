"""The kernel of a call, shared by threads: by sections, and where there are more threads by examples or lanes of these."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm.follow import WORDS
from elman.targets.llvm.memory import address
from elman.targets.llvm.order import Rows, blocks_of
from elman.targets.llvm.sections import Sections
from elman.targets.llvm.sharing import way_of

if TYPE_CHECKING:
    from elman.targets.llvm.calls import Call

WORKSPACE, FIRST, LAST = (WORDS.index(word) for word in ("workspace", "first", "last"))


class Stage:
    """The rows of a kernel, `[threads, n, words]`. One without totals goes by as many `sections` as others do, if it may."""

    def __init__(self, call: "Call", threads: int, sections: int) -> None:
        count = call.program.sections(call.batch)
        if not call.program.has_totals and threads > 1 and way_of(call.program, call.batch, threads)[0] == "examples":
            count = sections
        self._sections, each = Sections(call, count), max(threads // count, 1)
        starts = [which * min(threads, count) // count * each for which in range(count)]
        columns = [which - starts.index(start) for which, start in enumerate(starts)]
        self._places = [(slice(start, start + each), column) for start, column in zip(starts, columns, strict=True)]
        self._shares = [Share(self._sections, which, each) for which in range(count)]
        self._owners = None if each > 1 else owners(call.batch, starts)
        self.busy = sum(share.parts for share in self._shares) if each > 1 else min(threads, count)
        self.rows: Array = np.zeros((threads, max(columns) + 1, len(WORDS)), np.int64)
        for rows, share in self._shared():
            rows[: share.parts] = share.rows

    def goes_on(self, before: "Stage") -> bool:
        """Whether each thread has the examples for itself that it had in the stage before: then they need not meet."""
        return self._owners is not None and self._owners == before._owners

    def _shared(self) -> list[tuple[Array, "Share"]]:
        """Every share, and its rows where they stand now."""
        return [(self.rows[place], share) for place, share in zip(self._places, self._shares, strict=True)]

    def sizes(self) -> list[int]:
        """Bytes of workspace that each thread must bring."""
        found = [0] * len(self.rows)
        for (threads, _), share in zip(self._places, self._shares, strict=True):
            for thread in [*range(threads.start, threads.stop)][: 1 if share.is_one else share.parts]:
                found[thread] = max(found[thread], self._sections.room(share.which))
        return found

    def work_in(self, workspaces: Sequence[int]) -> None:
        """Use these workspaces, one of each thread."""
        for (threads, _), (rows, share) in zip(self._places, self._shared(), strict=True):
            theirs = workspaces[threads]
            rows[: share.parts, WORKSPACE] = theirs[0] if share.is_one else theirs[: share.parts]

    def begin(self, order: Rows) -> bool:
        """Run over examples in this order; returns whether the call has a new table, which may need more workspace."""
        parts, is_new = self._sections.begin(order)
        for part, (rows, share) in zip(parts, self._shared(), strict=True):
            share.begin(part, rows)
        return is_new


class Share:
    """A section, and how so many threads share it: a row for each of those for whom it is enough."""

    def __init__(self, sections: Sections, which: int, threads: int) -> None:
        program, size = sections.program, sections.sizes[which]
        self.which = which
        way, self.parts = way_of(program, size, threads) if threads > 1 else ("examples", 1)
        self.is_one = way != "examples"  # one workspace
        code = program.code_for(size, self.parts, apart=way == "apart") if self.is_one else program.code_for(size)
        table = sections.address(which)
        self.rows = [(code.address, table, 0, 0, size, part * self.is_one) for part in range(self.parts)]
        if self.parts > 1:
            self._counter, self._cuts = line(), np.zeros(self.parts + 1, np.int64)
            sections.meet_at(which, address(self._counter), address(self._cuts))

    def begin(self, order: Rows, rows: Array) -> None:
        """Cut the examples in this order, for which these are the rows."""
        if self.parts == 1:
            return
        self._cuts[:] = order.shares(self.parts)
        if self.is_one:
            self._counter[:] = 0
        else:
            rows[: self.parts, FIRST], rows[: self.parts, LAST] = self._cuts[:-1], self._cuts[1:]


def owners(batch: int, threads: Sequence[int]) -> list[int]:
    """The thread that has each of the examples, sorted by length, if these have the sections."""
    found = [0] * batch
    for thread, blocks in zip(threads, blocks_of(batch, len(threads)), strict=True):
        for block in blocks:
            found[block] = [thread] * (block.stop - block.start)
    return found


def line() -> Array:
    """A counter, which has a line of the cache for itself."""
    return aligned((LINE // 8,), np.dtype(np.int64))
