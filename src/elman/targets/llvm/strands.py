"""Strands: groups that follow one another and need no product, so that they can be computed row by row.

What passes from one of them to the next is then a single row, which stays in the first cache. A layer that is normalised is
such a strand: sums, numbers made of them, and the elements again.
"""

from collections.abc import Iterable

from elman.targets.llvm.groups import Group, Grouping
from elman.targets.llvm.recipe import walks

Strand = tuple[Group, ...]
"""Groups in the order in which they run; one that sums products or rows is by itself."""


def strands(grouping: Grouping, groups: Iterable[Group]) -> list[Strand]:
    """Put the groups of a phase together as far as they go."""
    found, is_open = list[Strand](), False
    for group in groups:
        is_alone = group.total or bool(walks(grouping, group))
        if is_open and not is_alone:
            found[-1] += (group,)
        else:
            found.append((group,))
        is_open = not is_alone
    return found
