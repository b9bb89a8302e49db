"""Sizes with names, and how shapes are written in graphs and messages."""

from collections.abc import Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]


class Size(int):
    """An integer that remembers the name it was declared under: `hidden=5`."""

    name: str

    def __new__(cls, value: int, name: str = "") -> "Size":
        """Make the size `value`, called `name`."""
        size = super().__new__(cls, value)
        size.name = name
        return size

    def __repr__(self) -> str:
        return f"{self.name}={int(self)}" if self.name else str(int(self))

    def __str__(self) -> str:
        return str(int(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (int(self), self.name))


def size_names(declared: Sequence[str | int]) -> list[str]:
    """Names of the sizes in a declared shape: `("4*hidden", 3)` gives `["hidden"]`."""
    return [entry.rpartition("*")[2].strip() for entry in declared if isinstance(entry, str)]


def resolve(declared: Sequence[str | int], sizes: Mapping[str, int]) -> Shape:
    """Turn a declared shape into numbers: a name, `k*name`, or an integer for each axis.

    Raises `KeyError` for a name that `sizes` lacks.
    """
    shape: list[int] = []
    for entry in declared:
        if isinstance(entry, int):
            shape.append(entry)
            continue
        factor, _, name = (part.strip() for part in entry.rpartition("*"))
        shape.append(Size(int(factor) * sizes[name], f"{factor}*{name}") if factor else Size(sizes[name], name))
    return tuple(shape)


def written(shape: Sequence[int]) -> str:
    """Write a shape as messages and graphs do: `(hidden=5, input=3)`."""
    return "(" + ", ".join(repr(size) if isinstance(size, Size) else str(size) for size in shape) + ")"
