"""What is measured: parts of the grid, and the points of each.

sequences    whole sequences of vectors, the input as large as the state
tokens       whole sequences of tokens
written      whole sequences, cells as users write them
steps        `rnn.step`, one step a call from Python
pushes       `Stream.push`, one step a call
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elman.cells import named
from elman.testing import random_cell
from elman.trace import Cell

PARTS = ("sequences", "tokens", "written", "steps", "pushes")
CALLS = ("steps", "pushes")
"""Parts whose calls are single steps."""

BUILT_IN = ("elman", "gru", "lstm")
RANDOM = "random_"
CELLS = {
    "sequences": BUILT_IN,
    "tokens": BUILT_IN,
    "written": ("mgu", "lstm_peephole", "lstm_layer_norm", RANDOM + "129", RANDOM + "5783"),
    "steps": ("lstm",),
    "pushes": ("lstm",),
}
"""The random ones are the generator's first whose states are vectors and whose output tells what came in before."""

VOCABULARIES = (96, 8000)

Size = tuple[int, int]
"""Batch and hidden."""

SIZES: dict[str, tuple[Size, ...]] = {
    "sequences": (
        *((1, hidden) for hidden in (32, 64, 100, 128, 256, 512, 1024)),
        *((batch, hidden) for batch in (8, 32) for hidden in (128, 256)),
        (64, 512),
    ),
    "tokens": ((1, 64), (1, 128), (1, 256), (1, 512), (32, 128), (32, 256), (64, 512)),
    "written": ((1, 128), (32, 128)),
    "steps": ((1, 64), (1, 128), (1, 256)),
    "pushes": ((1, 64), (1, 128), (1, 256)),
}
QUICK: dict[str, tuple[Size, ...]] = {
    "sequences": ((1, 64), (1, 256), (32, 128)),
    "tokens": ((1, 128),),
    "written": ((1, 128),),
    "steps": ((1, 64),),
    "pushes": ((1, 64),),
}


@dataclass(frozen=True)
class Point:
    """A part of the grid, a cell and its sizes; a vocabulary where the input is tokens."""

    part: str
    cell: str
    batch: int
    hidden: int
    vocabulary: int | None = None

    @property
    def stepwise(self) -> bool:
        """Whether a call is a single step."""
        return self.part in CALLS

    @property
    def steps(self) -> int:
        """Steps of a sequence; where a call is a single step, those that are compared before."""
        return 8 if self.stepwise else 200 if self.batch == 1 else 100

    @property
    def input(self) -> int:
        """Size of the input."""
        return self.hidden if self.vocabulary is None else self.vocabulary

    @property
    def sizes(self) -> str:
        """The sizes for people."""
        words = f"B {self.batch} H {self.hidden}"
        return words if self.vocabulary is None else f"{words} V {self.vocabulary}"


def equations(name: str) -> Cell:
    """A cell that comes along, or one of the random generator's. Raises `SettingError` for another name."""
    seed = name.removeprefix(RANDOM)
    return random_cell(int(seed)) if seed != name and seed.isdecimal() else named(name)


def points(
    cells: Sequence[str] | None = None,
    parts: Iterable[str] = PARTS,
    sizes: Sequence[Size] | None = None,
    *,
    quick: bool = False,
) -> list[Point]:
    """The points to measure, part by part; `cells` and `sizes` take the place of those of the grid."""
    found = []
    for part in parts:
        chosen = sizes if sizes is not None else (QUICK if quick else SIZES)[part]
        vocabularies = VOCABULARIES[: 1 if quick else None] if part == "tokens" else (None,)
        for vocabulary in vocabularies:
            found += [
                Point(part, cell, batch, hidden, vocabulary)
                for cell in (CELLS[part] if cells is None else cells)
                for batch, hidden in chosen
                if batch == 1 or part != "pushes"  # a stream is one sequence
            ]
    return found
