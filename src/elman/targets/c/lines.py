"""Where values stand, and lines of C: places, loops over the elements of a shape, statements and comments that fit."""

import re
import textwrap
from dataclasses import dataclass
from math import prod

from elman.shapes import Shape

ROW, COLUMN = "row", "column"
"""The variables of loops."""

WIDE, HELD = 110, "\0"
"""Columns of a line, and what stands for a blank at which none ends."""

Place = tuple[str, ...]
"""Where an element of a value is: `()` of a number, `(row,)` of a vector, `(row, column)` of a matrix."""


@dataclass(frozen=True)
class Stored:
    """Where a value stands: elements from an offset on, or a number in a variable of its own; `old` in a state."""

    base: str
    offset: str = ""
    number: bool = False
    old: bool = False

    def moved(self, by: str) -> "Stored":
        """What stands further on; "" is no way."""
        offset = f"{self.offset} + {by}" if self.offset and by else self.offset or by
        return Stored(self.base, offset, old=self.old)

    @property
    def address(self) -> str:
        """The first element's address."""
        return f"{self.base} + {self.offset}" if self.offset else self.base

    def element(self, flat: str) -> str:
        """The element that stands so many places further on; "" for the first."""
        if self.number:
            return self.base
        return f"{self.base}[{self.moved(flat).offset or '0'}]"


def size(shape: Shape) -> int:
    """Number of elements."""
    return prod(map(int, shape))


def everywhere(shape: Shape) -> Place:
    """Any element, in loops over the whole shape; an axis of one needs none."""
    return tuple("0" if count == 1 else variable for variable, count in zip((ROW, COLUMN), shape, strict=False))


def flat(at: Place, shape: Shape) -> str:
    """Where an element stands among all of a value; "" for the first."""
    steps = [times(int(shape[1]), at[0]), at[1]] if len(at) == 2 else at
    return " + ".join(step for step in steps if step not in ("", "0"))


def times(count: int, place: str) -> str:
    """So many elements for each step along an axis; "" for none."""
    return "" if place == "0" else place if count == 1 else f"{count} * {place}"


def looped(shape: Shape, statement: str) -> list[str]:
    """A statement in a loop over each axis."""
    lines = wrapped(statement)
    axes = [(variable, int(count)) for variable, count in zip((ROW, COLUMN), shape, strict=False) if count > 1]
    for variable, count in reversed(axes):
        head = f"for (int {variable} = 0; {variable} < {count}; ++{variable}) {{"
        lines = [head, *(f"    {line}" for line in lines), "}"]
    return lines


def wrapped(statement: str) -> list[str]:
    """A statement in lines that fit; the innermost brackets stay together."""
    held = re.sub(r"\([^()]*\)", lambda call: call[0].replace(" ", HELD), statement)
    lines = textwrap.wrap(held, WIDE, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [line.replace(HELD, " ") for line in lines]


def in_comment(text: str) -> str:
    """Text without what could end a comment or begin another: sizes and titles are called as somebody pleased.

    >>> in_comment("a */ b ??/ /* c")
    'a * / b __/ / * c'
    """
    plain = "".join(c if c.isascii() and c.isprintable() and c not in "?\\" else "_" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def comment(text: str) -> str:
    """A comment in lines that fit."""
    return "\n".join(textwrap.wrap(f"/* {in_comment(text)} */", WIDE, subsequent_indent="   ", break_on_hyphens=False))


def braced(signature: str, lines: list[str]) -> str:
    """A function."""
    return "\n".join([signature, "{", *(f"    {line}" for line in lines), "}"])
