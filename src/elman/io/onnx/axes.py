"""What the axes of an array in a file are: each is a group of axes of ours that lie one within another, none for a 1."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple


class Axis(NamedTuple):
    """An axis of ours: `F` are the values of a step, `D` the directions; those of an input are called by their places."""

    name: str
    size: int


Group = tuple[Axis, ...]
Groups = tuple[Group, ...]
FEATURES, DIRECTIONS = "F", "D"


def names(group: Group) -> tuple[str, ...]:
    """Names of what a group holds that is more than one."""
    return tuple(axis.name for axis in group if axis.size > 1)


def reshaped(groups: Groups, shape: Sequence[int]) -> Groups | None:
    """The groups of an array of another shape; None where an axis would be cut."""
    rest, made = [axis for group in groups for axis in group], list[Group]()
    for size in shape:
        group: list[Axis] = []
        while rest and prod(axis.size for axis in group) < size:
            group.append(rest.pop(0))
        if size == 1 and rest and rest[0].size == 1:
            group.append(rest.pop(0))
        if prod(axis.size for axis in group) != size:
            return None
        made.append(tuple(group))
    return tuple(made) if all(axis.size == 1 for axis in rest) else None


def features_at(groups: Groups) -> int | None:
    """Which axis of the array has the values of a step, and nothing else; None where none has."""
    for at, group in enumerate(groups):
        held = [axis.name for axis in group]
        if FEATURES in held:
            return at if held in ([FEATURES], [DIRECTIONS, FEATURES]) else None
    return None


def place_of(groups: Groups, name: str) -> int | None:
    """Which axis of the array is the one of a name, alone."""
    return next((at for at, group in enumerate(groups) if [axis.name for axis in group] == [name]), None)
