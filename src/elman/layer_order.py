"""Which layer stands on which, where a file or mapping holds the layers of another framework by their names."""

from collections.abc import Sequence
from itertools import groupby, pairwise, permutations

from elman.errors import SettingError
from elman.foreign import Part
from elman.io.packing import unpacked

MOST = 7
"""So many layers are tried in every order."""


def ordered(parts: Sequence[Part], fix: str) -> list[Part]:
    """The parts in the one order in which their sizes meet, the embedding first.

    Raises `SettingError` where there are several such orders, or none; it tells the `fix`.
    """
    modules = [list(group) for _, group in groupby(parts, lambda part: (part.name, part.ending[:2]))]
    names = ", ".join(module[0].name for module in modules)
    if len(modules) > MOST:
        raise SettingError(f"the layers {names} are too many to find their order; {fix}")
    found = [order for order in permutations(modules) if _meet(order)]
    if len(found) != 1:
        raise SettingError(f"the layers {names} meet in {'several orders' if found else 'no order'}; {fix}")
    return [part for module in found[0] for part in module]


def _meet(order: Sequence[Sequence[Part]]) -> bool:
    embedded = [module[0].weights.cell == "embedding" for module in order]
    return not any(embedded[1:]) and all(_gives(below[-1]) == _reads(above[0]) for below, above in pairwise(order))


def _reads(part: Part) -> int:
    return unpacked(part.weights, part.ways[0])[1]["hidden" if part.is_linear else "input"]


def _gives(part: Part) -> int:
    sizes = unpacked(part.weights, part.ways[0])[1]
    return len(part.ways) * sizes["output" if part.is_linear else "projection" if "projection" in sizes else "hidden"]
