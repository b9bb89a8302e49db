"""How a group is cut: into blocks of lanes, which threads share, and into tiles of so many rows and blocks."""

from dataclasses import dataclass

from elman.targets.llvm.frame import Shaping
from elman.targets.llvm.groups import Group, Grouping
from elman.targets.llvm.recipe import walks

FAR = 1 << 20
"""Bytes of the matrices of one thread beyond which not all of them are near when the next step wants them."""


@dataclass(frozen=True)
class Blocks:
    """The vectors of lanes that a group is cut into, of which the last may hold fewer; `parts` threads share them."""

    count: int
    lanes: int
    held: int
    sums: int
    parts: int

    @classmethod
    def of(cls, grouping: Grouping, group: Group, lanes: int, parts: int) -> "Blocks":
        """The blocks of a group; too few for all threads, and each computes all of them, for its share of the examples."""
        width, found = int(group.shape[-1]) if group.shape else 1, walks(grouping, group)
        count = -(-width // lanes)
        sums = max([len(walk.sums) for walk in found], default=1)
        return cls(count, lanes, width - (count - 1) * lanes, sums, parts if count >= parts else 1)

    @property
    def whole(self) -> int:
        """How many have all their lanes."""
        return self.count - (self.held < self.lanes)

    def wide(self, tall: int, registers: int) -> int:
        """How many a tile of so many rows takes: what fits into registers, as evenly as can be."""
        share = -(-self.count // self.parts)
        wide = max(1, min(side_by_side(tall, registers) // self.sums, share))
        return -(-share // -(-share // wide))


def side_by_side(rows: int, registers: int) -> int:
    """How many vectors of sums, for each of so many rows, registers can hold together."""
    # A row by itself takes its weights straight from memory; several keep them, beside their sums, in registers.
    return registers // 2 if rows == 1 else (registers - 2) // (rows + 1)


def heights(sums: int, shaping: Shaping, in_loop: bool) -> list[tuple[int, int]]:
    """Rows of tiles, the highest first, and how many must be left for each: where fewer are, the last is repeated."""
    if shaping.single and in_loop:
        return [(1, 1)]
    fitting = [rows for rows in (8, 6, 4, 3) if side_by_side(rows, shaping.registers) >= sums]
    top = fitting[0] if fitting else 3
    if not in_loop:  # many rows: what the last few cost matters little
        return [(top, 3), (1, 1)]
    return [(top, top - 1), *((rows, rows - rows // 3) for rows in (4, 2) if rows < top), (1, 1)]
