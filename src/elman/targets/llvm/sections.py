"""Sections: examples of a batch that are summed up apart; their totals are added in the end, one after another.

A thread that has sections of its own reads nothing that another core wrote, from the first step to the gradients. Into how
many sections a batch falls, and which examples are in each, follows from the program and the batch alone: neither threads
nor steps have a say, so that bits depend on neither.
"""

from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.targets.llvm.memory import address
from elman.targets.llvm.order import Rows, blocks_of
from elman.targets.llvm.table import COUNTER, ORDER, ROOM

if TYPE_CHECKING:
    from elman.targets.llvm.calls import Call

LEAST, MOST = 8, 8
"""Examples of a section, and sections of a batch: with fewer examples each takes longer, and more sections gain nothing."""

EACH = 1 << 17
"""Bytes of totals for which a section must have another example, to be worth clearing and adding them."""


def sections_of(batch: int, totals: int) -> int:
    """How many sections so many examples fall into, where totals take so many bytes."""
    return min(max(batch // max(LEAST, totals // EACH), 1), MOST)


class Sections:
    """The tables of a call, one for each section: they differ in the order of examples and in where totals stand."""

    def __init__(self, call: "Call", count: int) -> None:
        self._call, self.program, self._count = call, call.program, count
        self.sizes = [sum(block.stop - block.start for block in blocks) for blocks in blocks_of(call.batch, count)]
        self._tables: Array = np.zeros((count, len(self.program.table.names)), np.int64)
        self._totals = self._tables[:, self.program.table.totals_at]
        self._apart = np.arange(count)[:, None] * self.program.size_of_totals
        self._read = b""
        self._rows: Rows | None = None

    def begin(self, rows: Rows) -> tuple[list[Rows], bool]:
        """Let each read its own of these rows, which are returned, and whether the call has a new table."""
        parts, is_new = rows.sections(self._count), self._call.table is not self._read
        if is_new:
            own = self._tables[:, COUNTER : COUNTER + 2].copy()
            self._tables[:] = np.frombuffer(self._call.table, np.int64)
            self._tables[:, COUNTER : COUNTER + 2] = own
            self._tables[:, ROOM] = [self.program.room(size, self._call.steps) for size in self.sizes]
            self._totals += self._apart
            self._read = self._call.table
        if is_new or rows is not self._rows:
            self._tables[:, ORDER : ORDER + 2] = [(part.order_address, part.running_address) for part in parts]
            self._rows = rows
        return parts, is_new

    def address(self, which: int) -> int:
        """Where the table of a section stands."""
        return address(self._tables) + which * self._tables.strides[0]

    def room(self, which: int) -> int:
        """Bytes of the workspace of a section."""
        return self.program.workspace_of(int(self._tables[which, ROOM]), self.sizes[which])

    def meet_at(self, which: int, counter: int, cuts: int) -> None:
        """Where threads that share the workspace of a section count their meetings, and where they cut its examples."""
        self._tables[which, COUNTER : COUNTER + 2] = counter, cuts
